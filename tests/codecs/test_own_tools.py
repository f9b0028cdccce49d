"""Tools that only one vendor's models know and that the caller runs: functions over other APIs, and in the caller's own words for it."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import chat, errors, jsontext, messages, responses
from dragoman.codecs import events as ev
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.tools import ToolMap

JSON = dict[str, Any]
ASK = {"role": "user", "content": "q"}
SHELL = {"type": "shell", "environment": {"type": "local"}}
PATCH = {"type": "create_file", "path": "a.py", "diff": "+x"}
FOUND = {
    "type": "function",
    "name": "rate",
    "description": "A rate.",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
    "defer_loading": True,
}
OUTPUT = [{"stdout": "a.txt\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]


def decoded(**fields: Any) -> Request:
    return responses.decode_request({"model": "m", "input": "q"} | fields)


def over(upstream: str, request: Request) -> tuple[JSON, ToolMap]:
    encoded = SHAPES[upstream].encode_request(request, Capabilities(), "up")
    return encoded.body, encoded.tools


def report(request: Request) -> tuple[str, str]:
    ledger = request.ledger
    return ledger.header(ledger.dropped, request.body), ledger.header(ledger.adapted, request.body)


# ---- up: definitions ----


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_what_the_caller_runs_is_offered_as_functions(upstream: str) -> None:
    skill = {"name": "pdf", "description": "Reads PDFs", "path": "/skills/pdf"}
    search = {"type": "tool_search", "execution": "client", "description": "Find tools", "parameters": {"type": "object"}}
    tools = [
        {"type": "shell", "environment": {"type": "local", "skills": [skill]}},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        search,
    ]
    request = decoded(tools=tools)
    body, _ = over(upstream, request)
    offered = [tool["function"] if upstream == "chat" else tool for tool in body["tools"]]
    schemas = [tool["parameters" if upstream == "chat" else "input_schema"] for tool in offered]
    assert [tool["name"] for tool in offered] == ["shell", "local_shell", "apply_patch", "tool_search"]
    assert [schema.get("required") for schema in schemas] == [["commands"], ["command"], ["operation"], None]
    assert "- pdf: Reads PDFs (in /skills/pdf)" in offered[0]["description"]
    assert offered[3]["description"] == "Find tools"
    assert report(request) == ("", "tools[*]")


def test_a_name_that_is_taken() -> None:
    call = {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}}
    output = {"type": "shell_call_output", "call_id": "c", "output": OUTPUT}
    later = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "shell_2"}]}
    request = decoded(tools=[SHELL, {"type": "function", "name": "shell"}], input=[ASK, call, output, later], tool_choice={"type": "shell"})
    body, names = over("chat", request)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["shell_3", "shell", "shell_2"]
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "shell_3"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "shell_3"}}
    kinds = [value["item"]["type"] for value in told(request, names, "shell_3", '{"commands":["ls"]}') if "item" in value]
    assert kinds == ["shell_call", "shell_call"]


def test_a_tool_that_is_declared_twice_is_one() -> None:
    later = {"type": "additional_tools", "role": "developer", "tools": [SHELL, {"type": "function", "name": "f"}]}
    body, _ = over("chat", decoded(tools=[SHELL, SHELL, {"type": "function", "name": "shell"}], input=[ASK, later]))
    assert sorted(tool["function"]["name"] for tool in body["tools"]) == ["f", "shell", "shell_2"]


@pytest.mark.parametrize("kind", ["shell", "apply_patch"])
def test_a_choice_of_them(kind: str) -> None:
    tools = [SHELL, {"type": "apply_patch"}, {"type": "function", "name": "f"}]
    body, _ = over("chat", decoded(tools=tools, tool_choice={"type": kind}))
    assert body["tool_choice"] == {"type": "function", "function": {"name": kind}}
    body, _ = over("messages", decoded(tools=tools, tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": kind}]}))
    assert ([tool["name"] for tool in body["tools"]], body["tool_choice"]) == ([kind], {"type": "any"})


# ---- up: history ----

PAIRS: list[tuple[JSON, JSON, str, JSON, str]] = [
    (
        {"type": "shell_call", "call_id": "c", "id": "sh_1", "action": {"commands": ["ls"], "timeout_ms": None}, "status": "completed"},
        {"type": "shell_call_output", "call_id": "c", "output": [*OUTPUT], "max_output_length": 9, "status": "completed"},
        "shell",
        {"commands": ["ls"]},
        '[{"stdout":"a.txt\\n","stderr":"","outcome":{"type":"exit","exit_code":0}}]',
    ),
    (
        {"type": "local_shell_call", "id": "lsh_1", "call_id": "c", "action": {"type": "exec", "command": ["ls", "-l"], "env": {"A": "b"}}},
        {"type": "local_shell_call_output", "id": "c", "output": "a.txt"},
        "local_shell",
        {"command": ["ls", "-l"], "env": {"A": "b"}},
        "a.txt",
    ),
    (
        {"type": "local_shell_call", "id": "lsh_1", "call_id": "c", "action": {"type": "exec", "command": ["ls"]}, "status": "completed"},
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "a.txt", "status": "completed"},
        "local_shell",
        {"command": ["ls"]},
        "a.txt",
    ),
    (
        {
            "type": "apply_patch_call",
            "call_id": "c",
            "operation": PATCH,
            "status": "completed",
            "created_by": "x",
            "caller": {"type": "direct"},
        },
        {"type": "apply_patch_call_output", "call_id": "c", "status": "failed", "output": "no such file"},
        "apply_patch",
        {"operation": PATCH},
        "failed: no such file",
    ),
    (
        {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"q": "x"}, "status": "completed"},
        {"type": "tool_search_output", "call_id": "c", "execution": "client", "tools": [FOUND], "status": "completed"},
        "tool_search",
        {"q": "x"},
        "Tools now available:\n- rate: A rate.",
    ),
]


@pytest.mark.parametrize(("call", "output", "name", "arguments", "text"), PAIRS)
def test_calls_and_outputs_of_the_history(call: JSON, output: JSON, name: str, arguments: JSON, text: str) -> None:
    """Whether or not the tool is still declared."""
    for upstream in ("chat", "messages"):
        request = decoded(input=[ASK, call, output])
        body, _ = over(upstream, request)
        asked, answered = body["messages"][1:3]
        if upstream == "chat":
            function = asked["tool_calls"][0]["function"]
            assert (function["name"], jsontext.loads(function["arguments"])) == (name, arguments)
            assert (answered["role"], answered["content"]) == ("tool", text)
        else:
            assert asked["content"] == [{"type": "tool_use", "id": "c", "name": name, "input": arguments}]
            assert answered["content"] == [{"type": "tool_result", "tool_use_id": "c", "content": text}]
        assert report(request)[0] == ""


def test_a_call_without_its_output_is_refused() -> None:
    for call, output, *_ in PAIRS:
        with pytest.raises(errors.ClientFault, match="No tool output found"):
            decoded(input=[ASK, call])
        with pytest.raises(errors.ClientFault, match="No tool call found"):
            decoded(input=[ASK, output])


@pytest.mark.parametrize("broken", [{"action": "ls"}, {"action": None}, {"action": {"commands": 1}}, {}])
def test_a_call_that_says_nothing_is_a_call(broken: JSON) -> None:
    output = {"type": "shell_call_output", "call_id": "c", "output": "not a list"}
    body, _ = over("messages", decoded(input=[ASK, {"type": "shell_call", "call_id": "c"} | broken, output]))
    assert body["messages"][2]["content"][0]["content"] == "not a list"


# ---- down ----


def told(request: Request, names: ToolMap, name: str, arguments: str, *, reason: str = "tool", cut: int = 1) -> list[JSON]:
    """The events of one call, whose arguments come in pieces of so many characters."""
    encoder = responses.StreamEncoder(Reply(request, tools=names))
    frames = encoder.feed([ev.Start("x", "m", 0)]) + encoder.feed([ev.ToolStart(0, "c", name)])
    for at in range(0, len(arguments), cut):
        frames += encoder.feed([ev.Arguments(0, arguments[at : at + cut])])
    frames += encoder.feed([ev.PartStop(0)])
    frames += encoder.feed([ev.Stop(reason)])
    values = [jsontext.loads(data) for _, data in frames]
    assert [value["sequence_number"] for value in values] == list(range(len(values)))
    return values[2:]


CALLS: list[tuple[JSON, str, str, JSON]] = [
    (
        SHELL,
        "shell",
        '{"commands":["ls","pwd"],"timeout_ms":5}',
        {
            "type": "shell_call",
            "action": {"commands": ["ls", "pwd"], "timeout_ms": 5, "max_output_length": None},
            "environment": {"type": "local"},
        },
    ),
    (
        SHELL,
        "shell",
        '{"commands":"ls"}',
        {
            "type": "shell_call",
            "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None},
            "environment": {"type": "local"},
        },
    ),
    (
        {"type": "local_shell"},
        "local_shell",
        '{"command":["ls"],"working_directory":"/x"}',
        {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"], "env": {}, "working_directory": "/x"}},
    ),
    (
        {"type": "apply_patch"},
        "apply_patch",
        jsontext.dumps({"operation": PATCH}).decode(),
        {"type": "apply_patch_call", "operation": PATCH},
    ),
    (
        {"type": "tool_search", "execution": "client"},
        "tool_search",
        '{"query":"x"}',
        {"type": "tool_search_call", "execution": "client", "arguments": {"query": "x"}},
    ),
]


@pytest.mark.parametrize(("tool", "name", "arguments", "item"), CALLS)
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_calls_are_told_when_they_are_whole(tool: JSON, name: str, arguments: str, item: JSON, cut: int) -> None:
    request = decoded(tools=[tool])
    names = chat.encode_request(request, Capabilities(), "up").tools
    added, done, completed = told(request, names, name, arguments, cut=cut)
    assert (added["type"], done["type"]) == ("response.output_item.added", "response.output_item.done")
    assert added["item"].keys() == done["item"].keys() == {"id", "status", "call_id", *item}
    assert (added["item"]["status"], done["item"]["status"]) == ("in_progress", "completed")
    assert {key: done["item"][key] for key in item} == item
    assert completed["response"]["output"] == [done["item"]]
    for upstream in ("chat", "messages"):  # what the caller gets it can send back
        given = {"type": done["item"]["type"] + "_output", "call_id": "c", "output": "x", "tools": []}
        if name == "tool_search":
            given["type"] = "tool_search_output"
        body, _ = over(upstream, decoded(input=[ASK, done["item"], given]))
        assert name in str(body["messages"][1])


UNREADABLE = [
    ("shell", "{}"), ("shell", '{"commands":[1]}'), ("shell", "[]"), ("shell", '{"commands":{}}'), ("shell", '{"comm'),
    ("local_shell", '{"command":"ls -l"}'), ("apply_patch", '{"operation":"x"}'), ("apply_patch", '{"operation":{"type":"create_file"}}'),
    ("tool_search", "7"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), UNREADABLE)
def test_a_call_that_nobody_can_run(name: str, arguments: str) -> None:
    """The answer fails; one that its token limit cut is told as cut."""
    request = decoded(tools=[SHELL, {"type": "local_shell"}, {"type": "apply_patch"}, {"type": "tool_search", "execution": "client"}])
    names = chat.encode_request(request, Capabilities(), "up").tools
    with pytest.raises(errors.Garbled, match=f"The model's {name}_call cannot be read."):
        told(request, names, name, arguments)
    *_, done, last = told(request, names, name, arguments, reason="length")
    cut = "in_progress" if name == "apply_patch" else "incomplete"  # its API has no other word for it
    assert (done["item"]["status"], last["type"]) == (cut, "response.incomplete")
    encoder = responses.StreamEncoder(Reply(request, tools=names))
    encoder.feed([ev.Start("x", "m", 0), ev.ToolStart(0, "c", name), ev.Arguments(0, arguments), ev.PartStop(0)])
    encoder.feed([ev.ToolStart(1, "d", name)])
    failure = jsontext.loads(encoder.feed([ev.Fault(errors.Garbled("x"))])[0][1])["response"]
    assert (failure["status"], failure["error"]["code"]) == ("failed", "server_error")
    assert [item["status"] for item in failure["output"]] == [cut, cut]


def test_calls_beside_each_other() -> None:
    request = decoded(tools=[SHELL, {"type": "function", "name": "f"}])
    names = chat.encode_request(request, Capabilities(), "up").tools
    collector = responses.Collector(Reply(request, tools=names))
    collector.feed([
        ev.Start("x", "m", 0), ev.ToolStart(0, "a", "shell"), ev.ToolStart(1, "b", "f"), ev.Arguments(1, '{"x":'),
        ev.Arguments(0, '{"commands":[]}'), ev.Arguments(1, "1}"), ev.PartStop(0), ev.PartStop(1), ev.Stop("tool"),
    ])  # fmt: skip
    assert [item["type"] for item in collector.body()["output"]] == ["shell_call", "function_call"]
    assert collector.body()["output"][1]["arguments"] == '{"x":1}'


# ---- of a messages caller ----

ANTHROPICS = [
    ("bash_20250124", "bash", set()),
    ("text_editor_20250124", "str_replace_editor", {"command", "path"}),
    ("text_editor_20250728", "str_replace_based_edit_tool", {"command", "path"}),
    ("memory_20250818", "memory", {"command"}),
]


@pytest.mark.parametrize(("kind", "name", "required"), ANTHROPICS)
def test_tools_that_anthropics_models_know(kind: str, name: str, required: set[str]) -> None:
    use = {"type": "tool_use", "id": "c", "name": name, "input": {"command": "view"}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "r"}
    turns = [ASK, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": turns,
        "tools": [{"type": kind, "name": name, "cache_control": {"type": "ephemeral"}}],
    }
    request = messages.decode_request(body | {"tool_choice": {"type": "tool", "name": name}})
    function = over("chat", request)[0]["tools"][0]["function"]
    assert (function["name"], set(function["parameters"].get("required", []))) == (name, required)
    assert "command" in function["parameters"]["properties"]
    assert "strict" not in function
    assert report(request) == ("", "tools[*]")
    written = over("responses", messages.decode_request(body))[0]
    assert (written["tools"][0]["name"], written["tools"][0]["strict"]) == (name, False)
    assert [item.get("name") for item in written["input"]] == [None, name, None]


def test_the_call_of_such_a_tool() -> None:
    """R38."""
    tools = [{"type": "bash_20250124", "name": "bash"}, {"type": "memory_20250818", "name": "memory"}]
    request = messages.decode_request({"model": "m", "max_tokens": 9, "messages": [ASK], "tools": tools})
    names = over("chat", request)[1]
    collector = messages.Collector(Reply(request, tools=names))
    call = [ev.ToolStart(0, "c", "bash"), ev.Arguments(0, '{"command":"ls"}'), ev.PartStop(0), ev.Stop("tool")]
    collector.feed([ev.Start("x", "m", 0), *call])
    assert collector.body()["content"] == [{"type": "tool_use", "id": "c", "name": "bash", "input": {"command": "ls"}}]
