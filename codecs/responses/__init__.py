"""OpenAI Responses, as a client speaks it and as an upstream does."""

from ..chat.errors_in import decode_error
from .envelope import response_object
from .stream_in import Observer, StreamDecoder, decode_response
from .stream_out import Collector, StreamEncoder

__all__ = [
    "Collector",
    "Observer",
    "StreamDecoder",
    "StreamEncoder",
    "decode_error",
    "decode_response",
    "response_object",
]
