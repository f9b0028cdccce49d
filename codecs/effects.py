"""Whether an upstream that answers a request does more than answer it: asked twice, it would do that twice.

What it would do: keep the answer, go on in the background, run tools of its own (searches, code, connectors). A request that is sent to
two upstreams at once, of which one is then given up, has to be free of that. What is not known counts as an effect.

Members of a body, from the request references of OpenAI (chat: store, web_search_options; responses: background), Anthropic
(mcp_servers, container), OpenRouter (plugins), xAI (search_parameters) and Alibaba (enable_search), 2026-07.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .request import Request

_MEMBERS = ("store", "background", "web_search_options", "mcp_servers", "container", "plugins", "search_parameters", "enable_search")
_CALLERS = frozenset({"function", "custom"})  # kinds of tools that the caller runs


def acts(request: Request, stateful: bool) -> bool:
    """stateful: who keeps the answer is decided apart from what `store` says."""
    body = request.body
    members = (body.get(name) for name in _MEMBERS if not (stateful and name == "store"))
    return (
        any(value not in (None, False) for value in members) or any(tool.kind not in _CALLERS for tool in request.tools) or _resumes(body)
    )


def added(changes: Iterable[tuple[str, object]]) -> bool:
    """Whether members that an operator sets, by their paths, do so. Whose a tool is differs by the API: each counts."""
    heads = ((path.partition(".")[0], path, value) for path, value in changes)
    return any(
        head in (*_MEMBERS, "tools")
        or path.startswith("toolConfig.tools")
        or (path == "toolConfig" and isinstance(value, dict) and "tools" in value)
        for head, path, value in heads
        if value not in (None, False)
    )


def _resumes(body: dict[str, Any]) -> bool:
    """Whether a call of an upstream's own tool waits for the caller's approval."""
    items = body.get("input")
    return isinstance(items, list) and any(isinstance(item, dict) and item.get("type") == "mcp_approval_response" for item in items)
