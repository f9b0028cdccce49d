"""Tools that the model is to find before it can call them, for upstreams that know no such thing.

A deferred tool costs nothing before it is found: by the provider's own search, or by a tool that the caller runs. Elsewhere the same
holds as far as it can:

- What is found is offered: what a search's result says is available, what was called before, what the tool choice names.
- What is not found is left out, since a tool of the caller's is there to find it. Where none is, all are offered.
- Where the provider was to search, its own search does over an upstream that has one; over others nobody does: all are offered, and
  the search is left out.

What is offered keeps its place, and what is found later stands behind it: providers cache a prompt by its beginning, in which deferred
tools are not.
"""

from __future__ import annotations

from collections.abc import Iterator

from .request import CallPart, Part, Request, ResultPart, TextPart, ToolChoice

_Key = tuple[str, str | None]


def settle(request: Request, searches: bool = False) -> None:
    """Leave in the request's tools what the model is to be offered, and what it may search.

    To be called where `request.defers`. searches: the upstream has a search of its own; then tools may stay deferred.
    """
    asked = [tool for tool in request.tools if tool.kind == "tool_search"]
    deferred = {(tool.name, tool.namespace): tool for tool in request.tools if tool.deferred}
    offered = [tool for tool in request.tools if not (tool.deferred or tool.kind == "tool_search")]
    native = searches and bool(asked)
    available = deferred
    if native or (not asked and any(tool.kind in ("function", "custom") for tool in offered)):
        available = {key: deferred[key] for key in _in_use(request) if key in deferred}
    for tool in available.values():
        tool.deferred = False
    request.tools = [*offered, *available.values()]
    if native:  # the search stands last: a deferred tool may not be marked for the cache
        request.tools = [*(tool for tool in deferred.values() if tool.deferred), *request.tools, asked[0]]
    for tool in asked:
        request.ledger.adapt(tool.path)
    for tool in (available if native else deferred).values():
        request.ledger.adapt((*tool.path, "defer_loading"))


def _in_use(request: Request) -> Iterator[_Key]:
    """The tools that the model knows of, in the order in which it came to."""
    for turn in request.turns:
        for part in turn.parts:
            yield from _named(part)
    setting = request.settings.get("tool_choice")
    if setting is not None:
        choice: ToolChoice = setting.value
        wanted = {choice.name, *choice.names}
        yield from ((tool.name, tool.namespace) for tool in request.tools if tool.name in wanted)


def _named(part: Part) -> Iterator[_Key]:
    if isinstance(part, CallPart):
        yield part.name, part.namespace
    elif isinstance(part, TextPart):
        yield from ((name, None) for name in part.loads)
    elif isinstance(part, ResultPart) and isinstance(part.content, list):
        for inner in part.content:
            if isinstance(inner, TextPart):
                yield from ((name, None) for name in inner.loads)
