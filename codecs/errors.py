"""The exceptions of an exchange, as one tree, and the table of how each kind is rendered in each shape.

    GatewayError                 kind, status, message (public), detail (for the log only, without content of prompts or answers)
    ├─ ClientFault               the caller's: Malformed, Unsupported(param), TooLarge, Unauthorized, Forbidden, OverQuota,
    │                            Blocked
    ├─ UpstreamFault             the provider's: Refused, Broken, Timeout(timer), Truncated, Garbled, Overlong,
    │                            NoSummary, Answered
    ├─ RouteFault                NoCandidate, Unconfigured, NoCredential, Overloaded, AllFailed(attempts)
    └─ LocalBug                  an invariant of ours broke: 500, and the traceback goes to the log

`kind` is a neutral name that decides status, type and code in each shape (KINDS). Source: sections "Errors" and "Error codes" of the
API references of Anthropic and OpenAI. A message is public: it never contains a key, a URL with credentials or an upstream's address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import jsontext
from .ledger import Path, concrete


class Kind(NamedTuple):
    """The rendering of a neutral kind: status and type in the messages shape; status, type and code in the OpenAI shapes; HTTP status and
    the word of google.rpc.Code in the gemini shape.
    """

    messages_status: int
    messages_type: str
    openai_status: int
    openai_type: str
    openai_code: str | None
    google_code: int
    google_status: str


KINDS: dict[str, Kind] = {
    "bad_request": Kind(400, "invalid_request_error", 400, "invalid_request_error", None, 400, "INVALID_ARGUMENT"),
    "context_too_long": Kind(
        400, "invalid_request_error", 400, "invalid_request_error", "context_length_exceeded", 400, "INVALID_ARGUMENT"
    ),
    "content_policy": Kind(400, "invalid_request_error", 400, "invalid_request_error", "content_filter", 400, "INVALID_ARGUMENT"),
    "policy_blocked": Kind(400, "policy_blocked", 400, "invalid_request_error", "policy_blocked", 400, "INVALID_ARGUMENT"),
    "auth": Kind(401, "authentication_error", 401, "invalid_request_error", "invalid_api_key", 401, "UNAUTHENTICATED"),
    "billing": Kind(402, "billing_error", 429, "insufficient_quota", "insufficient_quota", 429, "RESOURCE_EXHAUSTED"),
    "permission": Kind(403, "permission_error", 403, "invalid_request_error", "permission_denied", 403, "PERMISSION_DENIED"),
    "not_found": Kind(404, "not_found_error", 404, "invalid_request_error", None, 404, "NOT_FOUND"),
    "method_not_allowed": Kind(405, "invalid_request_error", 405, "invalid_request_error", None, 405, "INVALID_ARGUMENT"),
    "conflict": Kind(409, "conflict_error", 409, "invalid_request_error", "conflict", 409, "ABORTED"),
    "too_large": Kind(413, "request_too_large", 413, "invalid_request_error", "request_too_large", 413, "INVALID_ARGUMENT"),
    "unsupported_media": Kind(
        415, "invalid_request_error", 415, "invalid_request_error", "unsupported_media_type", 415, "INVALID_ARGUMENT"
    ),
    "upgrade": Kind(426, "invalid_request_error", 426, "invalid_request_error", "upgrade_required", 426, "FAILED_PRECONDITION"),
    "rate_limit": Kind(429, "rate_limit_error", 429, "rate_limit_error", "rate_limit_exceeded", 429, "RESOURCE_EXHAUSTED"),
    "server": Kind(500, "api_error", 500, "server_error", None, 500, "INTERNAL"),
    "bad_gateway": Kind(502, "api_error", 502, "server_error", "upstream_error", 502, "UNAVAILABLE"),
    "upstream_auth": Kind(
        403, "permission_error", 403, "invalid_request_error", "upstream_auth_failed", 403, "PERMISSION_DENIED"
    ),  # a 5xx would be retried
    "overloaded": Kind(529, "overloaded_error", 503, "server_error", "overloaded", 503, "UNAVAILABLE"),
    "timeout": Kind(504, "timeout_error", 504, "server_error", "upstream_timeout", 504, "DEADLINE_EXCEEDED"),
}


NO_THREAD = "thread_unsupported_request"
"""For messages callers: Anthropic's SDKs retry with the entire history if `error.details` asks for it."""


