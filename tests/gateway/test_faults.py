"""Everything that can go wrong with an upstream, for each pair of shapes, streamed and whole: what the caller's SDK reports.

The model that a caller asks for names the fault: `chat/cut-in-an-event` goes to a chat upstream that cuts its stream in an event.
Faults of the connection have addresses of their own. What is expected: an answer; a refusal (an HTTP status, as long as no content
was given out); or a stream that breaks in the shape's own form, behind the content that had come.
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ..conftest import Start
from ..scripted import (
    LAST_CHUNK,
    Connection,
    Gate,
    Provider,
    Request,
    Step,
    Steps,
    chunk,
    close,
    frames,
    reset,
    respond,
    send,
    sse,
    stream_head,
    until_closed,
)
from .spoken import APIS, SHAPE_AT, SHAPES, SPEECH, TEXT, Judges, Outcome, Speech

LIMIT = 2 * 1024 * 1024  # max_event

# kind: (status, type) for the OpenAI shapes, then for the messages shape
KINDS = {
    "bad_request": ((400, "invalid_request_error"), (400, "invalid_request_error")),
    "auth": ((401, "invalid_request_error"), (401, "authentication_error")),
    "permission": ((403, "invalid_request_error"), (403, "permission_error")),
    "upstream_auth": ((403, "invalid_request_error"), (403, "permission_error")),
    "not_found": ((404, "invalid_request_error"), (404, "not_found_error")),
    "rate_limit": ((429, "rate_limit_error"), (429, "rate_limit_error")),
    "server": ((500, "server_error"), (500, "api_error")),
    "bad_gateway": ((502, "server_error"), (502, "api_error")),
    "overloaded": ((503, "server_error"), (529, "overloaded_error")),
    "timeout": ((504, "server_error"), (504, "timeout_error")),
}


@dataclass(frozen=True)
class Expect:
    """text: what comes before the failure. kind: None for no failure. code: what the OpenAI shapes are told."""

    text: str = ""
    kind: str | None = None
    code: str | None = None

    def outcome(self, client: str) -> Outcome:
        if self.kind is None:
            return Outcome(self.text)
        status, type = KINDS[self.kind][client == "messages"]
        return Outcome(self.text, 200 if self.text else status, type, None if client == "messages" else self.code)


WHOLE = Expect(TEXT)
UNREACHABLE = Expect("", "bad_gateway", "upstream_unreachable")
INTERRUPTED = Expect("", "bad_gateway", "upstream_stream_interrupted")
GARBLED = Expect("", "bad_gateway", "upstream_protocol_error")
TIMEOUT = Expect("", "timeout", "upstream_timeout")
BROKEN = Expect(TEXT, "bad_gateway", "upstream_stream_interrupted")


Script = Callable[[Speech, bool], Steps]  # the upstream's shape, and whether it was asked for a stream


@dataclass(frozen=True)
class Fault:
    """How an upstream answers, and what callers are to see. entry: what is appended to the model entry's prefix."""

    script: Script
    streamed: Expect | None = None  # None: not for streams
    whole: Expect | None = None
    entry: str = ""


