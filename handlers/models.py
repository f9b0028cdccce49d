"""GET /v1/models and /v1/models/{id}: one list for OpenAI's and Anthropic's SDKs, and the forms of Codex and of Google.

Answered without asking upstreams, since callers time out after seconds. The objects have the fields of the API references. Codex, which
asks with `client_version` in the query, gets its catalogue beside them: a list of another form under another name. A path of another
version than v1, and what only Google's SDKs send, ask for Google's form.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from tornado.httputil import HTTPServerRequest

from ..codecs import errors, jsontext
from ..codecs.gemini.shape import SHAPE as GOOGLE
from ..proxy.gateway import Gateway
from ..proxy.keys.identity import Identity
from ..proxy.routing.router import LONGEST_NAME, ServedModel
from ..proxy.wire import headers as travel
from . import lists
from .base import Handler
from .model_forms import codex, merged

_VERSION = r"(?:v1(?:beta1?|alpha)/++)?"
LIST = _VERSION + r"models/*"
ONE = _VERSION + r"models/++(?P<model>.*[^/])/*"

_GOOGLES_VERSION = re.compile(r"/++(?:(?:openai|anthropic|v1)/++)*v1(?:beta1?|alpha)/")
_METHODS = ("generateContent", "streamGenerateContent", "countTokens")
_PAGE, _MOST = 50, 1000  # models in a page of Google's list; the most of the other, too
_DIGITS = re.compile(r"[0-9]{1,9}")


def described_by_google(model: ServedModel) -> dict[str, Any]:
    facts = model.facts
    limits = {"inputTokenLimit": facts.max_input_tokens or facts.context_window, "outputTokenLimit": facts.max_output_tokens}
    return {
        "name": f"models/{model.id}",
        "version": "001",
        "displayName": facts.display_name or model.id,
        "description": f"Served by {model.owned_by}.",
        **{name: limit for name, limit in limits.items() if limit is not None},
        "supportedGenerationMethods": list(_METHODS),
    }


def caller(handler: Handler, shape: str) -> Identity:
    """Raises Unauthorized."""
    return handler.services.access.admit(travel.key(handler.request.headers, shape))


def visible(handler: Handler, shape: str) -> list[ServedModel]:
    """The models that this caller may use. Raises Unauthorized."""
    key = caller(handler, shape)
    return [model for model in handler.services.listing.models().values() if key.allows(model.id)]


def find(handler: Handler, shape: str, name: str) -> ServedModel:
    """A model by any name that requests may have for it, as it stands in the path. Raises Unauthorized, NoCandidate."""
    wanted, key = unquote(name), caller(handler, shape)
    if len(wanted) <= LONGEST_NAME and key.allows(wanted):
        model = handler.services.listing.find(wanted)
        if model is not None:
            return model
    raise errors.NoCandidate(f"The model `{wanted[:200]}` does not exist or you do not have access to it.", param="model")


def describe(handler: Handler, name: str) -> None:
    """Answer with one model in Google's form. Raises as find."""
    handler.write(described_by_google(find(handler, GOOGLE.name, name)))


def google_page(models: Sequence[ServedModel], size: str | None, token: str | None) -> tuple[Sequence[ServedModel], str | None]:
    """A page of Google's list, and the token of the next one. Raises ClientFault."""
    if size is not None and not _DIGITS.fullmatch(size):
        raise errors.ClientFault("`pageSize` must be a positive number.", param="pageSize")
    count = min(int(size or 0) or _PAGE, _MOST)
    start = 0
    if token:
        ids = [model.id for model in models]
        last = _last(token)
        if last not in ids:
            raise errors.ClientFault("`pageToken` is not known.", param="pageToken")
        start = ids.index(last) + 1
    page = models[start : start + count]
    more = start + count < len(models)
    return page, urlsafe_b64encode(page[-1].id.encode()).decode().rstrip("=") if more else None


def _last(token: str) -> str | None:
    """The name of the last model of the page before."""
    try:
        return urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        return None


def asks_google(request: HTTPServerRequest) -> bool:
    """Whether the caller speaks Google's API, by its key or the version, where a path is also another API's. Its key is still there."""
    keyed = any(name in request.query_arguments for name in GOOGLE.secrets)
    sdk = "x-goog-api-key" in request.headers or "x-goog-api-client" in request.headers
    return keyed or sdk or _GOOGLES_VERSION.match(request.path) is not None


class _Guarded(Handler):
    """google: whether the caller reads Google's form."""

    secrets = GOOGLE.secrets

    def initialize(self, gateway: Gateway) -> None:
        self.google = asks_google(self.request)
        super().initialize(gateway)
        if self.google:
            self.shape = GOOGLE.name  # type: ignore[misc] # of this request's errors

    def visible(self) -> list[ServedModel]:
        return visible(self, self.shape)

    def is_anthropic(self) -> bool:
        headers = self.request.headers
        return "anthropic-version" in headers or ("x-api-key" in headers and "authorization" not in headers)


class ModelList(_Guarded):
    """The list, with each API's pagination."""

    def get(self) -> None:
        if self.google:
            self._googles()
            return
        models = self.visible()
        if self.get_query_argument("client_version", None) is not None:
            self._catalogue(models)
            return
        entries = [merged(model) for model in models]
        ids = [model["id"] for model in entries]
        after, before = self.get_query_argument("after_id", None), self.get_query_argument("before_id", None)
        if after in ids:
            entries = entries[ids.index(after) + 1 :]
        elif before in ids:
            entries = entries[: ids.index(before)]
        limit = self._limit(len(entries))
        page = entries[-limit:] if before in ids and after not in ids else entries[:limit]
        self.write(
            {
                "object": "list",
                "data": page,
                "has_more": len(page) < len(entries),
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
            }
        )

    def _catalogue(self, models: list[ServedModel]) -> None:
        """Codex's form. It asks again when the ETag differs from the one that it has."""
        body = jsontext.dumps(
            {
                "object": "list",
                "data": [merged(model) for model in models],
                "models": [codex(model, place) for place, model in enumerate(models)],
            }
        )
        self.begin_json()
        self.set_header("ETag", f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"')
        self.write(body)

    def _googles(self) -> None:
        models, token = google_page(self.visible(), self.get_query_argument("pageSize", None), self.get_query_argument("pageToken", None))
        more = {} if token is None else {"nextPageToken": token}
        self.write({"models": [described_by_google(model) for model in models]} | more)

    def _limit(self, everything: int) -> int:
        text = self.get_query_argument("limit", None)
        if text is None:
            return 20 if self.is_anthropic() else max(1, everything)
        limit = lists.size(text, _MOST)
        if limit is None:
            raise errors.ClientFault(f"`limit` must be between 1 and {_MOST}.", param="limit")
        return limit


class PublishedModels(_Guarded):
    """The list as Vertex AI has it."""

    def get(self) -> None:
        self.shape = GOOGLE.name  # type: ignore[misc]
        models, token = google_page(self.visible(), self.get_query_argument("pageSize", None), self.get_query_argument("pageToken", None))
        more = {} if token is None else {"nextPageToken": token}
        self.write({"publisherModels": [{"name": f"publishers/google/models/{model.id}"} for model in models]} | more)


class ModelInfo(_Guarded):
    """One model, by any name that requests may have for it; its id may contain slashes."""

    def get(self, model: str) -> None:
        if self.google:
            describe(self, model)
        else:
            self.write(merged(find(self, self.shape, model)))
