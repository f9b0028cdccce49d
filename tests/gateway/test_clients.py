"""What coding agents and SDKs do besides asking a model: probes, lists, counts, odd paths; and the programs of the documentation, run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Running, Start
from .spoken import PATHS
from .wire import Wire, ask, request

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).resolve().parent.parent.parent
CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers: [{model: demo/*}]
model_aliases: {claude-demo: {target: demo/echo}, anthropic-demo: {target: demo/think}}
access_keys: [{key: KEY}]
"""
KEY = {"authorization": "Bearer KEY"}
CLAUDE_CODE = {
    "accept": "application/json",
    "accept_encoding": "gzip, deflate, br, zstd",
    "anthropic_beta": "claude-code-20250219,interleaved-thinking-2025-05-14,mid-conversation-tool-changes-2026-07-01",
    "anthropic_dangerous_direct_browser_access": "true",
    "anthropic_version": "2023-06-01",
    "user_agent": "claude-cli/2.1.330 (external, cli)",
    "x_app": "cli",
    "x_stainless_timeout": "600",
    "x_claude_code_session_id": "7d1fd3a5-0d2c-4d2a-8d3e-0f1a2b3c4d5e",
}


@pytest.fixture(scope="module")
def gateway(start_session: Start) -> Running:
    return start_session(CONFIG)


# ---- before anything is asked ----


@pytest.mark.parametrize("path", ["/", "/api/hello"])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_start_probes_need_no_key(gateway: Running, path: str, method: str) -> None:
    with Wire(gateway.port) as wire:
        wire.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Bun/1.4.4\r\n\r\n".encode())
        status, headers = wire.head()
        assert status == 200
        assert "location" not in headers


@pytest.mark.parametrize("query", ["", "?limit=1000", "?limit=1000&after_id=demo%2Fecho"])
def test_claude_codes_list_of_models(gateway: Running, query: str) -> None:
    headers = {"x_api_key": "KEY", "anthropic_version": "2023-06-01", "user_agent": "claude-code/2.1.330"}
    answer = ask(gateway.port, request(f"/v1/models{query}", method="GET", **headers))
    assert answer.status == 200
    shown = [model["id"] for model in answer.json["data"] if model["id"].startswith(("claude", "anthropic"))]
    assert shown == ["claude-demo", "anthropic-demo"]
    assert {"type", "display_name", "created_at", "object", "created", "owned_by"} <= set(answer.json["data"][0])


def test_codex_asks_for_a_websocket_first(gateway: Running) -> None:
    """And without an upgrade it is told to go on over HTTP."""
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    data = request("/v1/responses", method="GET", openai_beta="responses_websockets=2026-02-06", **upgrade, **KEY)
    with Wire(gateway.port) as wire:
        wire.send(data)
        status, headers = wire.head()
        assert status == 101
        assert headers["x-codex-websocket-max-message-bytes"] == "67108864"
    answer = ask(gateway.port, request("/v1/responses", method="GET", **KEY))
    assert answer.status == 426
    assert answer.json["error"]["code"] == "upgrade_required"


# ---- where it is asked ----

BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": "demo/echo", "messages": [{"role": "user", "content": "Good morning"}]},
    "messages": {"model": "demo/echo", "max_tokens": 100, "messages": [{"role": "user", "content": "Good morning"}]},
    "responses": {"model": "demo/echo", "input": "Good morning"},
}


@pytest.mark.parametrize("shape", BODIES)
@pytest.mark.parametrize("form", ["/v1{}", "/v1{}/", "//v1{}", "/v1/{}", "/v1/v1{}", "{}", "/v1{}?beta=true", "/v1//{}?api-version=x"])
def test_paths_as_clients_join_them(gateway: Running, shape: str, form: str) -> None:
    path = form.format(PATHS[shape].removeprefix("/v1"))
    answer = ask(gateway.port, request(path, BODIES[shape], **KEY))
    assert answer.status == 200
    assert b"Good morning" in answer.body