class Listening:
    """What a stream's caller has heard so far; a fault that is to come behind the content waits for it."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._gate = Gate()

    def hear(self, text: str) -> None:
        if text == TEXT:
            self._gate.open()

    def wait(self, connection: Connection) -> None:
        connection.wait(self._gate)


LISTENING = Listening()


def after_words(*steps: Any) -> Script:
    """The fault comes behind the content; of a whole answer, in the middle of the body."""

    def script(speech: Speech, streamed: bool) -> Steps:
        return [*(heard(speech) if streamed else half(speech)), *steps]

    return script


def heard(speech: Speech) -> list[Step]:
    """The whole content, which the caller has when the next step comes."""
    return [*frames(*speech.opening, *speech.words), LISTENING.wait]


def before_words(*steps: Any) -> Script:
    return lambda speech, streamed: [*(frames(*speech.opening) if streamed else half(speech)), *steps]


def half(speech: Speech) -> Steps:
    whole = respond(speech.whole)
    return [whole[: len(whole) - 40]]


def always(*steps: Any) -> Script:
    return lambda speech, streamed: steps


def typed(content_type: str | None) -> Script:
    """The right answer under another content type."""
    headers = {} if content_type is None else {"content_type": content_type}

    def script(speech: Speech, streamed: bool) -> Steps:
        if not streamed:
            whole = respond(speech.whole, content_type=content_type or "x")
            return [whole if content_type else whole.replace(b"content-type: x\r\n", b"")]
        head = stream_head(**headers)
        head = head if content_type else head.replace(b"content-type: text/event-stream\r\n", b"")
        return [head, *map(chunk, speech.stream), LAST_CHUNK]

    return script


def one_byte_each(speech: Speech, streamed: bool) -> Steps:
    whole = [*frames(*speech.stream), LAST_CHUNK] if streamed else [respond(speech.whole)]
    return [send(b"".join(whole), 1)]  # type: ignore[arg-type]


def untyped_in_bytes(speech: Speech, streamed: bool) -> Steps:
    """What is under another content type must be known by its first bytes, which come one by one."""
    body = b"\xef\xbb\xbf\n" + b"".join(speech.stream) if streamed else respond(speech.whole).partition(b"\r\n\r\n")[2]
    return [stream_head(content_type="text/plain"), *(chunk(body[at : at + 1]) for at in range(12)), chunk(body[12:]), LAST_CHUNK]


def zipped(speech: Speech, streamed: bool) -> Steps:
    body = gzip.compress(b"".join(speech.stream)) if streamed else gzip.compress(respond(speech.whole).partition(b"\r\n\r\n")[2])
    kind = "text/event-stream" if streamed else "application/json"
    return [respond(body, content_encoding="gzip", content_type=kind)]


def zipped_and_cut(speech: Speech, streamed: bool) -> Steps:
    """In order by HTTP, but the compressed data is not whole: nothing of it is known to be right."""
    head, blank, body = zipped(speech, streamed)[0].partition(b"\r\n\r\n")  # type: ignore[union-attr]
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return [b"\r\n".join(lines) + b"\r\ncontent-length: %d" % (len(body) // 2) + blank + body[: len(body) // 2]]


def large(size: int) -> Script:
    """One event, or one whole answer, of this many letters."""

    def script(speech: Speech, streamed: bool) -> Steps:
        if streamed:
            return [*frames(*speech.opening, speech.word("x" * size), *speech.ending), LAST_CHUNK]
        return [
            respond(respond(speech.whole).partition(b"\r\n\r\n")[2].replace(TEXT.encode(), b"x" * size), content_type="application/json")
        ]

    return script


def bad_json(after: bool) -> Script:
    def script(speech: Speech, streamed: bool) -> Steps:
        if not streamed:
            return [respond(b'{"id": "x", "choices": [', content_type="application/json")]
        said = heard(speech) if after else frames(*speech.opening)
        return [*said, chunk(b'data: {"id": \n\n'), *map(chunk, speech.ending), LAST_CHUNK]

    return script


def not_ended(speech: Speech, streamed: bool) -> Steps:
    """In order by HTTP, but the shape's own end is missing."""
    return [*frames(*speech.opening, *speech.words), LAST_CHUNK] if streamed else [respond({})]


def last_event_open(speech: Speech, streamed: bool) -> Steps:
    """The last event without its blank line."""
    return [*frames(*speech.stream[:-1], speech.stream[-1][:-2]), LAST_CHUNK]


def counted_short(speech: Speech, streamed: bool) -> Steps:
    """Content-Length promises more than comes."""
    body = b"".join([*speech.opening, *speech.words]) if streamed else b'{"id": "x"'
    kind = "text/event-stream" if streamed else "application/json"
    return [respond(body + b" " * 500, content_type=kind)[:-500], close]


PAGE = b"<html><head><title>Sign in</title></head><body><h1>Welcome</h1></body></html>"
SLOW_DOWN = {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}


def error_event(shape: str) -> bytes:
    if shape == "chat":
        return sse({"error": SLOW_DOWN})
    if shape == "messages":
        return sse({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}, "error")
    return sse({"type": "error", "sequence_number": 6, **SLOW_DOWN, "error": SLOW_DOWN}, "error")


def shape_of(speech: Speech) -> str:
    return next(shape for shape in SHAPES if SPEECH[shape] is speech)


