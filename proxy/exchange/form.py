"""The `model` field of a multipart form."""

from __future__ import annotations

import re

from ...codecs.splice import Span

_MODEL_FIELD = re.compile(
    rb'(\r?\n|^)(--[^\r\n]+\r\n(?:[^\r\n]+\r\n)*?content-disposition:[^\r\n]*;\s*name="model"[^\r\n]*\r\n'
    rb"(?:[^\r\n]+\r\n)*\r\n)([^\r\n]{0,256})\r\n",
    re.IGNORECASE,
)


def model_field(body: bytes) -> tuple[Span | None, str | None]:
    """Where the value of `model` stands, and what it is; None without one."""
    found = _MODEL_FIELD.search(body)
    return (found.span(3), found[3].decode("utf-8", "replace")) if found else (None, None)
