"""Objects that upstreams store for their account (files, batches, containers, …): which upstream a path goes to, and who may ask for it.

They are carried as they come, under the credential of an entry. That is the account of all callers, so what one caller stores another
could read. Callers of several access keys are kept apart unless they are one team: an id must have been in an answer to the caller's
own key, and what cannot be told apart by ids is refused. A key that may not use every model of a provider reaches none of its objects,
because a batch names models in a file that the gateway does not read.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from tornado.httputil import HTTPHeaders

from ...codecs import errors, jsontext
from ...codecs.capabilities import Capabilities
from ...codecs.gemini import paths
from ...codecs.gemini.shape import SHAPE as GOOGLE
from ...codecs.registry import SHAPES, USUAL
from ...codecs.shape import Shape
from ...conf.model import Aws
from ..memory import upstream_names
from ..memory.records import Native
from ..routing.candidate import Candidate
from ..wire import bodies
from .operation import Operation

if TYPE_CHECKING:
    from .exchange import Exchange
    from .services import Services

HEADER = "X-Dragoman-Provider"
DEEPEST = 6  # parts of a path behind its collection


class Collection(NamedTuple):
    """forms: multipart forms that upload to it cannot name other objects. alone: why it is only for callers that are one team; "":
    its objects are told apart by their ids. requests: as of Operation.
    """

    forms: bool = False
    alone: str = ""
    requests: str = ""


_UNKNOWN_OWNERS = "the gateway does not note whose they are"
_VERSION = "v1beta/"  # before the names of Google's collections here, whatever version a caller writes

COLLECTIONS = {
    "files": Collection(forms=True),
    "uploads": Collection(forms=True),
    "containers": Collection(),
    "vector_stores": Collection(),
    "messages/batches": Collection(requests="requests[].params"),
    "batches": Collection(alone="the gateway does not see what the requests of a batch's file name"),
    "skills": Collection(alone="they are the account's, for all who use it"),
    "chat/completions": Collection(alone=_UNKNOWN_OWNERS),
    **{_VERSION + name: Collection(alone=_UNKNOWN_OWNERS) for name in paths.STORED},
}

_NAMES = "|".join(name.replace("/", "/+") for name in COLLECTIONS if not name.startswith(_VERSION))
PATHS = rf"(?P<path>(?:{_NAMES}|{paths.OBJECTS})(?:/.*)?)"
"""A pattern of all paths behind /v1."""

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:~-]{0,255}")  # no parser of paths changes it
_STATIC = frozenset(
    ("content", "cancel", "complete", "parts", "files", "file_batches", "search", "results", "versions", "messages")
)  # the rest are ids
_NEW = ("output_file_id", "error_file_id", "file")  # members of an object that name others, which are new

_FREE = frozenset({"GET", "HEAD", "DELETE"})
_REPEATED = frozenset({"GET", "HEAD"})


class Place(NamedTuple):
    """Where an object is. rest: what follows the collection. before, method: of Google's paths, what stands before the collection, and
    behind it after a colon.
    """

    collection: str
    rest: tuple[str, ...]
    before: str = ""
    method: str = ""

    @property
    def path(self) -> str:
        return "/".join((self.before, self.collection.removeprefix(_VERSION) + self.method, *self.rest))

    @property
    def of_project(self) -> bool:
        """Whether the path names a project, as Vertex AI's do. Which one is asked is the upstream's to say."""
        return self.before.startswith("/projects/")

    @property
    def of_google(self) -> bool:
        return self.collection.startswith(_VERSION)

    @property
    def route(self) -> str:
        """The path with {id} for what is no word of the API."""
        return "/".join(("", self.collection, *(part if part in _STATIC else "{id}" for part in self.rest)))

    @property
    def shows_itself(self) -> bool:
        """Whether the answer is the object as its upstream describes it, and nothing that a caller wrote."""
        return len(self.rest) <= 1 or self.rest[-1] == "complete"


def shown(collection: str) -> str:
    """The path of a collection."""
    return f"/{collection}" if collection.startswith(_VERSION) else f"/v1/{collection}"


def place(path: str, google: bool = False) -> Place:
    """Read a path behind /v1. Raises NotFound for one that may mean something else to an upstream.

    google: the caller speaks Google's API; some paths are in this alone.
    """
    parts = tuple(part for part in path.split("/") if part)
    if (google_place := _of_google(parts, google)) is not None:
        return google_place
    for size in (1, 2):
        name, rest = "/".join(parts[:size]), parts[size:]
        if name in COLLECTIONS and len(rest) <= DEEPEST and all(map(_SEGMENT.fullmatch, rest)):
            return Place(name, rest)
    raise errors.NotFound(f"/{path[:200]} is not served here.")


def _of_google(parts: tuple[str, ...], google: bool) -> Place | None:
    """upload/VERSION/COLLECTION:method/… as Google has it, or Vertex AI's; None for what is another API's, or nobody's."""
    uploads = parts[:1] == (paths.UPLOAD,)
    versioned = re.fullmatch(paths.VERSION, "".join(parts[uploads : uploads + 1])) is not None
    rest = parts[uploads + versioned :]
    before = [paths.UPLOAD] if uploads else []
    if len(rest) > 4 and (rest[0], rest[2]) == ("projects", "locations") and not uploads and rest[4].partition(":")[0] in paths.OF_PROJECT:
        before, rest, google = list(rest[:4]), rest[4:], True
    name, colon, method = (rest[0] if rest else "").partition(":")
    if name not in paths.STORED or not (google or uploads or versioned or colon or name not in COLLECTIONS):
        return None
    if len(rest) > DEEPEST + 1 or not all(map(_SEGMENT.fullmatch, (*before, *rest))):
        return None
    return Place(_VERSION + name, rest[1:], "".join(f"/{part}" for part in before), colon + method)