def error_in_stream(after: bool) -> Script:
    def script(speech: Speech, streamed: bool) -> Steps:
        return [*(heard(speech) if after else frames(*speech.opening)), chunk(error_event(shape_of(speech))), LAST_CHUNK]

    return script


def error_in_whole(speech: Speech, streamed: bool) -> Steps:
    """An error object with status 200."""
    return [respond(error_body(shape_of(speech), "rate_limit_error", "rate_limit_exceeded"))]


def error_body(shape: str, type: str, code: str | None) -> dict[str, Any]:
    if shape == "messages":
        return {"type": "error", "error": {"type": type, "message": "No."}, "request_id": "req_1"}
    return {"error": {"message": "No.", "type": type, "param": None, "code": code}}


def answered(kind: str, code: str | None = None, **headers: str) -> Script:
    """An HTTP error in the upstream's own words."""

    def script(speech: Speech, streamed: bool) -> Steps:
        shape = shape_of(speech)
        status, type = KINDS[kind][shape == "messages"]
        return [respond(error_body(shape, type, code), status, **headers)]

    return script


def same(expect: Expect) -> dict[str, Expect]:
    return {"streamed": expect, "whole": expect}


RATE_LIMIT = Expect("", "rate_limit", "rate_limit_exceeded")
REFUSED_KEY = Expect("", "upstream_auth", "upstream_auth_failed")

