"""Who a request says its user is, within its key: the gateway's header, else the member that its API has for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .identity import LONGEST_USER

HEADER = "X-Dragoman-User"
_SESSION = "_session_"  # Claude Code's `metadata.user_id` goes on with the session's id, which is no user's
_ACCOUNTS = ("account_uuid", "device_id")  # newer versions send an object as text


def user_of(headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
    """The user's name; "" when the request says none. headers: case-insensitive."""
    user: object = headers.get(HEADER) or body.get("user")
    if not user:
        metadata = body.get("metadata")
        user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user, str):
        return ""
    user = _without_session(user.strip())[:LONGEST_USER]
    return user if user.isprintable() else ""


def _without_session(text: str) -> str:
    if text.startswith("{") and len(text) <= 4096:
        try:
            members = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        return next((value for name in _ACCOUNTS if isinstance(value := members.get(name), str) and value), "")
    return text.partition(_SESSION)[0]
