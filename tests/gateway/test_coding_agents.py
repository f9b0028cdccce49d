"""Real coding agents, driven headless through a gateway to a scripted model: one turn that calls a tool, one that reads its output.

They are programs of their own and not installed by this repository: each test skips, saying so, when its command is not found.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman.codecs import compaction
from tests.conftest import Running, Start
from tests.scripted import LAST_CHUNK, Gate, Provider, Request, chunk, sse, stream_head, until_closed, wait

SAID = "the-dragoman-was-here"
COMMAND = f"echo {SAID}"
CONFIG = """\
listeners: [{type: model, port: PORT, address: 127.0.0.1}]
model_providers:
  - {model: mock/*, base_url: "URL/v1", access_key: secret, apis: [API]}
"""
# upstream API -> the path of its calls
PATHS = {
    "chat_completions": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "gemini": "/v1/models/m:streamGenerateContent",
}


def _chat(tool: tuple[str, dict[str, Any]] | None, read: int = 7) -> list[Any]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    delta: dict[str, Any] = {"role": "assistant", "content": SAID}
    if tool is not None:
        function = {"name": tool[0], "arguments": json.dumps(tool[1])}
        delta = {"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
    finish = "stop" if tool is None else "tool_calls"
    chunks = [{"delta": delta, "finish_reason": None}, {"delta": {}, "finish_reason": finish}]
    usage = {"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": 5, "total_tokens": read + 5}}
    return [*(sse(base | {"choices": [{"index": 0} | choice]}) for choice in chunks), sse(base | usage), sse("[DONE]")]


def _messages(tool: tuple[str, dict[str, Any]] | None, read: int = 7) -> list[Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    block: dict[str, Any] = {"type": "text", "text": ""}
    delta = {"type": "text_delta", "text": SAID}
    if tool is not None:
        block = {"type": "tool_use", "id": "toolu_1", "name": tool[0], "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(tool[1])}
    stop = {"stop_reason": "end_turn" if tool is None else "tool_use", "stop_sequence": None}
    events = [
        {"type": "message_start", "message": message | {"usage": {"input_tokens": read, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return [sse(event, event["type"]) for event in events]


def _responses(tool: tuple[str, dict[str, Any]] | None, read: int = 7) -> list[Any]:
    part = {"type": "output_text", "text": SAID, "annotations": []}
    item: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    if tool is not None:
        item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": tool[0], "arguments": json.dumps(tool[1])}
    usage = {"input_tokens": read, "output_tokens": 5, "total_tokens": read + 5}
    begun = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "in_progress", "output": []}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": begun | {"status": "completed", "output": [item], "usage": usage}},
    ]
    return [sse(event, event["type"]) for event in events]


def _gemini(tool: tuple[str, dict[str, Any]] | None, read: int = 7) -> list[Any]:
    part: dict[str, Any] = {"text": SAID}
    if tool is not None:
        part = {"functionCall": {"name": tool[0], "args": tool[1]}, "thoughtSignature": "c2ln"}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": read, "candidatesTokenCount": 5, "totalTokenCount": read + 5}
    return [sse({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r_1"})]


ANSWERS = {"chat_completions": _chat, "messages": _messages, "responses": _responses, "gemini": _gemini}


SCHEMAS = ("parameters", "input_schema", "parametersJsonSchema")


def _tools(body: dict[str, Any]) -> dict[str, Any]:
    """The schemas of a request's tools by name, whatever its shape."""
    found = {}
    for tool in body.get("tools") or []:
        for inner in tool.get("functionDeclarations", [tool.get("function", tool)]):
            found[inner.get("name")] = next((inner[key] for key in SCHEMAS if inner.get(key)), {})
    return found


def _history(body: dict[str, Any]) -> list[Any]:
    """The conversation of a request, whatever its shape."""
    found: list[Any] = body.get("messages") or body.get("input") or body["contents"]
    return found


class Model:
    """Calls a shell, then says what that printed. read: the tokens that its calls tell to have read. calls: how many there are."""

    def __init__(self, api: str, call: Callable[[dict[str, Any]], tuple[str, dict[str, Any]]], read: int = 7, calls: int = 1) -> None:
        self._api, self._call, self._read, self._calls = api, call, read, calls
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> list[Any]:
        assert request.target.partition("?")[0] == PATHS[self._api]
        assert any("secret" in request.headers.get(name, "") for name in ("authorization", "x-api-key", "x-goog-api-key"))
        body = request.json
        tools = _tools(body)
        if not tools:  # a title for the session
            return self._said(None)
        self.asked.append(body)
        return self._said(self._call(tools) if len(self.asked) <= self._calls else None)

    def _said(self, tool: tuple[str, dict[str, Any]] | None) -> list[Any]:
        return [stream_head(), *map(chunk, ANSWERS[self._api](tool, 7 if tool is None else self._read)), LAST_CHUNK]


def _environ(home: Path, environ: dict[str, str]) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    return clean | {"HOME": str(home), "NO_COLOR": "1"} | environ


def _run(command: list[str], home: Path, environ: dict[str, str]) -> str:
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=90, check=False, cwd=home, stdin=subprocess.DEVNULL, env=_environ(home, environ)
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def _found(name: str) -> str:
    path = shutil.which(os.environ.get(f"DRAGOMAN_{name.upper()}", name))
    return path or pytest.skip(f"{name} is not installed (nor named by DRAGOMAN_{name.upper()})")


def _run_claude(home: Path, url: str, model: str, environ: dict[str, str]) -> str:
    """What Claude Code answers to "Go"."""
    command = [_found("claude"), "-p", "Go", "--model", model, "--output-format", "json", "--dangerously-skip-permissions"]
    quiet = {"IS_SANDBOX": "1", "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    return str(json.loads(_run(command, home, {"ANTHROPIC_BASE_URL": url} | quiet | environ))["result"])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("api", PATHS)
def test_claude_code(start: Start, tmp_path: Path, api: str) -> None:
    _found("claude")
    model = Model(api, lambda tools: ("Bash", {"command": COMMAND, "description": "Say it"}))
    with Provider(model) as provider:
        gateway = start(CONFIG.replace("URL", provider.url).replace("API", api))
        answer = _run_claude(tmp_path, gateway.url, "mock/m", {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_SMALL_FAST_MODEL": "mock/m"})
    assert answer == SAID
    assert SAID in json.dumps(model.asked[1])


@pytest.mark.timeout(120)
def test_claude_code_with_a_login_of_its_own(start: Start, tmp_path: Path) -> None:
    """What it sends to Anthropic goes up, the gateway's key does not."""
    _found("claude")
    model = Model("messages", lambda tools: ("Bash", {"command": COMMAND, "description": "Say it"}))
    with Provider(model) as provider:
        config = CONFIG.replace("mock/*", "anthropic/*").replace("access_key: secret", "passthrough_auth: true, discover: false")
        gateway = start(config.replace("URL", provider.url).replace("API", "messages") + "access_keys: [{key: gateways-key}]\n")
        environ = {"ANTHROPIC_API_KEY": "secret-of-the-caller", "ANTHROPIC_CUSTOM_HEADERS": "x-dragoman-key: gateways-key"}
        assert _run_claude(tmp_path, gateway.url, "claude-sonnet-4-5", environ) == SAID
        assert {request.headers["x-api-key"] for request in provider.requests} == {"secret-of-the-caller"}
        assert not any("gateways-key" in str(request.headers) for request in provider.requests)


def _codex_call(tools: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    name = next(name for name in ("exec_command", "shell_command", "shell") if name in tools)
    key = "cmd" if "cmd" in tools[name]["properties"] else "command"
    return name, {key: ["bash", "-c", COMMAND] if tools[name]["properties"][key].get("type") == "array" else COMMAND}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("api", PATHS)
def test_codex(start: Start, tmp_path: Path, api: str) -> None:
    codex = _found("codex")
    model = Model(api, _codex_call)
    with Provider(model) as provider:
        gateway = start(CONFIG.replace("URL", provider.url).replace("API", api))
        config = tmp_path / ".codex" / "config.toml"
        config.parent.mkdir()
        config.write_text(
            'model = "mock/m"\nmodel_provider = "dragoman"\n[model_providers.dragoman]\nname = "Dragoman"\n'
            f'base_url = "{gateway.url}/v1"\nenv_key = "DRAGOMAN_KEY"\nwire_api = "responses"\n'
        )
        command = [codex, "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "Go"]
        said = _run(command, tmp_path, {"DRAGOMAN_KEY": "k", "CODEX_HOME": str(config.parent)})
    assert f'"text":"{SAID}"' in said
    assert SAID in json.dumps(_history(model.asked[1])[-1])


RUNS = [(api, 10, True) for api in PATHS]
EXEC = ("exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")


def _by_its_defaults(home: Path, url: str, *more: str) -> dict[str, str]:
    """Write what makes Codex ask the gateway in the provider that it has built in; returns its environment."""
    config = home / ".codex" / "config.toml"
    config.parent.mkdir()
    config.write_text("\n".join([f'model = "mock/m"\nopenai_base_url = "{url}/v1"', *more, ""]))
    config.with_name("auth.json").write_text('{"OPENAI_API_KEY": "k"}')
    return {"CODEX_HOME": str(config.parent)}


def _lines(gateway: Running) -> list[dict[str, Any]]:
    """What the gateway logged of responses, in the order in which they ended."""
    lines = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("operation") == "responses"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("api", "calls", "websocket"), [("chat_completions", 1, False), ("chat_completions", 1, True), *RUNS])
def test_codex_by_its_defaults(start: Start, tmp_path: Path, api: str, calls: int, websocket: bool) -> None:
    """R25: all turns over one WebSocket, and nothing over HTTP; or all over HTTP, after one attempt, where WebSockets are not served."""
    codex = _found("codex")
    model = Model(api, _codex_call, calls=calls)
    with Provider(model) as provider:
        served = "" if websocket else "websocket: {enabled: false}\n"
        gateway = start(served + CONFIG.replace("URL", provider.url).replace("API", api))
        said = _run([codex, *EXEC, "Go"], tmp_path, _by_its_defaults(tmp_path, gateway.url))
        gateway.stop()
    assert f'"text":"{SAID}"' in said
    assert json.dumps(_history(model.asked[-1])).count(f"{SAID}\\n") == calls
    done = _lines(gateway)
    assert {line.get("transport") for line in done} == {"websocket" if websocket else None}
    assert len({line.get("connection") for line in done}) == 1
    assert len(done) == calls + 1 + websocket  # over a WebSocket it begins with one that asks no model


@pytest.mark.timeout(120)
@pytest.mark.parametrize("api", PATHS)
def test_codex_is_interrupted(start: Start, tmp_path: Path, api: str) -> None:
    """In mid-answer: its upstream is left. Then the same session goes on, again over a WebSocket alone."""
    codex = _found("codex")
    model = Model(api, _codex_call, calls=0)

    def script(request: Request) -> list[Any]:
        steps = model(request)
        return [*steps[: -2 if len(steps) > 3 else -1], until_closed] if len(model.asked) == 1 else steps

    with Provider(script) as provider:
        gateway = start(CONFIG.replace("URL", provider.url).replace("API", api))
        environ = _environ(tmp_path, _by_its_defaults(tmp_path, gateway.url))
        with subprocess.Popen([codex, *EXEC, "Go"], cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
            provider.wait_for(lambda: provider.connections and provider.connections[0].sent > 100, 60)
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=60)
        provider.wait_for(lambda: provider.connections[0].closed_by == "peer")
        said = _run([codex, *EXEC, "resume", "--last", "And now?"], tmp_path, environ)
        gateway.stop()
    assert f'"text":"{SAID}"' in said
    assert "And now?" in json.dumps(_history(model.asked[-1])[-1])
    done = _lines(gateway)
    assert {line["transport"] for line in done} == {"websocket"}
    assert [line.get("client_left", False) for line in done] == [False, True, *[False] * (len(done) - 2)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("websocket", [True, False])
def test_codex_waits_for_a_silent_upstream(start: Start, tmp_path: Path, websocket: bool) -> None:
    """R18: for longer than it waits for the next event."""
    codex = _found("codex")
    model, gate = Model("messages", _codex_call, calls=0), Gate()

    def script(request: Request) -> list[Any]:
        head, start, *rest = model(request)
        return [head, start, wait(gate), *rest]

    with Provider(script) as provider:
        served = "" if websocket else "websocket: {enabled: false}\n"
        served += "keep_alive: {stream: 200ms, begin_after: 300ms, progress: 700ms}\n"
        gateway = start(served + CONFIG.replace("URL", provider.url).replace("API", "messages"))
        own = f'[model_providers.own]\nname = "Own"\nbase_url = "{gateway.url}/v1"\nwire_api = "responses"'
        own += f"\nsupports_websockets = {str(websocket).lower()}\nstream_idle_timeout_ms = 2500\nstream_max_retries = 0"
        environ = _by_its_defaults(tmp_path, gateway.url, 'model_provider = "own"', own)
        timer = threading.Timer(6, gate.open)
        timer.start()
        said = _run([codex, *EXEC, "Go"], tmp_path, environ)
        timer.join()
        gateway.stop()
    assert f'"text":"{SAID}"' in said
    assert len(model.asked) == 1
    assert {line.get("transport") for line in _lines(gateway)} == {"websocket" if websocket else None}


@pytest.mark.timeout(120)
def test_codex_reads_the_models(start: Start, tmp_path: Path) -> None:
    """From the gateway's list, with their windows and efforts; and it has instructions for them."""
    codex = _found("codex")
    model = Model("chat_completions", _codex_call)
    with Provider(model) as provider:
        entry = '  - {model: mock/m, base_url: "URL/v1", access_key: secret, metadata: {context_window: 123456, efforts: [low, high]}}\n'
        gateway = start((CONFIG.rpartition("  - ")[0] + entry).replace("URL", provider.url))
        config = tmp_path / ".codex" / "config.toml"
        config.parent.mkdir()
        config.write_text(
            'model = "mock/m"\nmodel_provider = "dragoman"\n[features]\napi_key_model_discovery = true\n'
            f'[model_providers.dragoman]\nname = "Dragoman"\nbase_url = "{gateway.url}/v1"\nenv_key = "DRAGOMAN_KEY"\n'
            f'wire_api = "responses"\nmodel_catalog_url = "{gateway.url}/v1/models"\n'
        )
        command = [codex, "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "Go"]
        said = _run(command, tmp_path, {"DRAGOMAN_KEY": "k", "CODEX_HOME": str(config.parent)})
    assert f'"text":"{SAID}"' in said
    (known,) = json.loads((config.parent / "models_cache.json").read_text())["models"]
    assert (known["slug"], known["context_window"], known["default_reasoning_level"]) == ("mock/m", 123456, "high")
    assert [level["effort"] for level in known["supported_reasoning_levels"]] == ["low", "high"]
    assert "You are Codex" in json.dumps(model.asked[0]["messages"])
    assert model.asked[0]["reasoning_effort"] == "high"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("websocket", [True, False])
@pytest.mark.parametrize("api", PATHS)
def test_codex_compacts(start: Start, tmp_path: Path, api: str, websocket: bool) -> None:
    """R27: a session that has become too long goes on with the summary that its own model writes."""
    codex = _found("codex")
    model = Model(api, _codex_call, read=400_000)
    with Provider(model) as provider:
        served = "" if websocket else "websocket: {enabled: false}\n"
        gateway = start(served + CONFIG.replace("URL", provider.url).replace("API", api))
        limits = ("model_auto_compact_token_limit = 20000", "model_context_window = 1000000")
        said = _run([codex, *EXEC, "Go"], tmp_path, _by_its_defaults(tmp_path, gateway.url, *limits))
        gateway.stop()
    assert f'"text":"{SAID}"' in said
    first, summary, last = model.asked
    asked, told = (_history(body)[-1] for body in (summary, last))
    assert summary["tools"] == first["tools"]
    assert json.dumps(compaction.PROMPT) in json.dumps(asked)
    assert json.dumps(compaction.as_message(SAID)) in json.dumps(told)
    assert {line.get("transport") for line in _lines(gateway)} == {"websocket" if websocket else None}


# ---- gemini-cli: five turns, each with reasoning that its provider wants back ----


def _thinking_chat(turn: int, tool: tuple[str, dict[str, Any]] | None) -> list[Any]:
    details = [{"type": "reasoning.encrypted", "data": f"seal{turn}", "format": "x-v1", "index": 0}]
    base = {"id": f"chatcmpl-{turn}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    delta = {"role": "assistant", "content": None, "reasoning_content": f"think {turn}", "reasoning_details": details}
    first = sse(base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    said = _chat(tool)
    return [first, *(one.replace(b"call_1", b"call_%d" % turn) for one in said)]


def _thinking_messages(turn: int, tool: tuple[str, dict[str, Any]] | None) -> list[Any]:
    start, *rest = _messages(tool)
    block = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": f"think {turn}"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": f"seal{turn}"}},
        {"type": "content_block_stop", "index": 0},
    ]
    moved = [one.replace(b'"index":0', b'"index":1').replace(b"toolu_1", b"toolu_%d" % turn) for one in rest]
    return [start, *(sse(event, event["type"]) for event in block), *moved]


def _thinking_responses(turn: int, tool: tuple[str, dict[str, Any]] | None) -> list[Any]:
    created, added, done, completed = _responses(tool)
    item = {"id": f"rs_{turn}", "type": "reasoning", "summary": [], "encrypted_content": f"seal{turn}"}
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    moved = [one.replace(b'"output_index":0', b'"output_index":1').replace(b"call_1", b"call_%d" % turn) for one in (added, done)]
    last = completed.replace(b'"output":[', b'"output":[' + json.dumps(item).encode() + b",").replace(b"call_1", b"call_%d" % turn)
    return [created, *(sse(event, str(event["type"])) for event in events), *moved, last]


def _thinking_gemini(turn: int, tool: tuple[str, dict[str, Any]] | None) -> list[Any]:
    said = (
        _gemini(tool)[0]
        .replace(b"c2ln", SIGNATURES[turn - 1].encode())
        .replace(b'"functionCall":{', b'"functionCall":{"id":"id_%d",' % turn)
    )
    thought = {"content": {"role": "model", "parts": [{"text": f"think {turn}", "thought": True}]}, "index": 0}
    return [sse({"candidates": [thought], "modelVersion": "m", "responseId": f"r_{turn}"}), said]


TURNS = 5
SEALS = [f"seal{turn}" for turn in range(1, TURNS + 2)]
SIGNATURES = [base64.b64encode(seal.encode()).decode() for seal in SEALS]
THINKING = {
    "chat_completions": (_thinking_chat, SEALS),
    "messages": (_thinking_messages, SEALS),
    "responses": (_thinking_responses, SEALS),
    "gemini": (_thinking_gemini, SIGNATURES),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("api", PATHS)
def test_gemini_cli(start: Start, tmp_path: Path, api: str) -> None:
    """A loop of five calls. Each request has all results so far, and what the provider sealed with each call."""
    gemini = _found("gemini")
    answer, seals = THINKING[api]
    asked: list[dict[str, Any]] = []

    def model(request: Request) -> list[Any]:
        assert request.target.partition("?")[0] == PATHS[api]
        asked.append(request.json)
        turn = len(asked)
        assert "run_shell_command" in _tools(request.json)
        call = ("run_shell_command", {"command": f"echo said-{turn}", "description": "Say it"}) if turn <= TURNS else None
        return [stream_head(), *map(chunk, answer(turn, call)), LAST_CHUNK]

    settings = tmp_path / ".gemini" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
    }))  # fmt: skip
    with Provider(model) as provider:
        gateway = start(CONFIG.replace("URL", provider.url).replace("API", api))
        said = _run(
            [gemini, "-p", "Go", "-m", "mock/m", "--yolo", "--output-format", "json"],
            tmp_path,
            {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": gateway.url, "GEMINI_CLI_TRUST_WORKSPACE": "true"},
        )
        assert not provider.failures
    found = json.loads(said[said.index("{") :])
    assert found["response"] == SAID
    assert (found["stats"]["tools"]["totalSuccess"], found["stats"]["tools"]["totalFail"]) == (TURNS, 0)
    assert len(asked) == TURNS + 1
    for number, body in enumerate(asked, 1):
        history = json.dumps(_history(body))
        for turn in range(1, TURNS + 1):
            assert (f"said-{turn}" in history, seals[turn - 1] in history) == (turn < number,) * 2
