"""A fourth shape from the tests' own folder goes through everything: no file of the product names it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dragoman import conf
from dragoman.codecs import registry
from dragoman.proxy.load.run import Load, Plan, shape_of
from dragoman.proxy.routing.check import check_lines
from dragoman.proxy.routing.router import Router
from dragoman.proxy.translate import translate

from ..gateway.inside import Inside, inside_once
from ..scripted import Provider, Request, Steps, respond, stream
from ..scripted import sse as event
from .toy import TOY

HOUSE = Path(__file__).resolve().parent.parent.parent
NAMES = ("chat", "messages", "responses", "gemini")


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    with registry.register(TOY):
        yield


CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: "demo/*"}
  - {model: toys/bear, base_url: "UPSTREAM/v1", access_key: k, apis: [toy_talk]}
  - {model: parrots/gray, base_url: "UPSTREAM/v1", access_key: k, apis: [chat_completions]}
model_aliases: {teddy: {target: toys/bear}}
"""

WHOLE = {"who": "bear", "said": ["Good ", "morning"], "why": "over", "cost": [3, 2]}
PIECES = [{"who": "bear"}, {"piece": "Good "}, {"piece": "morning"}, {"why": "over", "cost": [3, 2]}]
FRAMES = [event(piece) for piece in PIECES]
ASKED = {"talk": [["user", "Good morning"]]}


def upstream(request: Request) -> Steps:
    if "No" in request.body.decode():
        return [respond({"wrong": "No, said the bear."}, 400)]
    return stream(*FRAMES) if request.target.endswith("?stream=1") else [respond(WHOLE)]