def shape_of(place: Place, headers: HTTPHeaders) -> Shape:
    """The API whose caller asks: by the path, else by a header that only this API's callers send."""
    if place.of_google:
        return GOOGLE
    for shape in SHAPES.values():
        if place.collection.startswith(f"{shape.path[1:]}/") or any(name in headers for name in shape.headers(Capabilities())):
            return shape
    return USUAL


def operation(place: Place, method: str, shape: Shape) -> Operation:
    """The row of a request for an object."""
    return _operation(place.collection, place.route, method, shape.name, place.shows_itself)


@lru_cache(1024)
def _operation(collection: str, route: str, method: str, shape: str, shown: bool) -> Operation:
    return Operation(
        collection.replace("/", "."),
        shape,
        route,
        method,
        model="none",
        counted=method not in _FREE,
        retried=method in _REPEATED,
        metered=False,
        upstreams=upstreams,
        claims=claims if shown and method in ("GET", "POST") else None,
        requests=COLLECTIONS[collection].requests,
    )


def holds(services: Services, place: Place, headers: HTTPHeaders, shape: Shape) -> bool:
    """Whether a body must be whole before it is sent on: because it is read, signed, or changed."""
    if services.hooks is not None and services.hooks.reads:
        return True
    fitting = _fitting(services, place, headers, shape)
    if any(isinstance(one.provider.way, Aws) for one in fitting):
        return True
    if is_json(headers) and any(one.provider.edits is not None and one.provider.edits.of_body for one in fitting):
        return True
    return _apart(services) and not _is_form(place, headers)


def _is_form(place: Place, headers: HTTPHeaders) -> bool:
    return COLLECTIONS[place.collection].forms and headers.get("Content-Type", "").lower().startswith("multipart/form-data")


def is_json(headers: HTTPHeaders) -> bool:
    """Whether a request's body is JSON, as far as it says."""
    return headers.get("Content-Type", "application/json").lower().startswith("application/json")


def _apart(services: Services) -> bool:
    """Whether callers are kept apart at upstreams with the gateway's own credential."""
    return not services.one_team() and (len(services.config.access_keys) > 1 or bool(services.access.sources))


# ---- up ----


async def upstreams(exchange: Exchange) -> tuple[Candidate, ...]:
    """The one upstream that the request goes to. Raises ClientFault and NoCandidate."""
    asked = place(exchange.path, exchange.shape == GOOGLE.name)
    candidate = _chosen(exchange, asked)
    if exchange.operation.counted and exchange.identity.wants_prices:
        raise errors.Forbidden("The budget of this API key allows nothing without a price, and stored objects have none.")
    if _apart(exchange.services) and not exchange.services.lets_through(candidate):
        await _check_owner(exchange, asked)
    return (candidate,)


