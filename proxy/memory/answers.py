"""Response objects of an upstream, adapted for storage and for the caller: pure functions."""

from __future__ import annotations

from ...codecs.anything import dicts_of, object_of
from ...codecs.reply import Reply
from .records import FINAL, Item


def response_id(data: bytes) -> str | None:
    """Return the id of the response object in an event's data or in a complete body, or None."""
    response = response_in(data)
    id = None if response is None else response.get("id")
    return id if isinstance(id, str) else None


def response_in(data: bytes) -> Item | None:
    """Return the response object in an event's data or in a complete body, or None."""
    value = object_of(data)
    response = value.get("response", value)
    return response if isinstance(response, dict) and response.get("object") == "response" else None


def own_answer(reply: Reply, response: Item) -> Item:
    """Return an upstream's response object under the gateway's id, with the members that were not sent to the upstream."""
    body = reply.request.body
    own: Item = {
        "id": reply.response_id,
        "previous_response_id": reply.previous_response_id,
        "conversation": {"id": reply.conversation_id} if reply.conversation_id else None,
        "store": body.get("store") is not False,
        "background": body.get("background") is True,
    }
    if reply.announced:
        own["created_at"] = reply.created
    return response | own | ({"model": reply.echo_model} if reply.echo_model else {})


def sound(response: Item) -> Item:
    """Return a final response object with a final status and a list of items, whatever the upstream sent in their place."""
    status = response.get("status")
    final = status if isinstance(status, str) and status in FINAL else "completed"
    return response | {"status": final, "output": dicts_of(response, "output")}
