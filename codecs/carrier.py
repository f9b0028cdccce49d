"""How the body of an API travels to a cloud that serves it at a URL and in a form of its own. The table is in `carriers.py`.

The API stays what it is: Claude behind Bedrock and Vertex AI is called by the messages shape, and its codecs, rules and lessons hold
there as they do at Anthropic's own address. A carrier says what is around the body: the path (which names the model and whether to
stream), members that leave the body or join it, headers that become members, how the bytes of a stream are framed, and how errors are
told. Which candidate has which carrier is data of its provider (`carriers` in conf/providers.yaml).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from . import splice
from .anything import list_of
from .betas import Betas
from .errors import GatewayError
from .reply import Unsaid
from .sse import Frame

Body = dict[str, Any]
ErrorReader = Callable[[int, bytes, Mapping[str, str]], GatewayError]
"""(status, body, headers) → the error in an answer. headers: without regard to case."""

# the first version of the API that clouds take from the caller: before it they have versions of their own (SDK 2.14)
SHARED_VERSION = "2026-10-21"
_PROFILE = "anthropic-user-profile-id"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Splitter(Protocol):
    """Splits the bytes of an answer into frames; see sse.Splitter."""

    leftover: bool

    def feed(self, chunk: bytes) -> list[Frame]: ...
    def finish(self) -> list[Frame]: ...


class Framing(NamedTuple):
    """Of streams that are no server-sent events. content_type: of the answer. Splitter: (limit in bytes of an event, reply's unsaid)."""

    content_type: str
    Splitter: Callable[[int, Unsaid], Splitter]


class CountForm(NamedTuple):
    """How tokens are counted. path: as of Carrier.whole. counts: whether it is done for a model of this id.

    write: the body that asks, made of the body that would be sent. member: of the answer. lacking: of a refusal: the model has no count.
    """

    path: str
    counts: Callable[[str], bool]
    write: Callable[[bytes], bytes]
    member: str
    lacking: re.Pattern[str]


class Parcel(NamedTuple):
    """What a carrier changes of one request.

    leaves: members of the body that do not travel. joins: members that it gets. headers: to send besides. held_back: values of the
    caller's `anthropic-beta` that do not travel.
    """

    leaves: frozenset[str]
    joins: Body
    headers: dict[str, str]
    held_back: tuple[str, ...] = ()

    def of(self, value: Body) -> Body:
        """A body, as an object, the way it travels."""
        return {name: inner for name, inner in value.items() if name not in self.leaves} | self.joins

    def spliced(self, body: bytes, value: Body) -> bytes:
        """The same for the caller's bytes; value: the body, parsed. Every byte of the other members stays."""
        return splice.exchanged(body, value, self.leaves, self.joins)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Carrier:
    """One row."""

    name: str
    whole: str
    """The path behind the base URL, of a complete answer; {model} in it is the model's id, percent-encoded."""
    stream: str = ""
    """The same of a stream; "": there is no other."""
    own_count: str = ""
    """The path of the API's own count of tokens, whose body names the model; "": there is none."""
    beside: str = ""
    """The path behind the base URL that is before those of operations which are carried as they are; "": they are not served."""
    safe: str = ""
    """Characters of a model's id that are not encoded, besides letters, digits and `-._~`."""
    detour: str = ""
    """The path to use instead where a refusal says that the model is served at the other one; "": there is none."""
    leaves: frozenset[str] = frozenset()
    """Members that the body loses, as the path says them."""
    version: str = ""
    """The value of the member `anthropic_version`, for callers of an older API; "": the headers `anthropic-*` travel as they are."""
    takes_profile: bool = False
    """Whether the header `anthropic-user-profile-id` becomes the member `user_profile_id`."""
    tiers: frozenset[str] = frozenset()
    """Values of `service_tier` that leave the body for a header."""
    tier_header: str = ""
    accept_header: str = ""
    """Of a stream: a header that says in what form what is framed is to come: JSON."""
    most: int = 0
    """Bytes of a body that are taken; 0: no limit is known."""
    settings: Callable[[Mapping[str, Any], bool, Body], tuple[Body, dict[str, str]]] | None = None
    """(what the entry says, whether a stream is asked for, the body) → members and headers of every request; None: none."""
    framing: Framing | None = None
    """None: server-sent events."""
    count: CountForm | None = None
    """None: tokens are estimated here."""
    read_error: ErrorReader | None = None
    """None: errors are read, and passed on, as the API's own."""
    error_header: str = ""
    """The header of an error that is in the cloud's form, where others are the API's own; "": all are."""

    def url(self, base: str, model: str, stream: bool, detour: bool = False) -> str:
        """base: without a trailing slash."""
        path = self.detour if detour and self.detour else self.stream if stream and self.stream else self.whole
        return base + self.filled(path, model)

    def filled(self, path: str, model: str) -> str:
        """A path with the model's id in it."""
        return path.replace("{model}", model if model == "*" else quote(model, safe=self.safe))

    def counting(self, value: Body, headers: Mapping[str, str]) -> Parcel:
        """What changes of a body whose tokens are counted: the model stays, and no beta is sent."""
        version = (
            {} if "anthropic_version" in value else {"anthropic_version": _version(headers.get("anthropic-version", ""), self.version)}
        )
        return Parcel(frozenset({"anthropic_beta"}), version, {})

    def forwards(self, header: str) -> bool:
        """Whether a header of the caller or of the API travels as a header. header: in lower case."""
        if self.version:
            return not header.startswith(("anthropic-", "x-stainless-"))
        return header != _PROFILE or not self.takes_profile

    def parcel(
        self, value: Body, headers: Mapping[str, str], betas: Betas | None, settings: Mapping[str, Any] = {}, stream: bool = False
    ) -> Parcel:
        """What changes of a body.

        headers: the caller's, and those that the API asks for. betas: which of them the upstream takes. settings: of the entry.
        """
        leaves, joins, sent = set(self.leaves), dict[str, Any](), dict[str, str]()
        held_back: list[str] = []
        if self.version:
            if "anthropic_version" not in value:
                joins["anthropic_version"] = _version(headers.get("anthropic-version", ""), self.version)
            passed, held_back = split(headers.get("anthropic-beta", ""), betas)
            if passed:
                before = list_of(value, "anthropic_beta")
                there = {beta for beta in before if isinstance(beta, str)}
                joins["anthropic_beta"] = [*before, *(beta for beta in passed if beta not in there)]
                leaves.add("anthropic_beta")
        if (profile := headers.get(_PROFILE)) and self.takes_profile and "user_profile_id" not in value:
            joins["user_profile_id"] = profile
        tier = value.get("service_tier")
        if self.tier_header and isinstance(tier, str) and tier in self.tiers:
            sent[self.tier_header] = tier
            leaves.add("service_tier")
        if settings and self.settings is not None:
            members, more = self.settings(settings, stream, value)
            joins |= members
            sent |= more
            leaves |= members.keys()
        return Parcel(frozenset(leaves), joins, sent, tuple(held_back))


def _version(asked: str, otherwise: str) -> str:
    """A caller's version where clouds take it; dates compare as text."""
    return asked if _DATE.fullmatch(asked) and asked >= SHARED_VERSION else otherwise


def split(header: str, betas: Betas | None) -> tuple[list[str], list[str]]:
    """The values of an `anthropic-beta` header that an upstream takes, and the others. betas: None for all."""
    asked = [value for value in map(str.strip, header.split(",")) if value]
    if betas is None:
        return asked, []
    passed = list(dict.fromkeys(name for value in asked if (name := betas.passed(value)) is not None))
    return passed, [value for value in asked if betas.passed(value) is None]
