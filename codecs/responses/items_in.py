"""Decode a responses client's items into hub turns.

An answer of this shape is a list of items, so what the model said in one go lies flat: reasoning, texts and calls between two
inputs are one assistant turn, and the outputs of its calls follow it as one tool turn, wherever they stood. Over another shape's
upstream the expanded input is whole or it is refused: every call has its output, every output its call. Calls of tools that only this
API knows (own_tools.py) are calls of functions elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ClientFault, Malformed, NotFound, unsupported_content
from ..fields import Fields, invalid, missing, wrong_type
from ..ledger import STORED, Path, concrete
from ..reasoning import hand_over
from ..request import CallPart, Part, Request, ResultPart, TextPart, Tool, Turn
from . import own_tools
from .compaction import ITEMS, TRIGGER, expanded, nothing_to_compact
from .content_in import BOOKKEEPING, bookkeeping, decode_call, decode_content, decode_reasoning, decode_result, usual_reasoning
from .tools_in import add_later, decode_tools

_ROLES = frozenset({"user", "system", "developer", "assistant"})
# items of tools run by this shape's provider, and the replies to them
_HOSTED = frozenset({
    "agent_message", "code_interpreter_call", "computer_call", "computer_call_output", "file_search_call", "image_generation_call",
    "mcp_approval_request", "mcp_approval_response", "mcp_call", "mcp_list_tools", "multi_agent_call", "multi_agent_call_output",
    "program", "program_output", "web_search_call",
})  # fmt: skip


class Unpaired(ClientFault):
    """A call without its output, or an output without its call."""


# the usual members of items
_OF_CALL = frozenset({"type", "id", "status", "call_id", "name", "arguments"})
_OF_OUTPUT = frozenset({"type", "id", "status", "call_id", "output"})
_OF_MESSAGE = frozenset({"type", "id", "status", "role", "content", "phase"})
_CALLS = frozenset({"function_call", "custom_tool_call"})
_ANSWERS = frozenset({"function_call_output", "custom_tool_call_output"})
_MORE = frozenset({"item_reference", "compaction", "compaction_summary", "context_compaction"})  # items that stand for others


def check_outputs(items: list[Any]) -> None:
    """Raise Unpaired for an output of which there is no call, in an input that is complete."""
    typed = [item for item in items if isinstance(item, dict) and isinstance(item.get("type"), str)]
    if any(item["type"] in _MORE for item in typed):
        return
    calls = {id for item in typed if item["type"] in _CALLS and isinstance(id := item.get("call_id"), str)}
    for item in typed:
        if item["type"] in _ANSWERS and isinstance(id := item.get("call_id"), str) and id not in calls:
            raise _without_call(id)


def _without_call(id: str) -> Unpaired:
    return Unpaired(f"No tool call found for function call output with call_id {id[:256]}.", param="input")


def decode_items(request: Request, items: list[tuple[Any, Path]]) -> dict[str, Fields]:
    """Add the turns of the items, each given with its path, to the request. Raises subclasses of errors.ClientFault.

    Returns the settings (`reasoning`, `text`) changed by configuration items.
    """
    walk = _Walk(request)
    items = expanded(items, request.ledger)
    if items and isinstance(items[-1][0], dict) and items[-1][0].get("type") == TRIGGER:
        items, request.compacts = items[:-1], True
        if not items:
            raise nothing_to_compact()
    for item, path in items:
        if path == ("input",):  # a plain string is one message
            walk.message("user", [TextPart(item["content"], path)], path, plain=True)
        elif not walk.usual(item, path):
            walk.item(Fields(item, path))
    walk.finish()
    return walk.settings


@dataclass(slots=True)
class _Group:
    """One assistant turn. outputs: of its calls, of each the last one, in the order of their items; None before the first."""

    turn: Turn
    outputs: dict[int, ResultPart] | None = None  # by the identity of the call


@dataclass(slots=True)
class _Call:
    part: CallPart
    group: _Group
    result: ResultPart | None = None


class _Walk:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._ledger = request.ledger
        self._order: list[Turn | _Group] = []
        self._group: _Group | None = None  # the open one
        self._calls: dict[str, list[_Call]] = {}
        self._answered: dict[str, int] = {}  # how many calls have an output, by their id where several have the same
        self._open: dict[tuple[object, object], dict[str, int]] | None = None  # see _opened; None until an output asks for it
        self._own: dict[str, list[CallPart]] = {}  # calls by the tool of this API that was called
        self._item_ids: dict[str, str] = {}  # ids of calls by those of their items, where an output may name either
        self._doubled: list[CallPart] = []  # calls whose namespace is their own name
        self._reasons = False  # there is reasoning in the history
        self._later: list[tuple[Tool, bool]] = []  # tools that items declare, each with whether the model has found it
        self.settings: dict[str, Fields] = {}

    def usual(self, item: Any, path: Path) -> bool:
        """Add an item of a frequent type that has its usual members and no others, as nearly all of an agent's history; else False."""
        if type(item) is not dict:
            return False
        kind = item.get("type")
        if kind == "function_call":
            id, name, arguments = item.get("call_id"), item.get("name"), item.get("arguments")
            if type(id) is str and id and type(name) is str and type(arguments) is str and item.keys() <= _OF_CALL:
                self._call(CallPart(id, name, arguments, path))
                return True
        elif kind == "function_call_output":
            id, output = item.get("call_id"), item.get("output")
            if type(id) is str and id and type(output) is str and item.keys() <= _OF_OUTPUT:
                self._answer(ResultPart(id, output, path))
                return True
        elif kind == "message":
            role, content, phase = item.get("role"), item.get("content"), item.get("phase", "")
            if type(role) is str and role in _ROLES and content is not None and type(phase) is str and item.keys() <= _OF_MESSAGE:
                self._request.phases |= "phase" in item
                self.message(role, decode_content(content, role, (*path, "content"), self._ledger), path, type(content) is str)
                return True
        elif kind == "reasoning" and (part := usual_reasoning(item, path)) is not None:
            self._reasons = True
            self._say([part], path)
            return True
        return False

    def item(self, fields: Fields) -> None:
        kind = fields.text("type")
        path = fields.path
        if kind is None:
            kind = "message"  # the short form of a message has no type
        handler = _ITEMS.get(kind)
        if handler is not None:
            handler(self, fields)
        elif kind in own_tools.CALLS:
            self._own_call(fields, own_tools.CALLS[kind])
        elif kind in _OWN_OUTPUTS:
            self._own_output(fields, _OWN_OUTPUTS[kind])
        elif kind in _HOSTED:
            self._ledger.drop(path, kind)
        elif kind in ITEMS:
            raise unsupported_content(f"an item of type {kind}", path)
        else:
            param = concrete((*path, "type"))
            raise Malformed(f"{param}: unknown type {kind[:64]!r}", code="invalid_value", param=param)

    def finish(self) -> None:
        """Add the turns, and check the end of the input. Raises errors.ClientFault if a call has no output."""
        for calls in self._calls.values():
            for call in calls:
                if call.result is None:
                    raise Unpaired(f"No tool output found for function call {call.part.id[:256]}.", param="input")
        for one in self._order:
            self._request.turns += [one] if isinstance(one, Turn) else _turns_of(one)
        if self._reasons:
            hand_over(self._request)
        if self._later:
            add_later(self._request, self._later)
        if self._request.own_tools:
            own_tools.give_names(self._request, self._own)
        if self._doubled:
            self._single()

    def _single(self) -> None:
        """OpenAI calls a tool that was found, and is in no namespace, as one that is in a namespace of its own name."""
        declared = {(tool.name, tool.namespace) for tool in self._request.tools}
        for call in self._doubled:
            if (call.name, call.namespace) not in declared:
                call.namespace = None

    # ---- turns ----

    def message(self, role: str, parts: list[Part], path: Path, plain: bool) -> None:
        if role == "assistant":
            self._say(parts, path, plain)
            return
        self._group = None
        self._order.append(Turn(role, parts, path, plain))

    def _say(self, parts: list[Part], path: Path, plain: bool = False) -> _Group:
        """Add parts to the assistant turn; a new turn starts if a call of this one was answered."""
        group = self._group
        if group is None or group.outputs is not None:
            group = self._group = _Group(Turn("assistant", [], path))
            self._order.append(group)
        group.turn.parts += parts
        group.turn.plain |= plain
        return group

    def _answer(self, result: ResultPart) -> None:
        calls = self._calls.get(result.id)
        if calls is None:
            raise _without_call(result.id)
        call = calls[0] if len(calls) == 1 else self._next(result.id, calls)
        group = call.group
        if group is not self._group:
            self._ledger.adapt(result.path[:1])  # moved to its call
        if group.outputs is None:
            group.outputs = {}
        if call.result is None:
            self._close(call.part)
        else:
            del group.outputs[id(call)]  # of several outputs only the last is used
            self._ledger.adapt(result.path)
        result.kind = call.part.kind
        call.result = group.outputs[id(call)] = result

    def _next(self, id: str, calls: list[_Call]) -> _Call:
        """The first of several calls with one id that has no output; the last one if all have one."""
        at = self._answered.get(id, 0)
        while at < len(calls) - 1 and calls[at].result is not None:
            at += 1
        self._answered[id] = at
        return calls[at]

    # ---- items ----

    def _message(self, fields: Fields) -> None:
        fields.ignore_all(BOOKKEEPING)
        if fields.text("phase") is not None:
            self._request.phases = True
        role = fields.text("role")
        if role is None:
            raise missing((*fields.path, "type"))
        if role not in _ROLES:
            raise wrong_type((*fields.path, "role"), "user, assistant, system or developer")
        content = fields.take("content")
        parts = decode_content(content, role, (*fields.path, "content"), self._ledger)
        fields.report(self._ledger)
        self.message(role, parts, fields.path, plain=isinstance(content, str))

    def _reasoning(self, fields: Fields) -> None:
        part = decode_reasoning(fields, self._ledger)
        self._reasons = True
        self._say([] if part is None else [part], fields.path)

    def _function_call(self, fields: Fields) -> None:
        self._call(decode_call(fields, "function", self._ledger))

    def _custom_call(self, fields: Fields) -> None:
        self._call(decode_call(fields, "custom", self._ledger))

    def _call(self, call: CallPart) -> None:
        group = self._say([call], call.path)
        self._calls.setdefault(call.id, []).append(_Call(call, group))
        if self._open is not None:
            ids = self._open.setdefault((call.name, call.namespace), {})
            ids[call.id] = ids.get(call.id, 0) + 1
        if call.namespace == call.name:
            self._doubled.append(call)

    def _own_call(self, fields: Fields, name: str) -> None:
        own, call_id = own_tools.OWN[name], fields.text("call_id")
        if name == "tool_search" and _by_provider(fields, call_id):
            self._ledger.adapt(fields.path)  # what was found is told by the output, if the caller sends it
            return
        item_id = fields.text("id")
        bookkeeping(fields, self._ledger)
        fields.ignore("execution")
        if call_id is None:
            raise missing((*fields.path, "call_id"))
        call = CallPart(call_id, name, own.arguments(fields), fields.path)
        fields.report(self._ledger)
        self._own.setdefault(name, []).append(call)
        if item_id is not None:
            self._item_ids[item_id] = call_id
        self._call(call)

    def _own_output(self, fields: Fields, name: str) -> None:
        call_id, item_id = fields.text("call_id"), fields.text("id") or ""
        if name == "tool_search":
            self._tools_of_search(fields)
            if _by_provider(fields, call_id):
                return
        if call_id is None:  # of a local shell's, the id is the call's
            call_id = self._item_ids.get(item_id, item_id)
        content = own_tools.OWN[name].result_text(fields)
        bookkeeping(fields, self._ledger)
        fields.ignore("execution")
        fields.report(self._ledger)
        self._answer(ResultPart(call_id, content, fields.path))

    def _tools_of_search(self, fields: Fields) -> None:
        """Tools that a search has found are the request's from here on."""
        self._declare(fields.peek("tools"), fields.path, by_search=True)

    def _declare(self, tools: list[Any] | None, path: Path, by_search: bool = False) -> None:
        self._later += [(tool, by_search) for tool in decode_tools(self._request, tools or [], (*path, "tools"))]
        self._ledger.adapt(path)

    def _function_output(self, fields: Fields) -> None:
        self._output(fields, "function")

    def _custom_output(self, fields: Fields) -> None:
        self._output(fields, "custom")

    def _output(self, fields: Fields, kind: str) -> None:
        name, namespace = fields.take("name"), fields.take("namespace")
        result = decode_result(fields, kind, self._ledger)
        if not result.id:
            result.id = self._only_open(name, namespace)
        if result.id:
            self._answer(result)
        else:
            self._tell(name, result)

    def _only_open(self, name: object, namespace: object) -> str:
        """The id of the only call of this tool that has no output yet; "" when there is none, or more than one."""
        if not (isinstance(name, str) and isinstance(namespace, str | None)):
            return ""
        if self._open is None:
            self._open = self._opened()
        ids = self._open.get((name, namespace), {})
        return next(reversed(ids)) if len(ids) == 1 else ""  # from the end: a dict keeps the places of those that left it

    def _opened(self) -> dict[tuple[object, object], dict[str, int]]:
        """By name and namespace the ids of the calls without an output, and how many have each."""
        open_calls: dict[tuple[object, object], dict[str, int]] = {}
        for id, calls in self._calls.items():
            for call in calls:
                if call.result is None:
                    ids = open_calls.setdefault((call.part.name, call.part.namespace), {})
                    ids[id] = ids.get(id, 0) + 1
        return open_calls

    def _close(self, call: CallPart) -> None:
        """An open call has an output from here on."""
        if self._open is None:
            return
        ids = self._open[call.name, call.namespace]
        ids[call.id] -= 1
        if not ids[call.id]:
            del ids[call.id]

    def _tell(self, name: object, result: ResultPart) -> None:
        """Add an output that answers no call, as Codex records external input: other shapes only allow it as a user message."""
        parts: list[Part] = [TextPart(f"Output of {name if name and isinstance(name, str) else 'a tool'}:", result.path)]
        parts += [TextPart(result.content, result.path)] if isinstance(result.content, str) else result.content
        self._ledger.adapt(result.path)
        self._ledger.drop((*result.path, "type"))  # the fact that it is an output
        self.message("user", parts, result.path, plain=False)

    def _additional_tools(self, fields: Fields) -> None:
        """Add tools declared in mid-conversation: other shapes list all tools from the start."""
        self._declare(fields.items("tools"), fields.path)

    def _configuration(self, fields: Fields) -> None:
        """Read settings changed in mid-conversation: the last ones apply to the request."""
        self._ledger.adapt(fields.path)
        fields.ignore_all(BOOKKEEPING)
        for name in ("reasoning", "text"):
            setting = fields.inner(name)
            if setting is not None:
                self.settings[name] = setting
        fields.report(self._ledger)

    def _trigger(self, fields: Fields) -> None:
        """What asked for a compaction before has been answered; a request asks at its end."""
        if fields.path[:1] != (STORED,):
            raise invalid(fields.path, "a compaction_trigger must be the last item")

    def _reference(self, fields: Fields) -> None:
        id = fields.required("id")
        raise NotFound(f"Item with id '{id[:256]}' not found.", param="input")  # known ids have already been replaced by their items


