"""The chat shape as one object."""

from __future__ import annotations

import re
from typing import Any

from .. import errors, jsontext, limits, openai
from ..capabilities import Capabilities
from ..framing import DATA_ONLY
from ..scrub import LAYOUT
from ..shape import Shape, UpstreamNames, UsageOnDemand
from ..splice import Scan, add_include_usage
from . import facts
from .draft import ChatDraft, reasons
from .errors_in import decode_error
from .foreign_in import own_form
from .lessons import LESSONS
from .observer import Observer
from .probe import PROBE
from .request_in import decode_request
from .request_out import encode_request
from .rules_out import RULES, refuses, translates
from .scrub import scrub
from .specimens import SPECIMENS
from .stream_in import StreamDecoder, decode_response
from .stream_out import Collector, StreamEncoder

_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


def _asks_usage(scan: Scan) -> bool:
    return scan.include_usage


def _is_usage(event: bytes) -> bool:
    """Whether a chunk has usage and no choices."""
    if not _NO_CHOICES.search(event):
        return False
    data = b"".join(line[5:] for line in event.splitlines() if line.startswith(b"data:"))
    try:
        chunk = jsontext.loads(data)
    except ValueError:
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and chunk.get("usage") is not None


def _recalls(capabilities: Capabilities) -> bool:
    where = capabilities.c_reasoning_in
    return capabilities.c_extra_content or where == "reasoning_details" or (where != "none" and bool(capabilities.c_effort_values))


def _is_error(body: dict[str, Any]) -> bool:
    return bool(body.get("error"))


SHAPE = Shape(
    name=facts.NAME,
    api="chat_completions",
    path="/chat/completions",
    rank=0,
    decode_request=decode_request,
    encode_request=encode_request,
    decode_response=decode_response,
    decode_error=decode_error,
    Decoder=StreamDecoder,
    Encoder=StreamEncoder,
    Collector=Collector,
    Observer=Observer,
    recalls=_recalls,
    own_form=own_form,
    scrub=scrub,
    marks=(LAYOUT.encode(),),
    usage_on_demand=UsageOnDemand("stream_options", _asks_usage, add_include_usage, _is_usage),
    lessons=LESSONS,
    rules=RULES,
    translates=translates,
    Draft=ChatDraft,
    refuses=refuses,
    reasons=reasons,
    token_limits=("max_tokens", "max_completion_tokens"),
    operations=openai.OPERATIONS,
    upstream_names=UpstreamNames(("messages",), frozenset({"file_id"})),
    framing=DATA_ONLY,
    errors=errors.OPENAI,
    limits=limits.OPENAI,
    is_error=_is_error,
    bears="choices",
    overhead=320,
    probe=PROBE,
    specimens=SPECIMENS,
)