def asked(target: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    return f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


async def answer(gateway: Inside, target: str, body: Any = ASKED) -> tuple[int, dict[str, str], bytes]:
    async with gateway.call(asked(target, body)) as caller:
        status, headers = await caller.head()
        return status, headers, await caller.body(headers)


def pieces(body: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in body.split(b"\n\n") if line]


# ---- offline ----


def test_translate_a_request() -> None:
    out, lost, code = translate(json.dumps(ASKED | {"most": 5, "mood": 1}).encode(), "toy", "chat")
    assert (json.loads(out), lost, code) == (
        {"model": "", "max_tokens": 5, "messages": [{"role": "user", "content": "Good morning"}]},
        ["dropped: mood"],
        0,
    )
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
    out, lost, code = translate(json.dumps(chat).encode(), "chat", "toy")
    assert (json.loads(out), lost, code) == ({"talk": [["user", "Hi"]]}, ["dropped: temperature"], 0)


@pytest.mark.parametrize("other", NAMES)
def test_translate_answers_there_and_back(other: str) -> None:
    there, lost, code = translate(json.dumps(WHOLE).encode(), "toy", other)
    assert (lost, code) == ([], 0)
    back, lost, code = translate(there, other, "toy")
    assert (json.loads(back), lost, code) == (WHOLE | {"said": ["Good morning"]}, [], 0)


@pytest.mark.parametrize("other", NAMES)
def test_translate_streams_there_and_back(other: str) -> None:
    there, _, code = translate(b"".join(FRAMES), "toy", other)
    assert code == 0
    back, _, code = translate(there, other, "toy")
    assert (pieces(back), code) == (PIECES, 0)


@pytest.mark.parametrize("other", NAMES)
def test_translate_errors(other: str) -> None:
    there, _, code = translate(b'{"wrong": "No."}', "toy", other)
    assert (json.loads(there)["error"]["message"], code) == ("No.", 0)
    back, _, code = translate(there, other, "toy")
    assert (json.loads(back), code) == ({"wrong": "No."}, 0)
    told, report, code = translate(FRAMES[0] + event({"wrong": "No."}), "toy", other)
    assert (b"No." in told, report, code) == (True, ["error: No."], 1)


# ---- configuration and routes ----


def test_routes() -> None:
    config = conf.loads(CONFIG.replace("UPSTREAM", "http://127.0.0.1:1"), environ={})
    router = Router(config)
    bear, gray = (router.candidates("toy", name).candidates[0] for name in ("teddy", "parrots/gray"))
    assert (bear.shape, bear.endpoint(True, ""), bear.echo) == ("toy", "http://127.0.0.1:1/v1/toy/bear?stream=1", "teddy")
    assert (gray.shape, gray.endpoint(True, "")) == ("chat", "http://127.0.0.1:1/v1/chat/completions")
    assert router.candidates("messages", "teddy").candidates[0].shape == "toy"
    assert any(re.search(r"toys/bear +toys +toy_talk .* callers: .*messages \(translated\).*toy", line) for line in check_lines(config))


# ---- through a gateway ----


@inside_once
async def test_the_bytes_lane() -> None:
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway:
            status, headers, body = await answer(gateway, "/v1/toy/toys%2Fbear")
            assert (status, headers["x-dragoman-lane"], json.loads(body)) == (200, "bytes", WHOLE)
            status, headers, body = await answer(gateway, "/v1/toy/teddy?stream=1")
            assert (status, headers["x-dragoman-lane"], pieces(body)) == (200, "bytes", [{"who": "teddy"}, *PIECES[1:]])
            await gateway.until(lambda: len(gateway.lines) == 2)
        assert [(request.target, request.headers["x-toy"]) for request in provider.requests] == [
            ("/v1/toy/bear", "1"),
            ("/v1/toy/bear?stream=1", "1"),
        ]
        assert [request.json for request in provider.requests] == [ASKED, ASKED]
        line = gateway.lines[1]
        assert (line["shape"], line["upstream_api"], line["tokens"]) == ("toy", "toy", {"input": 3, "output": 2, "cached": 0})


@inside_once
async def test_a_toy_caller_of_a_model_of_another_shape() -> None:
    async with Inside(CONFIG.replace("UPSTREAM", "http://127.0.0.1:1")) as gateway:
        status, headers, body = await answer(gateway, "/v1/toy/demo%2Fecho")
        told = json.loads(body)
        assert (status, headers["x-dragoman-lane"], told["why"], "".join(told["said"])) == (200, "events", "over", "Good morning")
        status, headers, body = await answer(gateway, "/v1/toy/demo%2Fecho?stream=1")
        first, *middle, last = pieces(body)
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert ("who" in first, "".join(one["piece"] for one in middle), last["why"]) == (True, "Good morning", "over")


@pytest.mark.parametrize("caller", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@inside_once
async def test_another_caller_of_a_toy_model(caller: str) -> None:
    hello: Any = [{"role": "user", "content": "Good morning"}]
    body = {"model": "teddy", "max_tokens": 9, "messages": hello} if "resp" not in caller else {"model": "teddy", "input": hello}
    with Provider(upstream) as provider:
        async with Inside(CONFIG, provider) as gateway:
            for stream_too in (False, True):
                status, headers, told = await answer(gateway, caller, body | {"stream": stream_too})
                assert (status, headers["x-dragoman-lane"]) == (200, "events")
                assert b"Good " in told
                assert b"morning" in told
        assert provider.requests[1].target == "/v1/toy/bear?stream=1"
        assert provider.requests[0].json["talk"] == [["user", "Good morning"]]


@inside_once
async def test_errors() -> None:
    async with Provider(upstream) as provider, Inside(CONFIG, provider) as gateway:
        told = await answer(gateway, "/v1/toy/teddy", {"talk": [["user", "No"]]})
        assert (told[0], json.loads(told[2])) == (400, {"wrong": "No, said the bear."})
        told = await answer(gateway, "/v1/toy/nobody")
        assert told[0] == 404
        assert "nobody" in json.loads(told[2])["wrong"]
        told = await answer(gateway, "/v1/toy/demo%2Fecho", {})
        assert (told[0], json.loads(told[2])["wrong"][:4]) == (400, "talk")
        status, _, body = await answer(gateway, "/v1/toy/demo%2Ferror?stream=1")
        assert "wrong" in (pieces(body)[-1] if status == 200 else json.loads(body))
        told = await answer(gateway, "/v1/chat/completions", {"model": "teddy", "messages": [{"role": "user", "content": "No"}]})
        assert (told[0], json.loads(told[2])["error"]["message"]) == (400, "No, said the bear.")


@pytest.mark.parametrize("whole", [False, True])
@inside_once
async def test_load(whole: bool) -> None:
    async with Inside(CONFIG.replace("UPSTREAM", "http://127.0.0.1:1")) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        load = Load(Plan(url, "toy", "demo/echo", streams=1, seconds=0.2, words=5, whole=whole))
        result = await load.run()
    assert result["errors"] == {}, result
    assert result["total"]["requests"] > 0, result
    assert shape_of(f"{url}/v1/toy") == "toy"


# ---- the measure ----


def test_where_the_shapes_are_listed_together() -> None:
    """One list, so that a shape is added in one place; a second file may have to name them all."""
    word = re.compile("|".join(rf"\b{name}\b" for name in NAMES))
    listing = []
    for package in ("codecs", "conf", "proxy", "handlers"):
        for path in (HOUSE / package).rglob("*.py"):
            lines = path.read_text().splitlines()
            code = [re.sub(r'#.*|""".*', "", line) for line in lines]
            near = ["\n".join(code[i : i + 6]) for i in range(len(code))]
            if any(set(word.findall(text)) == set(NAMES) for text in near):
                listing.append(path.relative_to(HOUSE).as_posix())
    assert listing == ["codecs/registry.py"]


def test_no_name_of_a_shape_decides() -> None:
    test = re.compile(r"""\bshape\s*(?:==|!=)\s*["']|\bshape\s+(?:not )?in\s*[({\[]\s*["']""")
    for package in ("codecs", "conf", "proxy", "handlers"):
        for path in (HOUSE / package).rglob("*.py"):
            assert not test.search(path.read_text()), path
    assert "toy" not in re.findall(r"[a-z]+", (HOUSE / "codecs" / "registry.py").read_text())