def _by_provider(search: Fields, call_id: str | None) -> bool:
    """Whether the provider searched the tools. Its `call_id` is null; pydantic-ai sends the item's id back as one."""
    execution = search.text("execution")
    return execution == "server" or (execution != "client" and call_id is None)


def _turns_of(group: _Group) -> list[Turn]:
    """A group's turn, and the turn with the outputs of its calls."""
    if group.outputs is None:
        return [group.turn]
    results: list[Part] = list(group.outputs.values())
    return [group.turn, Turn("tool", results, results[0].path)]


_ITEMS: dict[str, Callable[[_Walk, Fields], None]] = {
    "message": _Walk._message,
    "reasoning": _Walk._reasoning,
    "function_call": _Walk._function_call,
    "custom_tool_call": _Walk._custom_call,
    "function_call_output": _Walk._function_output,
    "custom_tool_call_output": _Walk._custom_output,
    "additional_tools": _Walk._additional_tools,
    "configuration_update": _Walk._configuration,
    "item_reference": _Walk._reference,
    TRIGGER: _Walk._trigger,
}
_OWN_OUTPUTS = {own.output: name for name, own in own_tools.OWN.items()}


def placed(body: dict[str, Any], items: list[dict[str, Any]] | None) -> list[tuple[Any, Path]]:
    """The input's items, each with its path. items: the entire expanded input if stored items precede the body's own, else None.

    Of its own items some may be missing there, and some have another one of the same id in their place: they refer to stored ones.
    """
    body_input = body.get("input")
    own: list[tuple[Any, Path]]
    if isinstance(body_input, str):
        own = [({"type": "message", "role": "user", "content": body_input}, ("input",))]
    elif isinstance(body_input, list):
        own = [(item, ("input", i)) for i, item in enumerate(body_input)]
    elif body_input is not None:
        raise wrong_type(("input",), "a string or a list")
    elif items is None:
        raise missing(("input",))
    else:
        own = []
    if items is None:
        return own
    places: list[Path] = [(STORED, i) for i in range(len(items))]
    at = len(items) - 1
    for item, path in reversed(own):
        if at >= 0 and _stands_for(items[at], item):
            places[at] = path
            at -= 1
    return list(zip(items, places, strict=True))


def _stands_for(item: Any, own: Any) -> bool:
    """Whether the item is the caller's own, or the stored item that the own one refers to by its id."""
    id = own.get("id") if isinstance(own, dict) else None
    return id is None or (isinstance(item, dict) and item.get("id") == id)
