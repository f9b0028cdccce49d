"""What Amazon Bedrock's runtime says in its own form, whichever API it carries: errors, and the messages of its streams.

An HTTP error has its name in the header `x-amzn-errortype` (before a colon), else in the body's `__type`; the body is `{"message"}` or
`{"Message"}`. In a stream an exception is a message whose header names it.
Sources: the service model of botocore 1.44, `bedrock-runtime/2023-09-30`; the words of refusals are those of recorded answers.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import orjson

from . import errors, jsontext
from .anything import object_of, str_of
from .carrier import CountForm, Framing
from .eventstream import Message, Splitter
from .reply import Unsaid
from .sse import Frame

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_LONGEST = 20_000  # characters of a message that are searched
_LONGEST_NAME = 64
_TYPE = re.compile(r"[a-z_]{1,64}")  # of an event of the messages API


class _Row(NamedTuple):
    """kind: of GatewayError. operators: the operator's credential or configuration is refused, not the caller's request.

    elsewhere: as of errors.Answered.
    """

    kind: str
    operators: bool = False
    elsewhere: bool = False


# by the exception's name without the ending "Exception"
_NAMES = {
    "Throttling": _Row("rate_limit"),
    "ModelNotReady": _Row("overloaded"),
    "ServiceUnavailable": _Row("overloaded"),
    "InternalServer": _Row("server"),
    "ModelTimeout": _Row("timeout", elsewhere=True),
    "ModelError": _Row("bad_gateway", elsewhere=True),
    "ModelStreamError": _Row("bad_gateway", elsewhere=True),
    "ServiceQuotaExceeded": _Row("rate_limit", elsewhere=True),
    "AccessDenied": _Row("upstream_auth", True),
    "ExpiredToken": _Row("upstream_auth", True),
    "UnrecognizedClient": _Row("upstream_auth", True),
    "InvalidSignature": _Row("upstream_auth", True),
    "SignatureDoesNotMatch": _Row("upstream_auth", True),
    "MissingAuthenticationToken": _Row("upstream_auth", True),
    "RequestTimeTooSkewed": _Row("upstream_auth", True),
    "ResourceNotFound": _Row("not_found", elsewhere=True),
    "Validation": _Row("bad_request"),
}
_BY_STATUS = {
    403: _Row("upstream_auth", True),
    404: _Row("not_found"),
    408: _Row("timeout"),
    429: _Row("rate_limit"),
    503: _Row("overloaded"),
}

_ONCE = frozenset({"ModelTimeout", "ServiceQuotaExceeded", "ResourceNotFound", "Validation"})  # the same upstream answers the same

# of a ValidationException, what its words tell
_VALIDATION = (
    (
        re.compile(r"input is too long|prompt is too long|input tokens exceeded|exceeds the maximum|maximum context length", re.IGNORECASE),
        _Row("context_too_long"),
    ),
    (re.compile(r"too many total text bytes|body.{0,80}less than or equal to", re.IGNORECASE), _Row("too_large")),
    (re.compile(r"model identifier is invalid|on-demand throughput isn.t supported", re.IGNORECASE), _Row("bad_gateway", elsewhere=True)),
    (re.compile(r"data retention|operation not allowed", re.IGNORECASE), _Row("upstream_auth", True)),
)
_INTRODUCED = "The model returned the following errors: "
_HINT = "the model id needs an inference profile of the region, such as us.anthropic.claude-…"


def read_error(status: int, body: bytes, headers: Mapping[str, str]) -> errors.GatewayError:
    """The error in an answer. status: of HTTP. headers: without regard to case."""
    value = object_of(body)
    name = headers.get("x-amzn-errortype", "").partition(":")[0] or str_of(value, "__type").rpartition("#")[2]
    return error_of(name, value, status)


def decode_error(status: int, body: bytes, content_type: str = "") -> errors.GatewayError:
    """As `read_error`, without headers."""
    return read_error(status, body, {})


def error_of(name: str, value: dict[str, Any], status: int | None = None) -> errors.GatewayError:
    """The error of this name. value: its body. status: of HTTP; None within a stream."""
    plain = _plain(name)
    message = (str_of(value, "message") or str_of(value, "Message") or "The upstream reported an error.").removeprefix(_INTRODUCED)
    row = _NAMES.get(plain) or _BY_STATUS.get(status or 500) or _Row("bad_request" if 400 <= (status or 500) < 500 else "server")
    phrase = ""  # the words that matched
    if row.kind == "bad_request":
        matches = ((words.search(message[:_LONGEST]), telling) for words, telling in _VALIDATION)
        phrase, row = next(((match[0], telling) for match, telling in matches if match), ("", row))
    kind, original = row.kind, 0
    if plain == "ServiceUnavailable" and "throttled" in message:
        kind = "rate_limit"
    if kind == "bad_gateway" and isinstance(original_status := value.get("originalStatusCode"), int) and 400 <= original_status <= 599:
        kind, original = _of_original(original_status), original_status
    if row.operators:
        return errors.Answered(
            "The gateway's credential was refused by the upstream.",
            f"status {status}, {name[:_LONGEST_NAME]}{phrase and f': {phrase}'}",
            kind=kind,
            code="upstream_auth_failed",
            should_retry=False,
        )
    error = errors.Answered(message, _HINT if row is _VALIDATION[2][1] else "", kind=kind)
    error.elsewhere = row.elsewhere
    error.again = plain not in _ONCE and "tokens per day" not in message and (row.kind != "bad_gateway" or original >= 500)
    error.original = original
    return error


def _of_original(status: int) -> str:
    """The kind of an error that the model's own server answered with."""
    row = _BY_STATUS.get(status)
    if row is not None and not row.operators:
        return row.kind
    return "bad_request" if status < 500 else "server"