# By these words Claude Code sees that it must compact the conversation (its release 2.1.332; "Errors" of the protocol that its gateway
# serves at /protocol, where the classes of `capability_rejected` are, too).
_TOO_LONG = (
    "prompt is too long",
    "input is too long",
    "maximum context length",
    "context_length_exceeded",
    "exceeds the context window",
    "exceeds the available context size",
    "exceeds the maximum number of tokens allowed",
    "reduce the length of the messages",
    "input length and `max_tokens` exceed context limit",
)


def _sound(text: str) -> str:
    """Replace lone surrogates, which callers can send but not every JSON parser accepts, by "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def forget(error: BaseException | None) -> None:
    """Clear the traceback, cause and context of a stored error: their frames refer to the request, and back to the error."""
    while error is not None and (error.__traceback__ or error.__context__):
        before = error.__cause__ or error.__context__
        error.__traceback__ = error.__cause__ = error.__context__ = None
        error = before


class GatewayError(Exception):
    """An error that can be sent to a caller.

    kind: a key of KINDS. message: public text. detail: private text for the log. code and param: the OpenAI shapes' fields, if
    different from the kind's defaults. status: the upstream's HTTP status, used if the kind allows it. retry_after: seconds.
    should_retry: the SDKs' `x-should-retry` (None: the SDK decides).
    """

    kind = "server"
    code: str | None = None
    should_retry: bool | None = None
    capability: str | None = None  # what the model lacks, as Claude Code names it: it asks again without that

    def __init__(
        self,
        message: str,
        detail: str = "",
        *,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        message = _sound(message)
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.kind = kind or self.kind
        self.code = code or self.code
        self.param = None if param is None else _sound(param)
        self.status = status
        self.retry_after = retry_after
        self.resets_at: float | None = None  # of a budget that is used up: when it begins anew, seconds since the epoch
        self.headers: dict[str, str] = {}  # response headers such as rate limits, in the form of the caller's API
        if should_retry is not None:
            self.should_retry = should_retry

    @property
    def logged(self) -> str:
        """The message for the log, without content of prompts or answers."""
        return self.message

    def http_status(self, shape: str) -> int:
        """The HTTP status for a caller of this shape. shape: a key of FORMS."""
        return FORMS[shape].status(KINDS[self.kind]) if self.status is None else self.status

    def openai(self) -> dict[str, Any]:
        """The content of `error` in the OpenAI shapes."""
        kind = KINDS[self.kind]
        return {"message": self.message, "type": kind.openai_type, "param": self.param, "code": self.code or kind.openai_code}

    def anthropic(self, request_id: str | None) -> dict[str, Any]:
        """The complete error object of the messages shape."""
        message = self.message
        if self.param and self.param not in message:
            message = f"{message} ({self.param})"
        if self.capability:
            message = f"{message} (capability_rejected: {self.capability})"
        elif self.kind == "context_too_long" and not any(words in message.lower() for words in _TOO_LONG):
            message = f"prompt is too long: {message}"
        error: dict[str, Any] = {"type": KINDS[self.kind].messages_type, "message": message}
        if self.code == NO_THREAD:
            error["details"] = {"error_code": self.code}
        return {"type": "error", "error": error, "request_id": request_id}

    def body(self, shape: str, request_id: str | None) -> bytes:
        """The HTTP body for a caller of this shape. shape: a key of FORMS."""
        return jsontext.dumps(FORMS[shape].body(self, request_id))


# ---- rendering ----


class ErrorForm(NamedTuple):
    """How an API renders errors. status: the HTTP status of a kind. body: (error, request id) → the complete object.

    waits_for_money: whether a caller without a budget is told when it has one again; clients of some APIs would wait for it.
    """

    status: Callable[[Kind], int]
    body: Callable[[GatewayError, str | None], dict[str, Any]]
    waits_for_money: bool = True


def _shared(error: GatewayError, request_id: str | None) -> dict[str, Any]:
    inner = error.openai() | {"type": KINDS[error.kind].messages_type}
    return {"type": "error", "error": inner, "request_id": request_id}


def _responses(error: GatewayError, request_id: str | None) -> dict[str, Any]:
    inner = error.openai()
    if error.resets_at is not None:  # by this Codex tells its user, and does not ask again
        inner |= {"type": "usage_limit_reached", "resets_at": int(error.resets_at)}
    return {"error": inner}


OPENAI = ErrorForm(lambda kind: kind.openai_status, lambda error, request_id: {"error": error.openai()})
RESPONSES = ErrorForm(OPENAI.status, _responses)
ANTHROPIC = ErrorForm(lambda kind: kind.messages_status, GatewayError.anthropic)

FORMS: dict[str, ErrorForm] = {"shared": ErrorForm(OPENAI.status, _shared)}
"""By shape, filled by `registry`. `shared` is readable by both vendors' SDKs, for paths that belong to no shape."""