@pytest.mark.parametrize("query", ["", "?beta=true"])
def test_claude_code_counts_tokens(gateway: Running, query: str) -> None:
    """/context asks 27 times in one go."""
    body = {key: value for key, value in BODIES["messages"].items() if key != "max_tokens"} | {"tools": [{"name": "f", "input_schema": {}}]}
    data = request(f"/v1/messages/count_tokens{query}", body, **CLAUDE_CODE, **KEY)
    with Wire(gateway.port) as wire:
        for _ in range(27):
            wire.send(data)
        answers = [wire.answer() for _ in range(27)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["input_tokens"] > 0 for answer in answers} == {True}
    assert answers[0].headers["x-dragoman-estimate"] == "true"


def test_claude_codes_first_turn(gateway: Running) -> None:
    """As it asks a model that it does not know: a system message behind the user's, adaptive thinking, edits of the context."""
    text = {"type": "text", "text": "Good morning", "cache_control": {"type": "ephemeral"}}
    body = {
        "model": "claude-demo",
        "max_tokens": 32000,
        "stream": True,
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1;"}, {"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [text]}, {"role": "system", "content": [text | {"text": "Today is Monday."}]}],
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "user_1"},
        "tools": [
            {
                "name": "Bash",
                "description": "Runs",
                "input_schema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
            },
            {"name": "Later", "input_schema": {"type": "object"}, "defer_loading": True},
        ],
    }
    answer = ask(gateway.port, request("/v1/messages?beta=true", body, **CLAUDE_CODE, **KEY))
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "content-encoding" not in answer.headers
    names = re.findall(r"^event: (\w+)$", answer.body.decode(), re.MULTILINE)
    assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert b'"model":"claude-demo"' in answer.body
    assert {"context_management", "header:anthropic-beta"} <= set(answer.headers["x-dragoman-dropped"].split(","))


def test_codexs_first_turn(gateway: Running) -> None:
    """As it asks a model that it does not know: functions, a namespace and a search tool, metadata in headers."""
    function = {"type": "function", "name": "exec_command", "strict": False, "parameters": {"type": "object", "properties": {}}}
    body = {
        "model": "demo/tool",
        "stream": True,
        "store": False,
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}], "id": "msg_1"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Good morning"}], "id": "msg_2"},
        ],
        "tools": [function, {"type": "namespace", "name": "agents", "tools": [function | {"name": "spawn"}]}, {"type": "web_search"}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
        "client_metadata": {"a": "b"},
    }
    headers = {"accept": "text/event-stream", "originator": "codex_exec", "user_agent": "codex_exec/0.169.0", "session_id": "s"}
    answer = ask(gateway.port, request("/v1/responses", body, **headers, **KEY))
    assert answer.status == 200
    names = re.findall(r"^event: ([\w.]+)$", answer.body.decode(), re.MULTILINE)
    assert (names[0], names[-1]) == ("response.created", "response.completed")
    assert b'"type":"function_call"' in answer.body
    assert "tools[*]:web_search" in answer.headers["x-dragoman-dropped"]


# ---- the programs of the documentation ----


def programs() -> list[Any]:
    found = []
    for page in ("README.md", "docs/clients.md"):
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", (HOUSE / page).read_text(), re.DOTALL), 1):
            found.append(pytest.param(block, id=f"{page}-{number}"))
    return found


@pytest.mark.parametrize("program", programs())
def test_python_programs_run_as_they_are_written(gateway: Running, program: str) -> None:
    program = (
        program.replace("http://localhost:12000", gateway.url).replace('"MODEL"', '"demo/echo"').replace('api_key="none"', 'api_key="KEY"')
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "morning" in done.stdout


def test_the_curl_calls(gateway: Running) -> None:
    for page in ("README.md", "docs/clients.md"):
        text = (HOUSE / page).read_text()
        for path, body in re.findall(r"curl -N http://localhost:12000(\S+) .*?\\\n.*?-d '(.*?)'", text):
            answer = ask(gateway.port, request(path, body.replace('"MODEL"', '"demo/echo"').encode(), **KEY))
            assert answer.status == 200
            assert b"morning" in answer.body
