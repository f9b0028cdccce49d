"""The paths of the gemini shape: the model and what is asked of it stand there, not in the body.

    /v1beta/models/MODEL:METHOD
    /v1/projects/P/locations/L/publishers/PUBLISHER/models/MODEL:METHOD

The method follows the last colon, because the names of models may have colons and slashes of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from .. import jsontext
from ..anything import list_of
from ..errors import Malformed, Unsupported
from ..splice import Scan, replace_members

_PROJECT = r"(?:projects/++[^/]++/++locations/++[^/]++/++)?"
_KINDS = r"(?:models|endpoints)/++"
_BEFORE = rf"(?:v1(?:beta1?|alpha)/++)?{_PROJECT}(?:publishers/++[^/]++/++)?{_KINDS}"
GENERATING = rf"{_BEFORE}.+:(?:generateContent|streamGenerateContent)/*"
"""A pattern of the paths of answers, behind slashes and `v1`."""
METHODS = rf"{_BEFORE}(?P<model>.+:[A-Za-z]{{1,64}})/*"
"""The same of all methods."""
CLAUDE = rf"(?:v1(?:beta1?|alpha)/++)?{_PROJECT}publishers/++anthropic/++models/++(?P<model>.+):(?:rawPredict|streamRawPredict)/*"
"""The same of Anthropic's models on Vertex AI, whose bodies are those of their own API."""
LISTED = rf"(?:v1(?:beta1?|alpha)/++)?{_PROJECT}publishers/++google/++models/*"
"""The same of the list of models on Vertex AI."""

STORED = ("files", "cachedContents", "batches", "fileSearchStores", "operations", "interactions", "tunedModels")
"""Collections of what Google stores for an account, below the version."""
OF_PROJECT = ("cachedContents", "operations")
"""Those of them that Vertex AI has, for a project and a location."""
UPLOAD, VERSION = "upload", r"v1(?:beta1?|alpha)?"
"""What stands before the version of an upload; a pattern of versions."""
OBJECTS = rf"(?:{UPLOAD}/+)?(?:{VERSION}/+)?{_PROJECT}(?:{'|'.join(STORED)})(?::[A-Za-z]{{1,64}})?"
"""A pattern of the paths of collections, with the method of one behind a colon."""

_PATH = re.compile(
    r"/++(?:(?:openai|anthropic|v1(?:beta1?|alpha)?)/++)*"
    rf"{_PROJECT}(?:publishers/++(?P<publisher>[^/]++)/++)?{_KINDS}(?P<name>.+):(?P<method>[A-Za-z]{{1,64}})/*"
)
_OF_PROJECT = re.compile(r"^/projects/[^/]+/locations/[^/]+")
_RESOURCE = re.compile(r"(?:.*/)?(?:models|endpoints)/(.+)")
_PUBLISHER = "/publishers/google"
_STREAMED = "streamGenerateContent"
_MASKS = ("fields", "$fields")
_FORMS = ("alt", "$alt")
SECRETS = ("key", "access_token")
"""Members of a query that are credentials."""
_OWN = frozenset({*_FORMS, *_MASKS, *SECRETS})


class Asked(NamedTuple):
    """What a path asks. model: its name, with the publisher's if that is not Google."""

    model: str
    method: str


def asked(target: str) -> Asked | None:
    """Read a path, with or without a query; None for one of another form."""
    match = _PATH.fullmatch(target.partition("?")[0])
    if match is None:
        return None
    name, publisher = unquote(match["name"]), unquote(match["publisher"] or "google")
    return Asked(name if publisher == "google" else f"{publisher}/{name}", match["method"])


_OPENAI_PATHS = re.compile(r"(?P<before>.*)/(?:openai|(?P<endpoint>endpoints/openapi))")


def base(url: str) -> str:
    """The base URL of this API, for one of Google's that may be that of its OpenAI-compatible API."""
    match = _OPENAI_PATHS.fullmatch(url)
    if match is None:
        return url
    return match["before"] + ("/publishers/google" if match["endpoint"] else "")


