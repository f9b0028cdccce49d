"""The admin listener over real sockets: metrics of one worker and of two, explain, and the inspector's data without its page."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import orjson
import pytest

from dragoman.proxy.process.server import ADMIN_BODY

from ..conftest import Start
from ..scripted import Provider, respond
from .admin import Admin, Watching, addressed, eventually
from .spoken import PATHS, SHAPES, Judges
from .wire import Answer, Wire, ask, request

NAMES = {
    "dragoman_requests_total": {"shape", "upstream_api", "provider", "model", "status"},
    "dragoman_streams_open": set(),
    "dragoman_request_seconds_count": set(),
    "dragoman_time_to_first_token_seconds_count": set(),
    "dragoman_overhead_seconds_count": set(),
    "dragoman_tokens_total": {"kind"},
    "dragoman_cost_usd_total": set(),
    "dragoman_upstream_errors_total": {"kind"},
    "dragoman_retries_total": set(),
    "dragoman_fallbacks_total": set(),
    "dragoman_dropped_fields_total": {"shape", "upstream_api", "field"},
    "dragoman_client_disconnects_total": set(),
    "dragoman_unknown_upstream_total": set(),
    "process_cpu_seconds_total": {"worker"},
    "process_resident_memory_bytes": {"worker"},
    "process_open_fds": {"worker"},
}


@pytest.fixture(scope="module")
def one(start_session: Start) -> Admin:
    return Admin(start_session)


@pytest.fixture(scope="module")
def two(start_session: Start) -> Admin:
    admin = Admin(start_session, "--workers", "2")
    eventually(lambda: _workers(admin) >= {"0", "1", "2"})
    return admin


def _workers(admin: Admin) -> set[str]:
    return {dict(labels)["worker"] for name, labels in admin.samples() if name == "process_open_fds"}


# ---- bounds ----


@pytest.mark.parametrize("sized", [True, False], ids=["counted", "chunked"])
def test_a_body_that_is_too_large_is_refused_before_it_is_held(one: Admin, sized: bool) -> None:
    """Nobody signs in on an admin listener without a control store, and limits.max_bodies does not count what it holds."""
    head = b"POST /inspector/switch HTTP/1.1\r\nHost: localhost\r\nX-Dragoman-Inspector: 1\r\n"
    body = b'{"clear": true}'
    for most, status in ((len(body), 200), (ADMIN_BODY, 200), (ADMIN_BODY + 1, 413)):
        framing = b"Content-Length: %d\r\n\r\n%b" if sized else b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        with Wire(one.port) as wire:
            wire.send(head + framing % (most, body.ljust(most)))
            assert wire.answer().status == status


# ---- metrics ----


def test_every_metric_counts_over_two_workers(two: Admin) -> None:
    before = two.samples()
    calls = 12
    for _ in range(calls):
        assert two.call("messages", "demo/think", stream=True, top_k=3).status == 200
        assert two.call("chat", "falls-back").status == 200
        assert two.call("chat", "nowhere").status == 502
    total = sum(value for (name, _), value in before.items() if name == "dragoman_requests_total")
    eventually(lambda: two.value("dragoman_requests_total") == total + 3 * calls)  # settled behind its last byte
    after = two.samples()

    def grown(name: str, **labels: str) -> float:
        wanted = set(labels.items())
        return sum(value - before.get(key, 0) for key, value in after.items() if key[0] == name and wanted <= key[1])

    found: dict[str, set[str]] = {}
    for name, labels in after:
        found.setdefault(name, set()).update(key for key, _ in labels)
    assert {name: found.get(name) for name in NAMES} == NAMES
    assert grown("dragoman_requests_total") == 3 * calls
    for status, number in (("200", 2 * calls), ("502", calls)):
        assert grown("dragoman_requests_total", status=status) == number
    assert grown("dragoman_requests_total", shape="messages", upstream_api="chat", provider="demo", model="think") == calls
    assert grown("dragoman_requests_total", provider="openai", model="nowhere", status="502") == calls
    assert grown("dragoman_request_seconds_count") == grown("dragoman_overhead_seconds_count") == 3 * calls
    assert grown("dragoman_time_to_first_token_seconds_count") == calls
    assert grown("dragoman_tokens_total", kind="input") == calls * (2 + 2)
    assert grown("dragoman_tokens_total", kind="output") == calls * (11 + 2)
    assert grown("dragoman_cost_usd_total") == pytest.approx(calls * (4 * 1 + 13 * 2) / 1e6)

    # an upstream that fails is passed over for a while, so how often it was asked is the log's to say
    def told() -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in two.gateway.log().splitlines() if '"request_id"' in line]

    eventually(lambda: len(told()) == total + 3 * calls)  # they are written several at once
    lines = told()
    refused = sum("failed, refused" in tried for line in lines for tried in line.get("tried", ()))
    assert grown("dragoman_upstream_errors_total", kind="refused") == refused > 0
    again = sum(line.get("attempts", 1) - 1 for line in lines)
    assert grown("dragoman_retries_total") + grown("dragoman_fallbacks_total") == again
    assert grown("dragoman_fallbacks_total") > 0
    assert grown("dragoman_dropped_fields_total", shape="messages", upstream_api="chat", field="top_k") == calls
    assert grown("dragoman_streams_open") == 0


def test_both_workers_have_served(two: Admin) -> None:
    """What the sums above are of: with one connection a request, the kernel spreads them."""

    def served() -> bool:
        two.call("chat", "demo/echo")
        return {row["id"].split("-")[0] for row in two.exchanges()} == {"1", "2"}

    with Watching(two):
        eventually(served)


def test_no_sum_falls_when_a_worker_dies(two: Admin) -> None:
    for _ in range(8):
        two.call("chat", "demo/echo")
    before = two.samples()
    pid = two.gateway.process.pid
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        children = [int(child) for child in file.read().split()]
    memory = {dict(labels)["worker"]: value for (name, labels), value in before.items() if name == "process_start_time_seconds"}
    os.kill(children[-1], signal.SIGKILL)
    falls = [name for (name, labels), value in two.samples().items() if "dragoman" in name and value < before[name, labels]]
    assert not falls
    eventually(lambda: "starting another" in two.gateway.log())
    eventually(lambda: _workers(two) == set(memory))
    eventually(lambda: two.call("chat", "demo/echo").status == 200)
    counted = sum(value for (name, _), value in before.items() if name == "dragoman_requests_total")
    for _ in range(6):
        two.call("chat", "demo/echo")
    eventually(lambda: two.value("dragoman_requests_total") >= counted + 7)


def test_labels_are_bounded(one: Admin) -> None:
    """Names that a caller makes up, of models and of fields, are not told apart."""
    for number in range(300):
        one.call("chat", f"openai/made-up-{number}")
        one.call("chat", f"made-up/{number}")
        one.call("messages", "demo/echo", **{f"made-up-{number}-{index}": index for index in range(2)})
    samples = one.samples()
    models = {dict(labels)["model"] for name, labels in samples if name == "dragoman_requests_total"}
    assert models <= {"other", "echo", "think", "falls-back", "nowhere", "declared"}
    fields = {dict(labels)["field"] for name, labels in samples if name == "dragoman_dropped_fields_total"}
    assert "other" in fields
    assert len(fields) <= 257
    assert one.value("dragoman_dropped_fields_total") >= 600
    assert len(samples) < 700


def test_a_request_that_no_upstream_was_chosen_for(one: Admin) -> None:
    before = one.value("dragoman_requests_total", provider="none", upstream_api="none", model="other", status="404")
    one.call("chat", "nobody/knows")
    assert one.value("dragoman_requests_total", provider="none", upstream_api="none", model="other", status="404") == before + 1


def test_streams_and_clients_that_leave(one: Admin) -> None:
    left = one.value("dragoman_client_disconnects_total")
    body = {"model": "demo/slow", "stream": True, "messages": [{"role": "user", "content": "one two three four five six seven"}]}
    with Wire(one.gateway.port) as wire:
        wire.send(request(PATHS["chat"], body))
        wire.head()
        assert one.value("dragoman_streams_open") == 1
    eventually(lambda: one.value("dragoman_streams_open") == 0)
    assert one.value("dragoman_client_disconnects_total") == left + 1


def test_metrics_are_not_for_callers(one: Admin) -> None:
    assert ask(one.gateway.port, request("/metrics", method="GET")).status == 404
    assert ask(one.gateway.port, request("/explain", method="GET")).status == 404
    answer = one.get("/metrics", host="whatever.example")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


# ---- explain, and the log line that says the same ----


def test_explain(one: Admin) -> None:
    told = one.get("/explain?model=falls-back&shape=messages").json
    assert told["model"] == "falls-back"
    assert list(told["candidates"]) == ["messages"]
    first, second = told["candidates"]["messages"]
    assert first.startswith("1. openai/falls-back: chat_completions http://127.0.0.1:1/v1/chat/completions; declared, by its bare id;")
    assert "fallback of openai/falls-back" in second
    assert set(one.get("/explain?model=falls-back").json["candidates"]) == {"chat", "messages", "responses", "gemini"}
    assert "does not exist" in one.get("/explain?model=nobody").json["candidates"]["chat"][0]
    assert "sk-of" not in str(told)
    assert one.get("/explain?shape=none").status == 400


def test_explain_tells_what_each_worker_passes_over(two: Admin) -> None:
    def notes(model: str) -> list[str]:
        lines = two.get(f"/explain?model={model}&shape=chat").json["candidates"]["chat"]
        return [line.partition("; failed recently, tried last until ")[2] for line in lines]

    assert two.call("chat", "falls-back").status == 200  # its first candidate cannot be reached
    eventually(lambda: re.match(r"\d\d:\d\d:\d\d UTC by worker [12]\b", notes("falls-back")[0]))
    assert notes("falls-back")[1:] == [""]
    assert notes("declared") == [""]


def test_the_log_line_tells_the_whole_way(one: Admin) -> None:
    answer = one.call("chat", "nowhere")
    id = answer.headers["x-request-id"]
    eventually(lambda: id in one.gateway.log())
    line = next(orjson.loads(line) for line in one.gateway.log().splitlines() if id in line)
    explained, lately, until = one.get("/explain?model=nowhere&shape=chat").json["candidates"]["chat"][0].partition("; failed recently")
    assert lately
    assert re.fullmatch(r", tried last until \d\d:\d\d:\d\d UTC", until)
    assert line["sendings"] == 0
    assert line["tried"] == [f"{explained.removeprefix('1. ')}; failed, refused: The upstream could not be reached."] * 2
    assert line["status"] == 502
    assert line["error"] == "upstream_unreachable"
    assert "sk-of" not in one.gateway.log()


def test_the_log_line_of_an_answer(one: Admin) -> None:
    id = one.call("messages", "demo/think", stream=True, top_k=3).headers["x-request-id"]
    eventually(lambda: id in one.gateway.log())
    line = next(orjson.loads(line) for line in one.gateway.log().splitlines() if id in line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    times = [line.pop(name) for name in ("ms_headers", "ms_first", "ms_total")]
    assert times == sorted(times)
    assert line == {
        "request_id": id,
        "key": "",
        "operation": "messages",
        "shape": "messages",
        "status": 200,
        "stream": True,
        "upstream": "demo/think",
        "upstream_api": "chat",
        "lane": "events",
        "attempts": 1,
        "sendings": 0,  # it is built in
        "events": 15,
        "tokens": {"input": 2, "output": 11, "cached": 0},
        "cost": 2.4e-05,
        "stop": "end",
        "dropped": ["top_k"],
    }


# ---- the inspector ----


@pytest.fixture(params=["one", "two"])
def admin(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def _find(admin: Admin, id: str) -> dict[str, Any]:
    """The exchange that a request id belongs to, once it is over."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [row for row in admin.exchanges() if row["request_id"] == id and row["done"]]
        return bool(found)

    eventually(there)
    return dict(admin.get(f"/inspector/exchanges/{found[0]['id']}").json)


