"""What an upstream or a caller says stands in no log line, and the operator's key in no answer, whatever an upstream sends back."""

from __future__ import annotations

import base64
import itertools
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from ..conftest import Running, Start
from ..gateway.spoken import PATHS, SHAPES, SPEECH
from ..gateway.wire import ask, request
from ..scripted import LAST_CHUNK, Provider, Request, Step, Steps, chunk, close, respond, sse, stream_head

KEY = f"sk-upstream/{secrets.token_hex(12)}+x="
CALLER = f"caller-{secrets.token_hex(12)}"
PROMPT = "kumquat-of-the-prompt"
ANSWER = "persimmon-of-the-answer"

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers:
  - {model: chat/*, base_url: "UPSTREAM/v1", access_key: $KEY, apis: [chat_completions]}
  - {model: messages/*, base_url: "UPSTREAM/v1", access_key: $KEY, apis: [messages]}
  - {model: responses/*, base_url: "UPSTREAM/v1", access_key: $KEY, apis: [responses]}
access_keys: [{key: $CALLER}]
"""


def repeated(request: Request) -> bytes:
    """What a careless upstream repeats: the credential in many forms, the request, and its answer."""
    key, escaped = KEY.encode(), quote(KEY, safe="").encode()
    forms = [key, base64.b64encode(key), base64.b64encode(b"u:" + key), escaped, re.sub(b"%..", lambda found: found[0].lower(), escaped)]
    return b" ".join([*forms, CALLER.encode(), PROMPT.encode(), ANSWER.encode()])


def words(request: Request) -> str:
    return repeated(request).decode()


# what an upstream answers with
Answer = Callable[[Request], list[Step]]
FAILURES: dict[str, Answer] = {
    **{
        f"a {status} with words": lambda request, status=status: [respond({"error": {"message": words(request), "type": "odd"}}, status)]
        for status in (400, 401, 402, 403, 404, 413, 422, 429, 500, 503, 529)
    },
    "a page": lambda request: [respond(b"<html>" + repeated(request), 502, content_type="text/html")],
    "a text": lambda request: [respond(repeated(request), 500, content_type="text/plain")],
    "a code that is a text": lambda request: [respond({"error": {"message": "m", "type": words(request), "code": words(request)}}, 400)],
    "a 200 that is an error": lambda request: [respond({"error": {"message": words(request)}})],
    "a list of details": lambda request: [respond({"detail": [{"loc": ["body"], "msg": words(request)}]}, 422)],
    "no JSON": lambda request: [respond(repeated(request))],
    "half of a JSON": lambda request: [respond(b'{"choices": "' + repeated(request))],
    "another JSON": lambda request: [respond({words(request): words(request)})],
    "another type": lambda request: [respond([words(request)])],
    "a stream of no JSON": lambda request: [stream_head(), chunk(b"data: " + repeated(request) + b"\n\n"), LAST_CHUNK],
    "a stream of half a JSON": lambda request: [stream_head(), chunk(b'data: {"choices": "' + repeated(request) + b"\n\n"), LAST_CHUNK],
    "a stream with an error": lambda request: [stream_head(), chunk(sse({"error": {"message": words(request)}})), LAST_CHUNK],
    "a stream of text": lambda request: [respond(repeated(request), content_type="text/event-stream")],
    "a stream that is none": lambda request: [respond(repeated(request), content_type="text/plain")],
    "a redirect": lambda request: [respond(repeated(request), 302, location=f"http://127.0.0.1:1/{PROMPT}?{quote(KEY, safe='')}")],
    "no HTTP": lambda request: [repeated(request) + b"\r\n\r\n", close],
    "a status line of words": lambda request: [b"HTTP/1.1 200 " + repeated(request) + b"\r\nX\r\n\r\n", close],
    "a header of words": lambda request: [b"HTTP/1.1 200 OK\r\n" + repeated(request) + b"\r\n\r\n", close],
    "a length of words": lambda request: [b"HTTP/1.1 200 OK\r\nContent-Length: " + repeated(request) + b"\r\n\r\n", close],
    "a chunk of words": lambda request: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + repeated(request) + b"\r\n", close],
    "a coding of words": lambda request: [respond(b"x", content_encoding=PROMPT)],
}
GOOD = "a good answer that breaks off"
FAILURES[GOOD] = lambda request: [stream_head(), chunk(SPEECH["chat"].opening[0]), chunk(SPEECH["chat"].word(ANSWER)), close]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    def answer(request: Request) -> Steps:
        name = orjson.loads(request.body)["model"].replace("_", " ")
        return FAILURES[name](request)

    with Provider(answer) as provider:
        yield provider


@pytest.fixture(scope="module", params=["json", "text"])
def gateway(request: pytest.FixtureRequest, start_session: Start, provider: Provider) -> Running:
    config = CONFIG.replace("UPSTREAM", provider.url)
    return start_session(config, "--log-format", request.param, KEY=KEY, CALLER=CALLER)


def asked(shape: str, model: str, stream: bool) -> bytes:
    question = [{"role": "user", "content": PROMPT}]
    members: dict[str, Any] = {"input": question} if shape == "responses" else {"messages": question, "max_tokens": 10}
    body = {"model": model, "stream": stream, **members}
    return request(PATHS[shape], body, authorization=f"Bearer {CALLER}")


def test_nothing_that_was_said_is_in_the_log_and_no_key_in_an_answer(gateway: Running) -> None:
    for (client, upstream), name, stream in itertools.product(pairs(), FAILURES, (False, True)):
        model = f"{upstream}/{name.replace(' ', '_')}"
        seen = said(gateway, asked(client, model, stream))
        for secret in (KEY, base64.b64encode(KEY.encode()).decode()[4:20], quote(KEY, safe="")):
            assert secret.lower().encode() not in seen.lower(), (client, upstream, name, stream)
    for path in ("/v1/embeddings", "/v1/completions"):
        for name in ("a 400 with words", "a 401 with words", "a text", "a page"):
            seen = said(
                gateway, request(path, {"model": f"chat/{name.replace(' ', '_')}", "input": PROMPT}, authorization=f"Bearer {CALLER}")
            )
            assert KEY.encode() not in seen, (path, name)
    log = gateway.log()
    assert "Traceback" not in log
    for secret in (KEY, CALLER, PROMPT, ANSWER, base64.b64encode(KEY.encode()).decode()[4:20], quote(KEY, safe="")):
        assert secret not in log
    gateway.stop()
    assert PROMPT not in gateway.log()


def pairs() -> list[tuple[str, str]]:
    """Each shape with itself, and with the next: both lanes."""
    return [(shape, other) for index, shape in enumerate(SHAPES) for other in (shape, SHAPES[(index + 1) % len(SHAPES)])]


def said(gateway: Running, data: bytes) -> bytes:
    """The body of the answer; what came of one that was cut."""
    try:
        answer = ask(gateway.port, data)
    except EOFError as error:
        return bytes(error.args[0])
    return answer.body + repr(answer.headers).encode()
