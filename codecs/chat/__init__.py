"""The chat shape: OpenAI's Chat Completions API, on the client's and on the upstream's side.

Source: OpenAI API reference, "Chat" and "Chat streaming"; deviations of other providers are in `quirks.py`.
"""

from __future__ import annotations

from .errors_in import decode_error
from .observer import Observer
from .request_in import decode_request
from .request_out import encode_request
from .stream_in import StreamDecoder, decode_response
from .stream_out import Collector, StreamEncoder

__all__ = [
    "Collector",
    "Observer",
    "StreamDecoder",
    "StreamEncoder",
    "decode_error",
    "decode_request",
    "decode_response",
    "encode_request",
]