def _seen(told: dict[str, Any], pane: str) -> list[str]:
    return [record["name"] for record in told["records"] if record["pane"] == pane]


def test_nothing_is_told_while_nobody_looks(start: Start) -> None:
    admin = Admin(start)
    admin.call("chat", "demo/echo")
    assert admin.get("/inspector/exchanges").json == {"content": False, "watched": False, "exchanges": []}


def test_four_wires_and_the_hub(admin: Admin) -> None:
    with Watching(admin):
        told = _find(admin, admin.call("messages", "demo/think", stream=True, top_k=3).headers["x-request-id"])
    row = told["exchange"]
    assert (row["shape"], row["upstream_api"], row["lane"], row["status"], row["dropped"]) == ("messages", "chat", "events", 200, ["top_k"])
    assert row["tokens"] == {"input": 2, "output": 11, "cached": 0}
    assert _seen(told, "client") == ["POST /v1/messages", "body"]
    assert _seen(told, "up") == ["POST demo://builtin/v1/chat/completions", "body"]
    assert _seen(told, "down") == ["HTTP 200", "role", *["reasoning_content"] * 9, *["content"] * 2, "finish stop", "usage", "[DONE]"]
    hub = ["Start", "ReasoningStart", *["Reasoning"] * 9, "PartStop", "TextStart", "Text", "Text", "PartStop", "Metered", "Stop"]
    assert [name for name in _seen(told, "hub") if name != "Seal"] == hub
    out = _seen(told, "out")
    assert out[:2] == ["HTTP 200", "message_start"]
    assert out[-2:] == ["message_delta", "message_stop"]
    times = [record["at"] for record in told["records"]]
    assert times == sorted(times)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_content_and_credentials_are_not_told(one: Admin, shape: str, stream: bool) -> None:
    with Watching(one):
        told = _find(one, one.call(shape, "demo/think", "My s3cret words", stream=stream, user="s3cret-user").headers["x-request-id"])
    text = str(told)
    assert "s3cret" not in text
    assert "sk-of" not in text
    assert "say it back" not in text  # the answer's reasoning
    assert told["exchange"]["content"] is False
    for pane in ("client", "up", "down", "out"):
        assert _seen(told, pane)


