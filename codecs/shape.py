"""The definition of a shape: everything about one API in one object.

Each shape package exports one `SHAPE`, and `registry` lists them. Code that depends on an API reads its object: configuration, router,
lanes, handlers, the load tool. If a function needs to name a shape, a field is missing here. Shapes are pure data and pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from re import Pattern
from typing import Any, NamedTuple, Protocol

from .capabilities import Capabilities
from .carrier import Carrier
from .dialect import Dialect
from .errors import ErrorForm, GatewayError
from .events import Event
from .framing import Framing
from .ledger import Ledger, Path
from .lessons import Reading
from .limits import LimitForm
from .probe import Probe
from .reply import Encoded, Reply
from .request import Request
from .rules import Draft, Rule
from .specimens import NONE, Specimens
from .splice import Scan, replace_model
from .sse import Frame
from .usage import Usage

Body = dict[str, Any]


class Decoder(Protocol):
    """Decodes an upstream's frames into hub events. ended: Stop or Fault was returned. counted: the usage is that of all that the upstream
    has written so far.
    """

    ended: bool

    @property
    def usage(self) -> Usage | None: ...
    @property
    def counted(self) -> bool: ...
    def feed(self, frame: Frame) -> list[Event]: ...
    def finish(self, clean: bool) -> list[Event]: ...


class Encoder(Protocol):
    """Encodes hub events as a caller's frames. started: the answer's start was returned. ended: no further frames follow."""

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
    """Collects hub events in a complete answer. error: the answer failed; its body must not be used. None if it did not."""

    error: GatewayError | None

    def feed(self, events: list[Event]) -> object: ...
    def body(self) -> dict[str, Any]: ...


class Observer(Protocol):
    """Observes frames that are passed on unchanged. bare: the number of events without content that may only contain usage. counted: the
    usage is that of all that the upstream has written.
    """

    bare: int
    content: bool
    proof: bool
    error: GatewayError | None

    @property
    def counted(self) -> bool: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def stop(self) -> str | None: ...
    def feed(self, frame: Frame) -> object: ...
    def repeats(self, chunk: bytes) -> int:
        """The number of plain deltas that `chunk` consists of; 0 if it contains anything else. Only called once `content` is true."""

    def completed(self, clean: bool) -> bool: ...
    def observe_whole(self, body: dict[str, Any]) -> None: ...


class UpstreamNames(NamedTuple):
    """The places where a request names objects stored at the upstream for all callers of a key: files, vector stores, containers.

    places: members of the body. members: names of members, at any depth in these, with a name or a list of names.
    """

    places: tuple[str, ...] = ()
    members: frozenset[str] = frozenset()


_NO_NAMES = UpstreamNames()


class TokenCount(NamedTuple):
    """The API's endpoint that counts the tokens of a request.

    path: relative to the base URL. flag: the capability that says whether an upstream has it. member: of the answer, with the count.
    answer: other members. least: members required although the request is only counted. leaves: members to leave out of a translated
    request; None if it is not used for callers of other shapes. wrapped: (translated request, model, capabilities) → the body that asks.
    """

    path: str
    flag: str
    answer: Mapping[str, Any] = {}
    least: Mapping[str, Any] = {}
    leaves: tuple[str, ...] | None = None
    member: str = "input_tokens"
    wrapped: Callable[[Body, str, Capabilities], Body] = lambda body, model, capabilities: body


class Following(NamedTuple):
    """How an answer is asked for that the upstream gives in several: the same request, with what the answer before ended with.

    flag: the capability that says whether an upstream does so. member: of the request, for `token`: (complete answer) → what it ends
    with, "" if it is the last one. Of a stream, the decoder puts it into `Reply.rest`.
    """

    flag: str
    member: str
    token: Callable[[Body], str]


class UsageOnDemand(NamedTuple):
    """How a stream with usage is requested, in a shape whose streams have no usage by default.

    member: of the body that requests it. asked: whether the caller requests it. ask: returns the body with the request. is_usage:
    whether an event, as bytes, only contains usage.
    """

    member: str
    asked: Callable[[Scan], bool]
    ask: Callable[[bytes, Scan], bytes]
    is_usage: Callable[[bytes], bool]


def _read(target: str, body: Scan) -> Scan:
    return body


def _place(path: str, model: str) -> str:
    return path


def _as_it_is(body: dict[str, Any]) -> None:
    return None


def _as_it_came(body: Body, reply: Reply) -> Body:
    return body


def _no_headers(capabilities: Capabilities) -> dict[str, str]:
    return {}


def _always(*_: object) -> bool:
    return True


def never(*_: object) -> bool:
    return False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shape:
    """One API. Fields without a default are required of every shape."""

    name: str
    """Its name in headers, logs, metrics and on the command line."""
    api: str
    """Its name in the configuration's `apis`."""
    path: str
    """The path it is served at, after `/v1`, and the upstream's path, after the base URL, unless `url` is set."""
    route: str = ""
    """A pattern of the paths it is served at, after `/v1/`, for an API with the model in the path; "": only `path`."""
    shown: tuple[str, ...] = ()
    """Such paths as a document writes them, with `{model}` in the place of its name."""
    rank: int
    """Of an upstream's APIs other than the caller's, the one with the lowest rank is used."""

    # ---- translation ----

    decode_request: Callable[..., Request]
    """(body) → Request. A stateful shape accepts the expanded input as a second argument. Raises subclasses of ClientFault."""
    encode_request: Callable[[Request, Capabilities, str], Encoded]
    """(request, capabilities, model) → the upstream's body. Consumes the request's settings; what is not carried is reported in its
    ledger. Raises subclasses of ClientFault for what the upstream cannot express, with `param` set to the path in the caller's body."""
    decode_response: Callable[[Any, Reply], list[Event]]
    """(complete answer, reply) → its events."""
    decode_error: Callable[..., GatewayError]
    """(status, body, content type) → the error in an upstream's answer."""
    Decoder: Callable[[Reply], Decoder]
    Encoder: Callable[[Reply], Encoder]
    Collector: Callable[[Reply], Collector]
    Observer: Callable[[Reply], Observer]

    # ---- requests ----

    read: Callable[[str, Scan], Scan] = _read
    """(target, scan of the body) → the scan with model and stream, wherever this API has them. Raises Malformed, WrongType."""
    own_form: Callable[[dict[str, Any]], tuple[dict[str, Any], list[Path]] | None] = _as_it_is
    """(body) → the request in this API's form, for callers that use another API's form, and the paths of dropped members; None: it
    already has this form. Raises subclasses of ClientFault."""
    rename: Callable[[bytes, Scan, str], bytes] = replace_model
    """(body, scan, model) → the body with the upstream's model name; unchanged if the model is in the URL."""
    base: Callable[[str], str] = str
    """(an upstream's base URL) → that of this API, where a server has several APIs with a base URL each."""
    url: Callable[[str, str, bool, str], str] | None = None
    """(base URL, model, stream, query) → the URL of the request; None: the base URL and `path` for every model."""
    carrier: Carrier | None = None
    """How requests of this API travel, if not as JSON to `url` with server-sent events back; see `carriers.py`."""
    place: Callable[[str, str], str] = _place
    """(path of another operation, model) → the path, relative to the base URL, with the model's name where it stands in the path."""
    join: Callable[[str, str], str] = str.__add__
    """(base URL, path of another operation) → its URL."""
    headers: Callable[[Capabilities], dict[str, str]] = _no_headers
    """Headers that an upstream requires, unless the caller sends its own."""
    credentials: tuple[str, ...] = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    """Headers that may contain a caller's key, in order of precedence."""
    secrets: tuple[str, ...] = ()
    """Members of the query that contain credentials; the first may be the caller's key. They are removed before anything else happens."""
    key_header: str = ""
    """The header for an upstream's key in this API; "" if it only uses bearer tokens."""
    bearer_prefix: str = ""
    """The prefix of keys that are bearer tokens although the API has a key header; "" if there are none."""
    recalls: Callable[[Capabilities], bool] = _always
    """Whether an upstream may need reasoning or a signature back with a tool call."""
    scrub: Callable[[dict[str, Any], Capabilities, Ledger], None]
    """Removes the gateway's own additions from a request body sent in its own shape."""
    prefills: Callable[[Capabilities], bool] = never
    """Whether a model goes on from the text of a last assistant turn, so that its answer is only what is missing."""
    marks: tuple[bytes, ...] = ()
    """What a body of this shape holds, one of them at least, when there is something to remove."""
    usage_on_demand: UsageOnDemand | None = None
    lessons: tuple[Reading, ...] = ()
    """What refusals by an upstream of this shape mean; see `codecs/lessons.py`."""
    rules: tuple[Rule[Any], ...] = ()
    """What upstreams of this shape refuse; see `codecs/rules.py`."""
    Draft: type[Draft] = Draft
    """What these rules look at."""
    refuses: Callable[[Body, Capabilities, bool], bool] = never
    """(body, capabilities, own) → whether an upstream of this shape refuses the caller's body, so that another of its APIs must be used.
    own: whether the body is of this shape; in a body of another shape only the members common to all shapes are read."""
    translates: Callable[[Body, Capabilities], bool] = never
    """(body, capabilities) → whether a body of this shape is translated for an upstream of this shape, which does not know its form."""
    betas_at: tuple[str, ...] = ()
    """The member of the body, and the one in it, that say values of `anthropic-beta`; empty: there is none."""
    tier_header: str = ""
    """The header of an answer that names its service tier, where the body may not; "" if there is none."""
    id_header: str = ""
    """The header of an answer that is its id, where the body has none; "" if the body has one."""
    reasons: Callable[[Body, Capabilities], bool] = never
    """(body, capabilities) → whether the model reasons when it is sent this body, as far as its settings tell."""
    token_limits: tuple[str, ...] = ()
    """Members that limit the answer's tokens."""
    operations: Pattern[str] | None = None
    """Paths of other operations of upstreams of this family, which are passed on unchanged."""
    count: TokenCount | None = None
    upstream_names: UpstreamNames = _NO_NAMES
    region_at: str = ""
    """The member of a request that says where it must be processed, "global" for anywhere; "" if there is none."""
    stateful: bool = False
    """Whether the API stores responses and conversations; if an upstream does not, the gateway does."""

    # ---- answers ----

    dialects: Mapping[str, Dialect] = field(default_factory=dict)
    """By their names in the configuration, the usual one first; empty: there is nothing to choose."""
    follows: Following | None = None
    """None: an answer is always one. A list of lists is what `decode_response` takes several answers as."""
    filled: Callable[[Body, Reply], Body] = _as_it_came
    """(a whole answer, or what an event shows of it; reply) → the same with the members that every answer has, itself where none lacks."""
    framing: Framing
    array: Callable[[str], bool] = never
    """(target) → whether a stream is sent as one JSON array of the frames' data."""
    cuts: bool = False
    """Whether a stream that failed is closed without HTTP's own end: SDKs ignore an error within it, or take it for the end."""
    ping: Frame | None = None
    """A frame that keeps a started stream alive; None: the framing's keep-alive bytes are used."""
    errors: ErrorForm
    limits: LimitForm
    is_error: Callable[[dict[str, Any]], bool]
    """Whether a body with status 200 is an error."""
    callers: bool = True
    """Whether it is spoken by callers, too; else the fields that only concern them are not used."""
    bears_a: type = list
    """The type of the member `bears`."""
    bears: str
    """The member that every complete answer of the shape contains and no request does."""
    bears_instead: str = ""
    """The member of an answer without `bears`: nothing was generated."""
    lists: bool = False
    """Whether the body of an answer can be a list of a stream's chunks, which `decode_response` accepts."""
    model_at: tuple[str, ...] = ("model",)
    """The path of the model's name in a complete answer."""
    last_event: bytes = b""
    """The event that ends a stream. A complete answer that lacks it is given it, in an API whose SDKs fail without it."""
    stream_model_at: tuple[str, ...] = ("model",)
    """The path of the model's name in the data of an event."""
    counts_first: bool = False
    """A stream begins with the request's tokens, which callers show and add up."""
    overhead: int
    """Bytes of an event, or of a complete answer, that are not text: to estimate the usage of an answer that broke off."""

    probe: Probe
    """The load tool's view of the shape."""
    specimens: Specimens = NONE
    """The fields of its requests, to find out what becomes of each at an upstream."""

    def endpoint(self, base: str, model: str, stream: bool = False, query: str = "") -> str:
        """Return the URL of a request. base: without a trailing slash. query: the caller's, including the question mark."""
        base = self.base(base)
        return base + self.path + query if self.url is None else self.url(base, model, stream, query)

    def only_streams(self, body: Body, capabilities: Capabilities) -> bool:
        """Whether an upstream only answers this body as a stream."""
        when, most = capabilities.whole_answers, capabilities.whole_answers_up_to
        if when == "never" or (when == "unless_reasoning" and self.reasons(body, capabilities)):
            return True
        return most > 0 and any(type(limit) is int and limit > most for limit in map(body.get, self.token_limits))

    def keep_alive(self, started: bool) -> bytes:
        """Bytes without meaning that may be written between two frames. started: whether the answer's start was sent."""
        return self.framing.keep_alive if self.ping is None or not started else self.framing.join([self.ping])


def names(shapes: Iterable[Shape]) -> str:
    """The names of shapes in a sentence, as in "a, b or c"."""
    *some, last = [shape.name for shape in shapes]
    return f"{', '.join(some)} or {last}" if some else last
