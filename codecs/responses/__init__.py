"""The responses shape: OpenAI's Responses API, on the client's and on the upstream's side.

Source: OpenAI API reference, "Responses" and "Responses: streaming events".
"""

from __future__ import annotations

from ..chat.errors_in import decode_error  # both shapes have the same form of errors
from .collector import Collector
from .compaction import TRIGGER, asked, foreign, nothing_to_compact, question, threshold, users
from .envelope import error_event, failed, failure, filled, prepared, response_object, shown
from .items_in import check_outputs
from .observer import Observer
from .request_in import check_request, decode_request
from .request_out import encode_request
from .snapshot import Snapshot
from .stream_in import StreamDecoder, decode_response
from .stream_out import StreamEncoder

__all__ = [
    "TRIGGER",
    "Collector",
    "Observer",
    "Snapshot",
    "StreamDecoder",
    "StreamEncoder",
    "asked",
    "check_outputs",
    "check_request",
    "decode_error",
    "decode_request",
    "decode_response",
    "encode_request",
    "error_event",
    "failed",
    "failure",
    "filled",
    "foreign",
    "nothing_to_compact",
    "prepared",
    "question",
    "response_object",
    "shown",
    "threshold",
    "users",
]