def test_credentials_are_not_told_with_content_either(start: Start) -> None:
    echo = {"error": {"message": "Incorrect API key provided: sk-of-the-gateway", "type": "x", "code": "invalid_api_key"}}
    with Provider(lambda request: [respond(echo, 401)]) as provider:
        admin = Admin(start, upstream=provider.url)
        with Watching(admin):
            assert _switch(admin, {"content": True}).json == {"content": True}
            told = _find(admin, admin.call("chat", "declared", "My s3cret words").headers["x-request-id"])
        text = str(told)
        assert "s3cret" in text
        assert "sk-of" not in text
        assert "‹credential›" in text
        _switch(admin, {"content": False})
        assert admin.exchanges() == []


def _switch(admin: Admin, asked: Any, host: str = "localhost") -> Answer:
    return ask(admin.port, addressed(host, request("/inspector/switch", asked, X_Dragoman_Inspector="1")))


def test_a_page_from_elsewhere_can_do_nothing(one: Admin) -> None:
    assert one.get("/inspector/exchanges", host="rebound.example:12001").status == 403
    assert one.get("/", host="rebound.example").status == 403
    assert ask(one.port, addressed("localhost", request("/inspector/switch", {"content": True}))).status == 403
    assert _switch(one, {"content": True}, host="rebound.example").status == 403
    assert _switch(one, b"no JSON").status == 400
    assert _switch(one, {"content": "yes"}).status == 400
    assert one.get("/inspector/exchanges", host="localhost:1").json["content"] is False
    policy = one.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_files(one: Admin) -> None:
    assert b"<!doctype html>" in one.get("/").body
    for name in ("inspector.css", "inspector.js", "exchange.js", "json.js"):
        assert one.get(f"/inspector/{name}").status == 200
    for path in ("/inspector/../admin.py", "/inspector/none.js", "/inspector/exchanges/0-0-0", "/none"):
        assert one.get(path).status == 404


def test_a_watched_answer_is_the_same(one: Admin) -> None:
    """What the vendors' SDKs make of it, with taps and without."""
    judges = Judges(one.gateway.url)
    for shape in SHAPES:
        for model in ("demo/think", "demo/tool", "demo/error", "openai/nowhere"):
            for streamed in (False, True):
                alone = judges.ask(shape, model, streamed=streamed)
                with Watching(one):
                    assert judges.ask(shape, model, streamed=streamed) == alone


def test_watching_ends_with_the_worker(two: Admin) -> None:
    """An exchange that a dying worker had open does not stay open in the list."""
    body = {"model": "demo/slow", "stream": True, "messages": [{"role": "user", "content": "one two three four five six seven " * 20}]}
    with Watching(two), Wire(two.gateway.port) as wire:
        wire.send(request(PATHS["chat"], body))
        wire.head()
        eventually(lambda: any(not row["done"] for row in two.exchanges()))
        number = next(row["id"] for row in two.exchanges() if not row["done"]).split("-")[1]
        os.kill(int(number, 16), signal.SIGKILL)
        eventually(lambda: all(row["done"] for row in two.exchanges()))
        assert "worker_lost" in {row.get("error") for row in two.exchanges()}
