"""The gemini shape as one object."""

from __future__ import annotations

from typing import Any

from ..framing import DATA_ONLY
from ..shape import Shape
from . import errors_out, facts
from .errors_in import decode_error
from .lessons import LESSONS
from .observer import Observer
from .probe import PROBE
from .request_in import decode_request, read, rename
from .request_out import encode_request
from .scrub import scrub
from .stream_in import StreamDecoder, decode_response
from .stream_out import Collector, StreamEncoder


def url(base: str, model: str, stream: bool, query: str) -> str:
    """base: with the version, of Vertex AI with the publisher. query: the caller's, in whose place `alt` stands for itself."""
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"{base}/models/{model}:{method}"


def _is_error(body: dict[str, Any]) -> bool:
    return bool(body.get("error"))


SHAPE = Shape(
    name=facts.NAME,
    api=facts.API,
    path="/models",
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
    url=url,
    credentials=("x-goog-api-key", "authorization", "x-api-key", "api-key"),
    key_header="x-goog-api-key",
    scrub=scrub,
    marks=(b"ZGdyMS57",),
    lessons=LESSONS,
    framing=DATA_ONLY,
    errors=errors_out.GOOGLE,
    limits=errors_out.LIMITS,
    is_error=_is_error,
    bears="candidates",
    model_at=("modelVersion",),
    stream_model_at=("modelVersion",),
    overhead=200,
    probe=PROBE,
)
