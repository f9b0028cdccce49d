"""GET /v1/models and /v1/models/{id}: one list for both vendors' SDKs.

Answered without asking upstreams, since callers time out after seconds. The objects have the fields of both API references.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from ..codecs import errors
from ..proxy.routing.router import ServedModel
from ..proxy.wire import headers as travel
from .base import Handler

_CREATED = 1700000000  # the real time is unknown; a constant keeps answers equal
_CREATED_AT = "2023-11-14T22:13:20Z"


def described(model: ServedModel) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "type": "model",
        "created": _CREATED,
        "created_at": _CREATED_AT,
        "owned_by": model.owned_by,
        "display_name": model.id,
    }


class _Guarded(Handler):
    def visible(self) -> list[ServedModel]:
        """The models that this caller may use. Raises Unauthorized."""
        access = self.services.access
        name = access.admit(travel.credential(self.request.headers, "shared"))
        return [model for model in self.services.router.models() if access.allows(name, model.id)]

    def is_anthropic(self) -> bool:
        headers = self.request.headers
        return "anthropic-version" in headers or ("x-api-key" in headers and "authorization" not in headers)


class ModelList(_Guarded):
    """The list, with the Anthropic API's pagination."""

    def get(self) -> None:
        found = [described(model) for model in self.visible()]
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

    def _limit(self, everything: int) -> int:
        given = self.get_query_argument("limit", None)
        if given is None:
            return 20 if self.is_anthropic() else max(1, everything)
        if not given.isdecimal() or not 1 <= int(given[:5]) <= 1000:
            raise errors.ClientFault("`limit` must be between 1 and 1000.", param="limit")
        return int(given)


class ModelInfo(_Guarded):
    """One model; its id may contain slashes."""

    def get(self, id: str) -> None:
        wanted = unquote(id)
        for model in self.visible():
            if model.id == wanted:
                self.write(described(model))
                return
        raise errors.NoCandidate(f"The model `{wanted[:200]}` does not exist or you do not have access to it.", param="model")