def url(base: str, model: str, stream: bool, query: str) -> str:
    """The URL of a request. base: with the version, on Vertex AI with the publisher, too. query: the caller's, with its mark.

    On Vertex AI the model may have its publisher's name before it, or be an endpoint: `endpoints/NAME`.

    Streams are always asked for as events.
    """
    asks = [piece for piece in query.lstrip("?").split("&") if piece and unquote(piece.partition("=")[0]) not in _OWN]
    method, asks = (_STREAMED, [*asks, "alt=sse"]) if stream else ("generateContent", asks)
    prefix, slash, name = model.partition("/")
    if base.endswith(_PUBLISHER) and slash:
        base = base.removesuffix(_PUBLISHER)
        kind, model = ("endpoints", name) if prefix == "endpoints" else (f"publishers/{quote(prefix, safe='')}/models", name)
    else:
        kind = "models"
    return base + place(f"/{kind}/{{model}}:{method}", model) + ("?" + "&".join(asks) if asks else "")


def place(path: str, model: str) -> str:
    """A path with the model's name in it."""
    return path.replace("{model}", quote(model, safe="/:@"))


def join(base: str, path: str) -> str:
    """The URL of a path below the version; an upload's has its own prefix, before that. On Vertex AI objects are not a publisher's."""
    if base.endswith(_PUBLISHER) and not path.startswith("/models"):
        base = base.removesuffix(_PUBLISHER)
        path = _OF_PROJECT.sub("", path, count=1) if "/projects/" in base else path
    prefix = f"/{UPLOAD}/"
    if not path.startswith(prefix):
        return base + path
    root, slash, version = base.rpartition("/")
    return f"{root}{prefix}{version}{slash}{path.removeprefix(prefix)}"


def streams_array(target: str) -> bool:
    """Whether a stream is to be one JSON array."""
    path = asked(target)
    return path is not None and path.method == _STREAMED and _alt(target) != "sse"


def _alt(target: str) -> str:
    return next((value for name, value in parse_qsl(target.partition("?")[2]) if name in _FORMS), "json")


def _check(target: str) -> None:
    """Raises Malformed for an unknown `alt`, Unsupported for a mask."""
    for name, value in parse_qsl(target.partition("?")[2]):
        if name in _FORMS and value not in ("json", "sse"):
            raise Malformed("`alt` must be json or sse.", code="invalid_value", param=name)
        if name in _MASKS:
            raise Unsupported(f"`{name}` is not supported: a mask may hide why an answer ended", param=name)


def read(target: str, body: Scan) -> Scan:
    """The scan with the path's model and streaming. Raises Malformed when the body names another model."""
    path = asked(target)
    if path is None:
        return body
    _check(target)
    for holder, where in _holders(body.value):
        name = holder.get("model")
        if name is not None and _bare(name) not in (path.model, path.model.partition("/")[2]):
            raise Malformed("`model` in the body is not the model of the path.", code="invalid_value", param=f"{where}model")
    return body._replace(model=path.model, stream=path.method == _STREAMED)


def _bare(name: Any) -> Any:
    match = _RESOURCE.fullmatch(name) if isinstance(name, str) else None
    return match[1] if match else name


def _holders(body: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a body that name the model, and the paths of these."""
    yield body, ""
    for key in ("generateContentRequest", "generate_content_request"):
        if isinstance(inner := body.get(key), dict):
            yield inner, f"{key}."
    for i, inner in enumerate(list_of(body, "requests")):
        if isinstance(inner, dict):
            yield inner, f"requests[{i}]."


def rename(body: bytes, scan: Scan, model: str) -> bytes:
    """The body with the upstream's name wherever it names the model; unchanged where it does not."""
    if not any("model" in holder for holder, _ in _holders(scan.value)):
        return body
    name = jsontext.dumps(f"models/{model}")
    return replace_members(body, "model", lambda value: [holder for holder, _ in _holders(value)], name)
