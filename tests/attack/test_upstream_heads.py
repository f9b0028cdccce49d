"""Heads of upstreams that are HTTP but make no sense: each becomes an answer that a caller can read, never a traceback."""

from __future__ import annotations

import logging

import orjson
import pytest

from ..gateway.inside import Inside, inside_once
from ..gateway.spoken import APIS, SHAPES, SPEECH
from ..scripted import Provider, Steps

CONFIG = "\n".join(
    [
        "model_providers:",
        *(
            f'  - {{model: "{shape}/*", base_url: "UPSTREAM/{shape}", access_key: k, apis: [{APIS[shape]}],'
            " timeouts: {first_byte: 5s}, retry_policy: {max_attempts: 1}}"
            for shape in SHAPES
        ),
    ]
)

VALUES = {
    "10^30": b"1" + b"0" * 30,
    "10^400": b"1" + b"0" * 400,
    "1e400": b"1e400",
    "nan": b"nan",
    "inf": b"inf",
    "negative": b"-5",
    "a fraction": b"0.0000000001",
    "in other digits": "٣".encode(),
    "a lone surrogate in UTF-8": b"\xed\xa0\x80",
    "bytes of no text": bytes(range(0x80, 0x100)),
    "tabs": b"\t1\t",
    "empty": b"",
    "long": b"9" * 30_000,
    "a date of the year 9999": b"Fri, 31 Dec 9999 23:59:59 GMT",
    "a date of the year 0": b"Sat, 01 Jan 0000 00:00:00 GMT",
    "a date in a zone of its own": b"Fri, 31 Dec 9999 23:59:59 -9999",
    "no date": b"Fri, 99 Foo 99999 99:99:99 GMT",
    "a duration": b"9999999999999999h",
}

# everything that is read of an answer's head
NAMES = [
    *("retry-after", "retry-after-ms", "x-should-retry", "content-type", "x-request-id", "request-id", "openai-processing-ms"),
    *("x-ratelimit-limit-requests", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"),
    *("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    *("connection", "date", "server", "set-cookie", "content-encoding", "x-dragoman-upstream", "cf-ray"),
]


def absurd(status: int, value: bytes, body: bytes) -> bytes:
    fields = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name in NAMES if status != 200 or name not in ("content-encoding",))
    return b"HTTP/1.1 %d Odd\r\nContent-Length: %d\r\n%b\r\n" % (status, len(body), fields) + body


@pytest.mark.parametrize("value", VALUES)
@inside_once
async def test_absurd_values(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """In the head of an error, and in that of an answer; for callers of all shapes."""

    def script(request: object) -> Steps:
        shape = next(name for name in SHAPES if f"/{name}/" in request.target)  # type: ignore[attr-defined]
        status, _, _ = asked[0]
        whole = orjson.dumps(SPEECH[shape].whole)
        given = VALUES[value][: 60_000 // len(NAMES)]
        return [absurd(status, given, whole if status == 200 else b'{"error": {"message": "No.", "type": "x"}}')]

    asked: list[tuple[int, str, str]] = []
    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway:
        for status in (200, 429, 503):
            for client in SHAPES:
                for upstream in SHAPES:
                    asked[:] = [(status, client, upstream)]
                    async with gateway.ask(client, f"{upstream}/m") as caller:
                        found, headers = await caller.head()
                        body = await caller.body(headers)
                    assert found in (status, 502, 529 if status == 503 else 502), (asked, found, body)
                    assert isinstance(orjson.loads(body), dict)
        await gateway.until(lambda: len(gateway.lines) == 3 * len(SHAPES) ** 2)
    assert not [record for record in caplog.records if record.name == "dragoman" and record.levelno >= logging.ERROR]


STATUSES = {
    **{f"status {code}": (b"HTTP/1.1 %b No\r\nContent-Length: 0\r\n\r\n" % code.encode(), 502) for code in ("000", "099", "600", "999")},
    **{
        f"status {code}": (b"HTTP/1.1 %b No\r\nContent-Length: 2\r\n\r\n{}" % code.encode(), None)
        for code in ("201", "299", "400", "499", "599")
    },
    "status 204": (b"HTTP/1.1 204 No\r\n\r\n", 502),
    "status 304": (b"HTTP/1.1 304 No\r\n\r\n", 502),
    "status 301 to itself": (b"HTTP/1.1 301 No\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 502),
    "a flood of 100": (b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, 502),
    "length 10^30": (b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 30 + b"\r\n\r\n{}", 502),
    "a head of a megabyte": (b"HTTP/1.1 200 OK\r\na: " + b"x" * (1 << 20), 502),
}


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("streamed", [True, False])
@inside_once
async def test_absurd_statuses(name: str, streamed: bool, caplog: pytest.LogCaptureFixture) -> None:
    wire, expected = STATUSES[name]
    async with Provider([wire]) as provider, Inside(CONFIG, provider) as gateway:
        for client in SHAPES:
            async with gateway.ask(client, "chat/m", stream=streamed) as caller:
                found, headers = await caller.head()
                assert isinstance(orjson.loads(await caller.body(headers)), dict)
            assert found == expected or (expected is None and 400 <= found <= 599), found
        await gateway.until(lambda: len(gateway.lines) == len(SHAPES))
        assert all(line["error"] for line in gateway.lines)
    assert not [record for record in caplog.records if record.name == "dragoman" and record.levelno >= logging.ERROR]