FAULTS: dict[str, Fault] = {
    "none": Fault(lambda speech, streamed: [*frames(*speech.stream), LAST_CHUNK] if streamed else [respond(speech.whole)], **same(WHOLE)),
    # the connection: what the upstream has read is not sent again
    "closed-before-headers": Fault(always(close), **same(UNREACHABLE)),
    "reset-before-headers": Fault(always(reset), **same(UNREACHABLE)),
    "cut-in-headers": Fault(always(b"HTTP/1.1 200 OK\r\nConte", close), **same(INTERRUPTED)),
    "not-http": Fault(always(b"220 mail.example ESMTP\r\n", until_closed), **same(GARBLED)),
    "silent": Fault(always(until_closed), **same(TIMEOUT), entry="-hasty"),
    "silent-after-headers": Fault(always(stream_head(), until_closed), **same(TIMEOUT), entry="-hasty"),
    "silent-before-content": Fault(before_words(until_closed), **same(TIMEOUT), entry="-hasty"),
    "silent-after-content": Fault(after_words(until_closed), Expect(TEXT, "timeout", "upstream_timeout"), entry="-hasty"),
    # the transport breaks
    "reset-before-content": Fault(before_words(reset), **same(INTERRUPTED)),
    "reset-after-content": Fault(after_words(reset), BROKEN),
    "closed-before-content": Fault(before_words(close), **same(INTERRUPTED)),
    "closed-after-content": Fault(after_words(close), BROKEN),
    "cut-in-an-event": Fault(after_words(chunk(b'data: {"id": "x", "cho'), close), BROKEN),
    "cut-in-an-event-in-order": Fault(after_words(chunk(b'data: {"id": "x", "cho'), LAST_CHUNK), BROKEN),
    "cut-in-a-chunk": Fault(after_words(b"fff\r\ndata: {", close), BROKEN),
    "bad-chunk": Fault(after_words(b"xyz\r\n"), Expect(TEXT, "bad_gateway", "upstream_protocol_error")),
    "counted-short": Fault(counted_short, BROKEN, INTERRUPTED),
    # the protocol's own proof is missing
    "not-ended": Fault(not_ended, BROKEN, GARBLED),
    "last-event-open": Fault(last_event_open, WHOLE),
    "no-events": Fault(always(stream_head(), LAST_CHUNK), INTERRUPTED, GARBLED),
    "only-done": Fault(always(*frames(sse("[DONE]")), LAST_CHUNK), INTERRUPTED, GARBLED),
    "empty": Fault(always(respond(b"", content_type="application/json")), **same(GARBLED)),
    "no-content": Fault(always(b"HTTP/1.1 204 No Content\r\n\r\n"), **same(GARBLED)),
    # not what was asked for
    "page": Fault(always(respond(PAGE, content_type="text/html")), **same(GARBLED)),
    "page-without-type": Fault(always(respond(PAGE)), **same(GARBLED)),
    "array": Fault(always(respond([])), **same(GARBLED)),
    "other-object": Fault(always(respond({"hello": "world"})), **same(GARBLED)),
    "bad-json-before-content": Fault(bad_json(False), **same(GARBLED)),
    "bad-json-after-content": Fault(bad_json(True), Expect(TEXT, "bad_gateway", "upstream_protocol_error")),
    "too-large-an-event": Fault(large(LIMIT + 500_000), **same(GARBLED)),
    "large-event": Fault(large(LIMIT - 100_000), **same(Expect("x" * (LIMIT - 100_000)))),
    "one-byte-each": Fault(one_byte_each, **same(WHOLE)),
    "301": Fault(always(respond(b"", 301, location="/stolen")), **same(GARBLED)),
    "302": Fault(always(respond(PAGE, 302, location="//stolen.invalid/v1", content_type="text/html")), **same(GARBLED)),
    "303": Fault(always(respond(b"", 303, location="/stolen")), **same(GARBLED)),
    "307": Fault(always(respond(b"", 307, location="/stolen")), **same(GARBLED)),
    "308": Fault(lambda speech, streamed: [respond(speech.whole, 308, location="/stolen")], **same(GARBLED)),
    "stream-for-a-whole": Fault(lambda speech, streamed: [*frames(*speech.stream), LAST_CHUNK], whole=GARBLED),
    "whole-for-a-stream": Fault(lambda speech, streamed: [respond(speech.whole)], WHOLE),
    "stream-as-text": Fault(typed("text/plain; charset=utf-8"), **same(WHOLE)),
    "stream-as-bytes": Fault(typed("application/octet-stream"), **same(WHOLE)),
    "stream-as-nothing": Fault(typed(None), **same(WHOLE)),
    "whole-as-a-stream-type": Fault(lambda speech, streamed: [respond(speech.whole, content_type="text/plain")], WHOLE),
    "stream-as-text-in-bytes": Fault(untyped_in_bytes, **same(WHOLE)),
    "gzip": Fault(zipped, **same(WHOLE)),
    "gzip-cut": Fault(zipped_and_cut, **same(INTERRUPTED)),
    "gzip-in-name-only": Fault(lambda speech, streamed: [respond(speech.whole, content_encoding="gzip")], **same(GARBLED)),
    "brotli": Fault(always(respond(b"\x0b\x02\x80", content_encoding="br")), **same(GARBLED)),
    # errors in the provider's own words
    "error-at-once": Fault(lambda speech, streamed: [stream_head(), chunk(error_event(shape_of(speech))), LAST_CHUNK], RATE_LIMIT),
    "error-first": Fault(error_in_stream(False), RATE_LIMIT),
    "error-later": Fault(error_in_stream(True), Expect(TEXT, "rate_limit", "rate_limit_exceeded")),
    "error-with-200": Fault(error_in_whole, **same(RATE_LIMIT)),
    "400": Fault(answered("bad_request"), **same(Expect("", "bad_request"))),
    "401": Fault(answered("auth", "invalid_api_key"), **same(REFUSED_KEY)),
    "403": Fault(answered("permission", "permission_denied"), **same(REFUSED_KEY)),
    "401-own": Fault(answered("auth", "invalid_api_key"), **same(Expect("", "auth", "invalid_api_key")), entry="-own"),
    "403-own": Fault(answered("permission", "permission_denied"), **same(Expect("", "permission", "permission_denied")), entry="-own"),
    "404": Fault(answered("not_found"), **same(Expect("", "not_found"))),
    "429": Fault(answered("rate_limit", "rate_limit_exceeded", retry_after="7"), **same(RATE_LIMIT)),
    "page-500": Fault(always(respond(PAGE, 500, content_type="text/html")), **same(Expect("", "server"))),
    "500-with-nothing": Fault(always(respond(b"", 500)), **same(Expect("", "server"))),
    "502-cut": Fault(always(respond(PAGE, 502, content_type="text/html")[:-20], close), **same(INTERRUPTED)),
    "500": Fault(answered("server"), **same(Expect("", "server"))),
    "overloaded": Fault(answered("overloaded", "overloaded"), **same(Expect("", "overloaded", "overloaded"))),
}

