"""Decode the body of a gemini request. Not implemented yet."""

from __future__ import annotations

from typing import Any

from ..request import Request
from ..splice import Scan


def decode_request(body: dict[str, Any]) -> Request:
    raise NotImplementedError


def read(target: str, body: Scan) -> Scan:
    """The scan with the model and the streaming of the path."""
    return body


def rename(body: bytes, scan: Scan, model: str) -> bytes:
    """The body for another model: unchanged, unless it names the model."""
    return body
