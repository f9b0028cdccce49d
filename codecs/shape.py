"""What a shape is: one API's whole dialect as one object.

Each shape package exports one `SHAPE`, `registry` lists them, and everything that has to know something of an API asks its object:
configuration, router, lanes, handlers, the load tool. A function that would need to name a shape is a field that is missing here.
All of it is pure data and pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from re import Pattern
from typing import Any, NamedTuple, Protocol

from .capabilities import Capabilities
from .errors import ErrorForm, GatewayError
from .events import Event
from .framing import Framing
from .ledger import Ledger, Path
from .lessons import Reading
from .limits import LimitForm
from .probe import Probe
from .reply import Encoded, Reply
from .request import Request
from .splice import Scan, replace_model
from .sse import Frame
from .usage import Usage

Body = dict[str, Any]


class Decoder(Protocol):
    """An upstream's frames to hub events. ended: Stop or Fault was returned."""

    ended: bool

    @property
    def usage(self) -> Usage | None: ...
    def feed(self, frame: Frame) -> list[Event]: ...
    def finish(self, clean: bool) -> list[Event]: ...


class Encoder(Protocol):
    """Hub events to a caller's frames. started: the caller knows of the answer. ended: nothing comes any more."""

    @property
    def started(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    def feed(self, events: list[Event]) -> list[Frame]: ...


class StatefulEncoder(Encoder, Protocol):
    """Of a shape whose answers are stored.

    fail: the frames to write instead of the end, when that could not be stored. progress: what may be told between two events.
    """

    def fail(self, error: GatewayError) -> list[Frame]: ...
    def progress(self) -> list[Frame]: ...


class Collector(Protocol):
    """Hub events to a whole answer. error: the answer broke off, and the body must not be given out."""

    error: GatewayError | None

    def feed(self, events: list[Event]) -> object: ...
    def body(self) -> dict[str, Any]: ...


class Observer(Protocol):
    """Watches frames that are carried unchanged. bare: events without content that may hold nothing but usage."""

    bare: int
    content: bool
    proof: bool
    error: GatewayError | None

    @property
    def usage(self) -> Usage | None: ...
    @property
    def stop(self) -> str | None: ...
    def feed(self, frame: Frame) -> object: ...
    def repeats(self, chunk: bytes) -> int:
        """How many ordinary deltas a read between two events holds; 0 when there is anything besides. Asked once `content` is true."""

    def completed(self, clean: bool) -> bool: ...
    def observe_whole(self, body: dict[str, Any]) -> None: ...


class UpstreamNames(NamedTuple):
    """Where a request names what an upstream keeps for all callers of a key: files, vector stores, containers.

    places: members of the body. members: that hold a name, or a list of them, at any depth there.
    """

    places: tuple[str, ...] = ()
    members: frozenset[str] = frozenset()


_NO_NAMES = UpstreamNames()


class TokenCount(NamedTuple):
    """The API's own way to count a request's tokens.

    path: behind the base URL. flag: the capability that says whether an upstream has it. answer: members beside `input_tokens`.
    least: members that a request needs although it is only counted. leaves: members to leave out of a translated request; None where
    an upstream of this shape is not asked for other callers' requests.
    """

    path: str
    flag: str
    answer: Mapping[str, Any] = {}
    least: Mapping[str, Any] = {}
    leaves: tuple[str, ...] | None = None


class UsageOnDemand(NamedTuple):
    """A stream that tells its usage only when it is asked to.

    member: of the body that asks. asked: whether the caller asks. ask: the body that does. told: whether an event (its bytes) holds
    usage and nothing else.
    """

    member: str
    asked: Callable[[Scan], bool]
    ask: Callable[[bytes, Scan], bytes]
    told: Callable[[bytes], bool]


def _read(target: str, body: Scan) -> Scan:
    return body


def _always(capabilities: Capabilities) -> bool:
    return True


def _as_it_is(body: dict[str, Any]) -> None:
    return None


def _no_headers(capabilities: Capabilities) -> dict[str, str]:
    return {}


def _never(body: Body, capabilities: Capabilities) -> bool:
    return False


def _refuses_nothing(body: Body, capabilities: Capabilities, own: bool) -> bool:
    return False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shape:
    """One API. Everything without a default must be known of any shape."""

    name: str
    """In headers, logs, metrics and on the command line."""
    api: str
    """In the configuration's `apis`."""
    path: str
    """Where it is served, behind `/v1`; and where an upstream is asked, behind its base URL, unless `url` says otherwise."""
    route: str = ""
    """A pattern of the paths that it is served at, behind `/v1` and a slash, where the model stands in them; "": `path` alone."""
    rank: int
    """Of the APIs that an upstream serves beside the caller's own, the one with the lowest rank is spoken."""

    # ---- translation ----

    decode_request: Callable[..., Request]
    """(body) → Request. A stateful shape takes the expanded input as a second argument. Raises ClientFault leaves."""
    encode_request: Callable[[Request, Capabilities, str], Encoded]
    """(request, capabilities, model) → the upstream's body. Raises ClientFault leaves."""
    decode_response: Callable[[Any, Reply], list[Event]]
    """(a whole answer, reply) → its events."""
    decode_error: Callable[..., GatewayError]
    """(status, body, content type) → the error that an upstream answered with."""
    Decoder: Callable[[Reply], Decoder]
    Encoder: Callable[[Reply], Encoder]
    Collector: Callable[[Reply], Collector]
    Observer: Callable[[Reply], Observer]

    # ---- requests ----

    read: Callable[[str, Scan], Scan] = _read
    """(target, what the body says) → the same with model and stream, wherever this API has them. Raises Malformed, WrongType."""
    own_form: Callable[[dict[str, Any]], tuple[dict[str, Any], list[Path]] | None] = _as_it_is
    """(body) → the same request as this API writes it, where callers write it in another API's form, and the paths of what has no
    place in it; None: it is written so already. Raises ClientFault leaves."""
    rename: Callable[[bytes, Scan, str], bytes] = replace_model
    """(body, scan, model) → the body for an upstream that calls the model so. The body itself where the model is in the URL."""
    url: Callable[[str, str, bool, str], str] | None = None
    """(base URL, model, stream, query) → the URL to ask; None: the base URL and `path`, whatever the model."""
    headers: Callable[[Capabilities], dict[str, str]] = _no_headers
    """Headers that an upstream needs, unless the caller brings its own."""
    credentials: tuple[str, ...] = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    """Headers in which a caller's key is looked for, in this order."""
    key_header: str = ""
    """The header that takes an upstream's key by this API's own convention; "" where there is only a bearer token."""
    bearer_prefix: str = ""
    """Keys that begin so are bearer tokens although the API has a key header; "" where there are none."""
    recalls: Callable[[Capabilities], bool] = _always
    """Whether an upstream may want reasoning or a signature back with a tool call."""
    scrub: Callable[[dict[str, Any], Capabilities, Ledger], None]
    """Removes what is the gateway's own from a request body that goes up in its own shape."""
    usage_on_demand: UsageOnDemand | None = None
    lessons: tuple[Reading, ...] = ()
    """What refusals by an upstream of this shape mean; see `codecs/lessons.py`."""
    refuses: Callable[[Body, Capabilities, bool], bool] = _refuses_nothing
    """(body, capabilities, own) → whether an upstream of this shape refuses what a caller's body asks, so that another of its APIs is to
    be asked. own: the body is of this shape; of another only the members that all shapes have are looked at."""
    reasons: Callable[[Body, Capabilities], bool] = _never
    """(body, capabilities) → whether the model reasons over a body of this shape, as far as its settings say."""
    token_limits: tuple[str, ...] = ()
    """Members that bound the answer's tokens."""
    operations: Pattern[str] | None = None
    """Paths of other operations that upstreams of this family serve, and that are carried to them as they are."""
    count: TokenCount | None = None
    upstream_names: UpstreamNames = _NO_NAMES
    stateful: bool = False
    """The API stores responses and conversations; where an upstream does not, the gateway does."""

    # ---- answers ----

    framing: Framing
    ping: Frame | None = None
    """A frame that keeps a stream alive once it has begun; None: the framing's own bytes do."""
    errors: ErrorForm
    limits: LimitForm
    is_error: Callable[[dict[str, Any]], bool]
    """Whether a body with status 200 is an error."""
    bears: str
    """The member, a list, that every complete answer of the shape contains and no request does."""
    model_at: tuple[str, ...] = ("model",)
    """Where a whole answer names the model."""
    stream_model_at: tuple[str, ...] = ("model",)
    """Where an event's data does."""
    overhead: int
    """Bytes of an event, or of a whole answer, that are not text: for estimates of what an answer cost that broke off."""

    probe: Probe
    """What the load tool knows of it."""

    def endpoint(self, base: str, model: str, stream: bool = False, query: str = "") -> str:
        """The URL to ask. base: without a slash at its end. query: the caller's, with its question mark."""
        return base + self.path + query if self.url is None else self.url(base, model, stream, query)

    def only_streams(self, body: Body, capabilities: Capabilities) -> bool:
        """Whether an upstream answers a body of this shape as a stream alone."""
        when, most = capabilities.whole_answers, capabilities.whole_answers_up_to
        if when == "never" or (when == "unless_reasoning" and self.reasons(body, capabilities)):
            return True
        return most > 0 and any(type(limit) is int and limit > most for limit in map(body.get, self.token_limits))

    def keep_alive(self, started: bool) -> bytes:
        """What may be written between two frames and says nothing. started: the caller knows of the answer."""
        return self.framing.keep_alive if self.ping is None or not started else self.framing.join([self.ping])


def names(shapes: Iterable[Shape]) -> str:
    """For people."""
    *some, last = [shape.name for shape in shapes]
    return f"{', '.join(some)} or {last}" if some else last