# without a word of the upstream's own: no request reaches it
ADDRESSES = {
    "refused": "http://127.0.0.1:CLOSED/v1",
    "no-such-host": "http://no..host/v1",
    "no-tls": "https://127.0.0.1:PLAIN/v1",
    "not-trusted": "https://localhost:SECURE/v1",
}


def configuration(addresses: dict[str, str]) -> str:
    """One entry a shape for each address, each with the timeouts and the credential that its faults are about."""
    lines = ["listeners: [{type: model, address: 127.0.0.1, port: PORT}]", f"limits: {{max_event: {LIMIT}B}}", "model_providers:"]
    hasty = "timeouts: {first_byte: 100ms, idle: 100ms}"
    for shape in SHAPES:
        shared = f"apis: [{APIS[shape]}], provider_interface: openai"
        for suffix, address, more in [
            ("", addresses["provider"], "access_key: sk-upstream"),
            ("-hasty", addresses["provider"], f"access_key: sk-upstream, {hasty}"),
            ("-own", addresses["provider"], "passthrough_auth: true"),
            *((f"-{name}", addresses[name], "access_key: sk-upstream") for name in ADDRESSES),
        ]:
            lines.append(f'  - {{model: "{shape}{suffix}/*", base_url: "{address}", {shared}, {more}}}')
    return "\n".join(lines)


def script(request: Request) -> Steps:
    return FAULTS[request.json["model"]].script(SPEECH[SHAPE_AT[request.target]], bool(request.json.get("stream")))


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(script) as running:
        yield running
        assert not [request.target for request in running.requests if "stolen" in request.target]


@pytest.fixture(scope="module")
def judges(start_session: Start, provider: Provider, untrusted: Provider, plain: Provider) -> Iterator[Judges]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    ports = {"CLOSED": closed, "PLAIN": plain.port, "SECURE": untrusted.port}
    addresses = {"provider": f"{provider.url}/v1"}
    for name, address in ADDRESSES.items():
        for word, port in ports.items():
            address = address.replace(word, str(port))
        addresses[name] = address
    gateway = start_session(configuration(addresses))
    asking = Judges(gateway.url)
    yield asking
    asking.close()
    assert "traceback" not in gateway.log().lower()


@pytest.fixture(scope="module")
def untrusted() -> Iterator[Provider]:
    """A provider with a certificate that nobody vouches for."""
    from ..scripted import tls_contexts

    with Provider([], tls=tls_contexts()[0]) as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Provider]:
    """A server that knows no TLS, and says so."""
    with Provider([], on_connect=[b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", close]) as running:
        yield running


PAIRS = [pytest.param(client, upstream, id=f"{client}-to-{upstream}") for client in SHAPES for upstream in SHAPES]
CASES = [
    pytest.param(name, streamed, id=f"{name}-{'streamed' if streamed else 'whole'}")
    for name, fault in FAULTS.items()
    for streamed in (True, False)
    if (fault.streamed if streamed else fault.whole) is not None
]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@pytest.mark.parametrize(("name", "streamed"), CASES)
def test_fault(judges: Judges, provider: Provider, name: str, streamed: bool, client: str, upstream: str) -> None:
    fault = FAULTS[name]
    before = len(provider.requests)
    expected = fault.streamed if streamed else fault.whole
    assert expected is not None
    LISTENING.begin()
    outcome = judges.ask(client, f"{upstream}{fault.entry}/{name}", streamed=streamed, heard=LISTENING.hear)
    assert outcome == expected.outcome(client)
    provider.wait_for(lambda: len(provider.requests) > before)  # a hasty caller may be gone before it is read
    assert len(provider.requests) == before + 1
    if name == "429":
        assert outcome.headers["retry-after"] == "7"
    if client == "responses" and outcome.status == 200:
        assert "response.failed" in outcome.events or client == upstream


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", ADDRESSES)
def test_no_connection(judges: Judges, provider: Provider, name: str, streamed: bool, client: str, upstream: str) -> None:
    before = len(provider.requests)
    outcome = judges.ask(client, f"{upstream}-{name}/m", streamed=streamed)
    assert outcome == UNREACHABLE.outcome(client)
    assert len(provider.requests) == before
