"""The messages shape: Anthropic's Messages API, on the client's and on the upstream's side.

Source: Anthropic API reference, "Messages", "Streaming Messages", "Errors".
"""

from __future__ import annotations

from ..chat.errors_in import decode_error  # reads every shape's form of errors, because servers mix them
from .request_in import decode_request
from .request_out import encode_request
from .stream_in import Observer, StreamDecoder, decode_response
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
