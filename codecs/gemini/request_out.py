"""Encode a hub request as the body for a gemini upstream. Not implemented yet."""

from __future__ import annotations

from ..capabilities import Capabilities
from ..reply import Encoded
from ..request import Request


def encode_request(request: Request, capabilities: Capabilities, model: str) -> Encoded:
    raise NotImplementedError