def _plain(name: str) -> str:
    """`Throttling` of `ThrottlingException` and `throttlingException`."""
    name = name[:_LONGEST_NAME].removesuffix("Exception")
    return name[:1].upper() + name[1:]


# ---- InvokeModelWithResponseStream ----


def failure(message: Message) -> errors.GatewayError | None:
    """What an exception or an error within a stream says; None of an event."""
    if message.kind == "exception":
        return error_of(message.name, object_of(message.payload))
    if message.kind == "error":
        return error_of(message.name, {"message": message.headers.get(":error-message", "")})
    return None


def _chunk(message: Message, unsaid: Unsaid) -> Frame | None:
    """The event of the carried API in a message of InvokeModelWithResponseStream.

    The last one's `amazon-bedrock-invocationMetrics` is not compared with the usage: a third of recorded streams counts less output there.
    """
    error = failure(message)
    if error is not None:
        unsaid.failure = error
        return b"error", jsontext.dumps(error.anthropic(None))
    try:
        data = b64decode(orjson.loads(message.payload)["bytes"])
        kind = _TYPE.fullmatch(orjson.loads(data)["type"])
    except (ValueError, TypeError, KeyError):
        kind = None
    if kind is None:
        unsaid.add(f"event:{message.name[:_LONGEST_NAME]}")
        return None
    if b"\n" in data or b"\r" in data:  # between two members: within a string they are escaped
        data = data.replace(b"\r", b" ").replace(b"\n", b" ")
    return kind[0].encode(), data


# ---- ConverseStream ----


def _event(message: Message, unsaid: Unsaid) -> Frame | None:
    """A message of ConverseStream as a frame; of a failure the name stands behind FAILURE."""
    kind, name = message.kind, message.name.encode("utf-8", "replace")
    if kind == "event":
        return name, message.payload
    if kind == "exception":
        return FAILURE + name, message.payload
    if kind == "error":
        return FAILURE + name, jsontext.dumps({"message": message.headers.get(":error-message", "")})
    unsaid.add(f"event:{kind[:_LONGEST_NAME]}")
    return None


FAILURE = b"exception:"

# ---- what an entry asks for in every request ----


def headers_of(settings: Mapping[str, Any], stream: bool, body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Of InvokeModel: as headers."""
    guardrail = settings.get("guardrail", {})
    headers = {
        "x-amzn-bedrock-guardrailidentifier": guardrail.get("id"),
        "x-amzn-bedrock-guardrailversion": guardrail.get("version"),
        "x-amzn-bedrock-trace": guardrail["trace"].upper() if "trace" in guardrail else None,
        "x-amzn-bedrock-projectidentifier": settings.get("project"),
    }
    if "request_metadata" in settings:
        headers["x-amzn-bedrock-request-metadata"] = jsontext.dumps(settings["request_metadata"]).decode()
    return {}, {name: value for name, value in headers.items() if value is not None}


MOST_METADATA = 16  # of one request
_GUARDRAIL = {"id": "guardrailIdentifier", "version": "guardrailVersion", "trace": "trace", "stream_mode": "streamProcessingMode"}


def members_of(settings: Mapping[str, Any], stream: bool, body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Of Converse: as members of the body."""
    members: dict[str, Any] = {}
    guardrail = settings.get("guardrail")
    if guardrail:
        members["guardrailConfig"] = {_GUARDRAIL[key]: value for key, value in guardrail.items() if stream or key != "stream_mode"}
    if "request_metadata" in settings:
        own = settings["request_metadata"]
        rest = [pair for pair in body.get("requestMetadata", {}).items() if pair[0] not in own]  # the caller's
        members["requestMetadata"] = own | dict(rest[: MOST_METADATA - len(own)])
    if "project" in settings:
        members["projectIdentifier"] = settings["project"]
    return members, {}


# ---- CountTokens ----

# an id with one answers "The provided model doesn't support counting tokens."
_GEOGRAPHIES = ("us.", "eu.", "apac.", "jp.", "au.", "ca.", "in.", "global.", "us-gov.", "arn:")

_COUNTED = frozenset({"messages", "system", "toolConfig", "additionalModelRequestFields"})  # of Converse


def _count_of_converse(body: bytes) -> bytes:
    counted = {name: value for name, value in jsontext.loads(body).items() if name in _COUNTED}
    return jsontext.dumps({"input": {"converse": counted}})


COUNT = CountForm(
    "/model/{model}/count-tokens",
    lambda model: not model.startswith(_GEOGRAPHIES),
    lambda body: b'{"input":{"invokeModel":{"body":"%b"}}}' % b64encode(body),
    "inputTokens",
    re.compile(r"The provided model doesn.t support counting tokens"),
)
COUNT_OF_CONVERSE = COUNT._replace(write=_count_of_converse)

EVENTS = Framing(CONTENT_TYPE, partial(Splitter, read=_event))
CHUNKS = Framing(CONTENT_TYPE, partial(Splitter, read=_chunk))