def _fitting(services: Services, asked: Place, headers: HTTPHeaders, shape: Shape) -> list[Candidate]:
    """The upstreams that a request may mean."""
    accounts, named = services.router.accounts(), headers.get(HEADER, "").strip()
    if asked.of_google:
        accounts = _googles(accounts, asked, bool(named))
    if named:
        return [one for one in accounts if one.provider.name == named] or [one for one in accounts if one.provider.provider == named]
    candidates = [one for one in accounts if asked.of_google or asked.collection in one.stores]
    return [one for one in candidates if one.speaks.errors is shape.errors] or candidates  # of the caller's vendor


def _chosen(exchange: Exchange, asked: Place) -> Candidate:
    named = exchange.headers.get(HEADER, "").strip()
    candidates = _fitting(exchange.services, asked, exchange.headers, exchange.speaks)
    if not candidates and named:
        which = "called over Google's API" if asked.of_google else "here"
        raise errors.NoCandidate(f"There is no provider `{named[:100]}` {which}.", param=HEADER.lower())
    if not candidates:
        raise errors.NoCandidate(f"No provider here is known to have /{asked.collection}: name one in `{HEADER.lower()}`.")
    within = [one for one in candidates if exchange.identity.reaches(one.provider.provider)]
    if not within:
        raise errors.Forbidden(
            f"This API key may not use every model of `{candidates[0].provider.provider}`, and therefore not its objects."
        )
    if len(within) > 1:
        within = [one for one in within if one.provider.default] or within
    if len(within) > 1:
        names = ", ".join(dict.fromkeys(one.provider.name for one in within))
        raise errors.ClientFault(
            f"Several providers have /{asked.collection}: name one of {names} in `{HEADER.lower()}`.", param=HEADER.lower()
        )
    return within[0]


def _googles(accounts: tuple[Candidate, ...], asked: Place, named: bool) -> tuple[Candidate, ...]:
    """Those of Google's own API; of Vertex AI for a path of its own, and where it has the same objects and is named, or alone."""
    cloud = tuple(replace(one, shape=GOOGLE.name, carrier=None) for one in accounts if _is_vertex(one))
    if asked.of_project:
        return cloud
    own = tuple(one for one in accounts if one.shape == GOOGLE.name and one.capabilities.g_server == "developer")
    shared = asked.collection.removeprefix(_VERSION) in paths.OF_PROJECT and not asked.before
    return own + cloud if shared and (named or not own) else own


def _is_vertex(candidate: Candidate) -> bool:
    return GOOGLE.api in candidate.provider.apis and candidate.capabilities.g_server == "vertex"


async def _check_owner(exchange: Exchange, asked: Place) -> None:
    """Raise ClientFault unless the caller's own key was given all that the request names."""
    collection = COLLECTIONS[asked.collection]
    if collection.alone:
        raise _apart_only(f"/{asked.collection} is not for callers who are kept apart: {collection.alone}.")
    if not asked.rest and exchange.operation.method != "POST":
        raise _apart_only(f"A list of /{asked.collection} shows those of other API keys.")
    names = dict.fromkeys(asked.rest[:1]) | await _named(exchange, asked)
    owned = await exchange.services.state.records.owned(exchange.owner, names)
    for name, param in names.items():
        if name not in owned:
            raise errors.NotFound(f"'{name[:256]}' was not found for this API key.", param=param)


async def _named(exchange: Exchange, asked: Place) -> dict[str, str | None]:
    """The objects that the body names, each with its member. Raises Malformed, and ClientFault for a body that cannot be read."""
    if not exchange.body:
        return {}
    if not is_json(exchange.headers):
        raise errors.ClientFault(f"A body for /{asked.collection} must be JSON here.", kind="unsupported_media")
    scan = await bodies.scan(exchange.body, exchange.services.config.limits.max_values)
    return upstream_names.used_anywhere(scan.value)


def _apart_only(why: str) -> errors.Forbidden:
    return errors.Forbidden(why, "state_storage.shared_upstream_ids makes all callers one team")


# ---- down ----


async def claims(exchange: Exchange, candidate: Candidate, body: bytes) -> None:
    """Note that the caller's key was given the ids in an answer."""
    services = exchange.services
    if services.lets_through(candidate):
        return
    try:
        value = jsontext.loads(body)
    except ValueError:
        return
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        names = [value["id"], *upstream_names.in_members(value, _NEW)]
        native = Native(services.router.mark(candidate.provider), None)
        await services.state.records.claim(exchange.owner, f"object.{value['id']}", native, names)
