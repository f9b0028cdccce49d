"""GET /v1/models and /v1/models/{id}: one list for both vendors' SDKs, and Codex's catalogue of models.

Answered without asking upstreams, since callers time out after seconds. The objects have the fields of both API references. Codex, which
asks with `client_version` in the query, gets its catalogue beside them: a list of another form under another name.
"""

from __future__ import annotations

import hashlib
from urllib.parse import unquote

from ..codecs import errors, jsontext
from ..proxy.keys.identity import Identity
from ..proxy.routing.router import LONGEST_NAME, ServedModel
from ..proxy.wire import headers as travel
from .base import Handler
from .model_forms import codex, merged


class _Guarded(Handler):
    def visible(self) -> list[ServedModel]:
        """The models that this caller may use. Raises Unauthorized."""
        caller = self.caller()
        return [model for model in self.services.listing.models().values() if caller.allows(model.id)]

    def caller(self) -> Identity:
        """Raises Unauthorized."""
        return self.services.access.admit(travel.credential(self.request.headers, "shared"))

    def is_anthropic(self) -> bool:
        headers = self.request.headers
        return "anthropic-version" in headers or ("x-api-key" in headers and "authorization" not in headers)


class ModelList(_Guarded):
    """The list, with the Anthropic API's pagination."""

    def get(self) -> None:
        models = self.visible()
        if self.get_query_argument("client_version", None) is not None:
            self._catalogue(models)
            return
        found = [merged(model) for model in models]
        ids = [model["id"] for model in found]
        after, before = self.get_query_argument("after_id", None), self.get_query_argument("before_id", None)
        if after in ids:
            found = found[ids.index(after) + 1 :]
        elif before in ids:
            found = found[: ids.index(before)]
        limit = self._limit(len(found))
        page = found[-limit:] if before in ids and after not in ids else found[:limit]
        self.write(
            {
                "object": "list",
                "data": page,
                "has_more": len(page) < len(found),
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
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("ETag", f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"')
        self.write(body)

    def _limit(self, everything: int) -> int:
        given = self.get_query_argument("limit", None)
        if given is None:
            return 20 if self.is_anthropic() else max(1, everything)
        if not given.isdecimal() or not 1 <= int(given[:5]) <= 1000:
            raise errors.ClientFault("`limit` must be between 1 and 1000.", param="limit")
        return int(given)


class ModelInfo(_Guarded):
    """One model, by any name that requests may have for it; its id may contain slashes."""

    def get(self, id: str) -> None:
        wanted, caller = unquote(id), self.caller()
        if len(wanted) <= LONGEST_NAME and caller.allows(wanted):
            model = self.services.listing.find(wanted)
            if model is not None:
                self.write(merged(model))
                return
        raise errors.NoCandidate(f"The model `{wanted[:200]}` does not exist or you do not have access to it.", param="model")
