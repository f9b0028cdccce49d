"""The messages shape as one object."""

from __future__ import annotations

from typing import Any

from .. import errors, limits
from ..capabilities import Capabilities
from ..chat.errors_in import decode_error  # reads every API's form of errors, because servers mix them
from ..framing import NAMED
from ..ledger import Path
from ..shape import Shape, TokenCount, UpstreamNames
from . import facts
from .lessons import LESSONS
from .probe import PROBE
from .request_in import decode_request
from .request_out import encode_request
from .rules_out import RULES, MessagesDraft, reasons
from .scrub import scrub
from .specimens import SPECIMENS
from .stream_in import Observer, StreamDecoder, decode_response
from .stream_out import Collector, StreamEncoder

_BINDING = "thinking-binding-controls-2026-08-01"  # the beta that adds `thinking.block_binding`


_VERSION = "anthropic_version"
_NOT_COUNTED = ("max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier", "inference_geo")
"""Members that requests for a token count do not have. Source: Anthropic API reference, "Count tokens in a Message"."""


def _headers(capabilities: Capabilities) -> dict[str, str]:
    version = {"anthropic-version": capabilities.m_version}
    return version | {"anthropic-beta": _BINDING} if capabilities.m_block_binding else version


def _own_form(body: dict[str, Any]) -> tuple[dict[str, Any], list[Path]] | None:
    """Clouds take the version in the body."""
    return ({key: value for key, value in body.items() if key != _VERSION}, []) if _VERSION in body else None


def _is_error(body: dict[str, Any]) -> bool:
    return bool(body.get("error")) and body.get("type") != "message"


SHAPE = Shape(
    name=facts.NAME,
    api="messages",
    path="/messages",
    rank=1,
    decode_request=decode_request,
    encode_request=encode_request,
    decode_response=decode_response,
    decode_error=decode_error,
    Decoder=StreamDecoder,
    Encoder=StreamEncoder,
    Collector=Collector,
    Observer=Observer,
    own_form=_own_form,
    headers=_headers,
    credentials=("x-api-key", "authorization", "api-key", "x-goog-api-key"),
    key_header="x-api-key",
    bearer_prefix="sk-ant-oat",  # a Claude subscription's token
    recalls=lambda capabilities: capabilities.m_thinking != "none",
    prefills=lambda capabilities: capabilities.m_prefill,
    scrub=scrub,
    marks=(b"dgr1",),  # of our envelopes, and of ids of our searches
    lessons=LESSONS,
    rules=RULES,
    Draft=MessagesDraft,
    reasons=reasons,
    token_limits=("max_tokens",),
    count=TokenCount("/messages/count_tokens", "m_count_tokens", least={"max_tokens": 1}, leaves=_NOT_COUNTED),
    upstream_names=UpstreamNames(("messages", "system", "container"), frozenset({"file_id", "container"})),
    region_at="inference_geo",
    framing=NAMED,
    ping=(b"ping", b'{"type": "ping"}'),
    errors=errors.ANTHROPIC,
    limits=limits.ANTHROPIC,
    is_error=_is_error,
    bears="content",
    last_event=b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    stream_model_at=("message", "model"),
    counts_first=True,
    overhead=120,
    probe=PROBE,
    specimens=SPECIMENS,
)
