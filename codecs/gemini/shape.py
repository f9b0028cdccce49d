"""The gemini shape as one object."""

from __future__ import annotations

from typing import Any

from ..capabilities import Capabilities
from ..framing import DATA_LINES
from ..shape import Following, Shape, TokenCount
from . import errors_out, facts
from .errors_in import decode_error
from .lessons import LESSONS
from .observer import Observer
from .paths import GENERATING, SECRETS, base, join, place, read, rename, streams_array, url
from .probe import PROBE
from .request_in import decode_request
from .request_out import encode_request, reasons
from .rules_out import RULES
from .scrub import scrub
from .specimens import SPECIMENS
from .stream_in import StreamDecoder, decode_response, token
from .stream_out import Collector, StreamEncoder

_COUNTED = ("contents", "systemInstruction", "tools")  # by Vertex AI, which refuses the rest


def _counted(body: dict[str, Any], model: str, capabilities: Capabilities) -> dict[str, Any]:
    """The body that asks for the tokens of a request."""
    if capabilities.g_server == "vertex":
        return {name: value for name, value in body.items() if name in _COUNTED}
    return {"generateContentRequest": {"model": f"models/{model}", **body}}


def _is_error(body: dict[str, Any]) -> bool:
    return bool(body.get("error"))


SHAPE = Shape(
    name=facts.NAME,
    api=facts.API,
    path="/models",
    route=GENERATING,
    shown=("/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:streamGenerateContent"),
    rank=3,
    decode_request=decode_request,
    encode_request=encode_request,
    decode_response=decode_response,
    decode_error=decode_error,
    Decoder=StreamDecoder,
    Encoder=StreamEncoder,
    Collector=Collector,
    Observer=Observer,
    read=read,
    rename=rename,
    base=base,
    url=url,
    place=place,
    join=join,
    array=streams_array,
    cuts=True,
    secrets=SECRETS,
    count=TokenCount("/models/{model}:countTokens", "g_count_tokens", member="totalTokens", leaves=("generationConfig",), wrapped=_counted),
    credentials=("x-goog-api-key", "authorization", "x-api-key", "api-key"),
    key_header="x-goog-api-key",
    bearer_prefix="ya29.",  # a token of Google's OAuth
    recalls=lambda capabilities: capabilities.g_signatures != "none",
    prefills=lambda capabilities: capabilities.g_prefill,
    rules=RULES,
    reasons=reasons,
    scrub=scrub,
    marks=(b"ZGdyMS57",),
    lessons=LESSONS,
    tier_header="x-gemini-service-tier",
    framing=DATA_LINES,
    errors=errors_out.GOOGLE,
    limits=errors_out.LIMITS,
    is_error=_is_error,
    bears="candidates",
    bears_instead="promptFeedback",
    lists=True,
    follows=Following("g_continuation", "continuationToken", token),
    model_at=("modelVersion",),
    stream_model_at=("modelVersion",),
    overhead=200,
    probe=PROBE,
    specimens=SPECIMENS,
)
