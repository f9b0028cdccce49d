"""Response objects of an upstream, as they are stored and shown here: pure functions."""

from __future__ import annotations

from ...codecs import jsontext
from ...codecs.reply import Reply
from .records import FINAL, Item


def response_id(data: bytes) -> str | None:
    """The id of the response that an event's data, or a whole body, holds."""
    response = response_in(data)
    id = None if response is None else response.get("id")
    return id if isinstance(id, str) else None


def response_in(data: bytes) -> Item | None:
    """The response object that an event's data, or a whole body, holds."""
    try:
        value = jsontext.loads(data)
    except ValueError:
        return None
    response = value.get("response", value) if isinstance(value, dict) else None
    return response if isinstance(response, dict) and response.get("object") == "response" else None


def own_answer(reply: Reply, response: Item) -> Item:
    """An upstream's response object as the gateway's own: by its id, and with what the upstream was not told."""
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
    """A response object that has ended, with a status and a list of items, whatever the upstream has put there."""
    status, output = response.get("status"), response.get("output")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    return response | {"status": status if isinstance(status, str) and status in FINAL else "completed", "output": items}
