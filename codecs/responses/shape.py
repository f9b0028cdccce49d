"""The responses shape as one object."""

from __future__ import annotations

from typing import Any

from .. import dialect, errors, limits, openai
from ..chat.errors_in import decode_error  # both of OpenAI's APIs have the same form of errors
from ..framing import NAMED
from ..shape import Shape, TokenCount, UpstreamNames
from . import facts
from .compaction import collector
from .envelope import filled
from .lessons import LESSONS
from .observer import Observer
from .probe import PROBE
from .request_in import decode_request
from .request_out import encode_request
from .rules_out import RULES, ResponsesDraft, reasons, refuses
from .scrub import scrub
from .specimens import SPECIMENS
from .stream_in import StreamDecoder, decode_response
from .stream_out import StreamEncoder


def _is_error(body: dict[str, Any]) -> bool:
    return bool(body.get("error")) and body.get("object") != "response"


SHAPE = Shape(
    name=facts.NAME,
    api="responses",
    path="/responses",
    rank=2,
    decode_request=decode_request,
    encode_request=encode_request,
    decode_response=decode_response,
    decode_error=decode_error,
    Decoder=StreamDecoder,
    Encoder=StreamEncoder,
    Collector=collector,
    Observer=Observer,
    recalls=lambda capabilities: bool(capabilities.r_effort_values),
    scrub=scrub,
    marks=(b"dgr1", b'"dgc'),  # of our envelopes: reasoning, summaries
    lessons=LESSONS,
    rules=RULES,
    Draft=ResponsesDraft,
    reasons=reasons,
    refuses=refuses,
    token_limits=("max_output_tokens",),
    operations=openai.OPERATIONS,
    count=TokenCount(
        "/responses/input_tokens",
        "r_input_tokens",
        answer={"object": "response.input_tokens"},
        leaves=("stream", "store", "max_output_tokens", "include"),
    ),
    stateful=True,
    upstream_names=UpstreamNames(
        ("input", "tools"),
        frozenset({"file_id", "file_ids", "vector_store_id", "vector_store_ids", "container", "container_id"}),
    ),
    dialects={"openai": dialect.OPENAI, "open": dialect.OPEN},
    filled=filled,
    framing=NAMED,
    errors=errors.RESPONSES,
    limits=limits.RESPONSES,
    is_error=_is_error,
    bears="output",
    stream_model_at=("response", "model"),
    overhead=330,
    probe=PROBE,
    specimens=SPECIMENS,
)
