"""Estimate the number of tokens of a request, for upstreams without a count endpoint.

The estimate is deliberately coarse, and rather too high than too low: bytes of text divided by an average, plus a constant per
message, tool, image and page. Nothing is rendered or decompressed, so pages in compressed parts of a PDF are not counted.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable
from math import ceil
from typing import Any

from . import jsontext, media
from .request import (
    CallPart,
    DocumentPart,
    ForeignPart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    ResultPart,
    SearchResultPart,
    TextPart,
    Tool,
)

BYTES_A_TOKEN = 3.5
A_MESSAGE = 4
A_TOOL = 8
AN_IMAGE = 1600  # also for a page of a PDF, which is processed as an image

_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def tokens(request: Request) -> int:
    """Return the estimated tokens of the model's input: history, tools, the schema of the answer."""
    size, images = 0, 0
    for turn in request.turns:
        more_size, more_images = _measured(turn.parts)
        size, images = size + more_size, images + more_images
    for tool in request.tools:
        size += _bytes(tool.name) + _bytes(tool.description or "") + _schema(tool)
    output = request.settings.get("output")
    if output is not None:
        size += _json(output.value.schema)
    return ceil(size / BYTES_A_TOKEN) + A_MESSAGE * len(request.turns) + A_TOOL * len(request.tools) + AN_IMAGE * images


def _measured(parts: Iterable[Part]) -> tuple[int, int]:
    """Return the bytes of text and the number of images."""
    sizes = [_SIZES[type(part)](part) for part in parts]
    return sum(size for size, _ in sizes), sum(images for _, images in sizes)


def _text(part: TextPart | RefusalPart | ReasoningPart) -> tuple[int, int]:
    return _bytes(part.text), 0


def _image(part: ImagePart) -> tuple[int, int]:
    return 0, 1


def _search_result(part: SearchResultPart) -> tuple[int, int]:
    return _bytes(part.source) + _bytes(part.title) + _bytes(part.text), 0


def _document(part: DocumentPart) -> tuple[int, int]:
    size, images = _measured(part.parts or [])
    size += _bytes(part.title) + _bytes(part.context) + _bytes(part.text or "")
    if part.data and part.media_type.startswith("text/"):
        return size + len(part.data) * 3 // 4, images
    return size, images + (_pages(part) if part.data or part.url else 0)


def _pages(part: DocumentPart) -> int:
    if part.media_type != media.PDF or not part.data:
        return 1
    return max(1, len(_PAGE.findall(binascii.a2b_base64(part.data))))


def _call(part: CallPart) -> tuple[int, int]:
    return _bytes(part.name) + _bytes(part.arguments), 0


def _result(part: ResultPart) -> tuple[int, int]:
    return (_bytes(part.content), 0) if isinstance(part.content, str) else _measured(part.content)


def _nothing(part: ForeignPart) -> tuple[int, int]:
    return 0, 0


def _schema(tool: Tool) -> int:
    return _json(tool.schema) + _json(tool.grammar) + sum(_json(example) for example in tool.examples)


def _json(value: Any) -> int:
    return 0 if value is None else len(jsontext.dumps(value))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


_SIZES: dict[type, Callable[[Any], tuple[int, int]]] = {
    TextPart: _text,
    RefusalPart: _text,
    ReasoningPart: _text,
    ImagePart: _image,
    SearchResultPart: _search_result,
    DocumentPart: _document,
    CallPart: _call,
    ResultPart: _result,
    ForeignPart: _nothing,
}