# ---- the caller's ----


class ClientFault(GatewayError):
    kind = "bad_request"


class Malformed(ClientFault):
    """The request violates its shape: invalid JSON, a wrong type, a missing field."""

    code = "invalid_json"


class Missing(ClientFault):
    """A required field is missing; `param` names it."""

    code = "missing_required_parameter"


class WrongType(ClientFault):
    """A field has the wrong type; `param` names it."""

    code = "invalid_type"


class Unsupported(ClientFault):
    """The request is valid, but the chosen upstream cannot express it; `param` names the field."""

    code = "unsupported_parameter"


class UnsupportedContent(Unsupported):
    """capability: see GatewayError."""

    code = "unsupported_content"

    def __init__(self, message: str, *, param: str | None = None, capability: str | None = None) -> None:
        super().__init__(message, param=param)
        self.capability = capability


def unsupported_content(what: str, path: Path, capability: str | None = None) -> UnsupportedContent:
    return UnsupportedContent(f"{what} is not supported by the selected model", param=concrete(path), capability=capability)


class TooLarge(ClientFault):
    kind = "too_large"


class Unauthorized(ClientFault):
    kind = "auth"
    should_retry = False


class Forbidden(ClientFault):
    kind = "permission"


class OverQuota(ClientFault):
    kind = "rate_limit"


class Blocked(ClientFault):
    """The operator's policy refuses the request; Claude Code shows the message and asks no other model."""

    kind = "policy_blocked"
    should_retry = False


class NotFound(ClientFault):
    kind = "not_found"


# ---- the provider's ----


class UpstreamFault(GatewayError):
    """sent: whether the upstream may have read the request; False if repeating it is safe.

    again: whether the same upstream may answer another time.
    """

    kind = "bad_gateway"
    sent = True
    again = True


class Refused(UpstreamFault):
    """No connection: DNS, connect, TLS, or a reset before the first byte of an answer."""

    code = "upstream_unreachable"


class Broken(UpstreamFault):
    """The provider reports a failure of its own."""


class Timeout(UpstreamFault):
    """A timeout expired; `timer` is its name in the configuration (connect, first_byte, idle, first_content, client_stall,
    timeout). code: where the upstream was not late.
    """

    kind = "timeout"
    code = "upstream_timeout"

    def __init__(self, timer: str, message: str, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(f"{message.rstrip('.')} ({timer}).", detail, code=code)
        self.timer = timer


class Truncated(UpstreamFault):
    """The answer ended before its protocol's proof of completion."""

    code = "upstream_stream_interrupted"


class Garbled(UpstreamFault):
    """The answer violates its protocol: invalid HTTP, invalid JSON, or not this shape's events."""

    code = "upstream_protocol_error"


class Overlong(UpstreamFault):
    """The answer exceeds the size that the gateway buffers."""

    code = "upstream_answer_too_long"


class NoSummary(UpstreamFault):
    """The model was asked to sum up, and did not, or not to the end. called: it called a tool instead."""

    def __init__(self, message: str, detail: str = "", *, called: bool = False) -> None:
        super().__init__(message, detail)
        self.called = called


class Answered(UpstreamFault):
    """An error sent by the provider, with its kind, message, code and param. The message may quote the request.

    elsewhere: another upstream may answer, whatever the status. original: the status that the upstream itself got from the model's server,
    by which policies judge, where it says one; 0: none.
    """

    elsewhere = False
    original = 0

    @property
    def logged(self) -> str:
        return f"in the upstream's own words, {len(self.message)} characters"


# ---- between the two ----


class RouteFault(GatewayError):
    kind = "bad_gateway"


class NoCandidate(RouteFault):
    """No upstream serves this model."""

    kind = "not_found"
    code = "model_not_found"


class Unconfigured(RouteFault):
    """The model's provider has no credential: the configuration is incomplete."""

    code = "upstream_auth_missing"
    should_retry = False


class NoCredential(Unconfigured):
    """The credential of the model's provider could not be got: its service refused, or did not answer."""

    code = "upstream_auth_failed"


class Overloaded(RouteFault):
    """The gateway accepts no more requests: too many streams, or it is draining."""

    kind = "overloaded"


class AllFailed(RouteFault):
    """Every candidate failed; the message lists the attempts with the upstreams' messages."""

    @property
    def logged(self) -> str:
        return "All upstreams failed."


class LocalBug(GatewayError):
    """A violated invariant of the gateway. The caller is only sent the request id."""

    kind = "server"
    code = "internal_error"
