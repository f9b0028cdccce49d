"""Compressed request bodies: what they become, and what bombs, broken data and leaving callers can do with them."""

from __future__ import annotations

import gzip
import random
import zlib
from typing import Any

import orjson
import pytest

from dragoman.proxy.wire import bodies, codings

from ..gateway.inside import CONFIG, Caller, Inside, inside_once
from ..gateway.spoken import ASKED, PATHS, SHAPES, SPEECH
from ..gateway.wire import request
from ..proxy.test_codings import BLOCK, EMPTY_FRAME, MB, gzip_bomb, raw, repeated
from ..scripted import Provider, respond

NOWHERE = CONFIG.replace("UPSTREAM", "http://127.0.0.1:9")
UNREACHABLE = NOWHERE + "\nlimits: {max_body: 1MB, max_bodies: 4MB}"
WITH_ZSTD = "zstd" in codings.accepted()


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


CODERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "GZIP": gzip.compress, "deflate": zlib.compress, "Deflate": raw_deflate}
if WITH_ZSTD:
    CODERS["zstd"] = raw
EVERYWHERE = [
    *PATHS.values(),
    "/v1/embeddings",
    "/v1/messages/count_tokens",
    "/v1/responses/input_tokens",
    "/v1/responses/compact",
    "/v1/conversations",
    "/openai/deployments/m/chat/completions",
    "/v1beta/models/nobody:generateContent",
    "/v1beta/models/nobody:countTokens",
    "/v1/files",
    "/v1/messages/batches",
    "/v1/vector_stores",
]


async def answered(caller: Caller) -> tuple[int, Any]:
    status, headers = await caller.head()
    body = await caller.body(headers)
    return status, orjson.loads(body) if body else None


def coded(path: str, coding: str, body: bytes, framing: str = "length") -> bytes:
    head, _, _ = request(path, body, content_encoding=coding).partition(b"\r\n\r\n")
    if framing == "length":
        return head + b"\r\n\r\n" + body
    head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    chunks = [body[at : at + 5000] for at in range(0, len(body), 5000)]
    return head + b"\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


# ---- what they become ----


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("coding", CODERS)
@inside_once
async def test_the_upstream_gets_the_plain_body(coding: str, framing: str) -> None:
    for shape in SHAPES:
        body = orjson.dumps({"model": f"{shape}/m", **ASKED[shape]})
        with Provider([respond(SPEECH[shape].whole)]) as provider:
            async with Inside(CONFIG, provider) as gateway:
                async with gateway.call(coded(PATHS[shape], coding, CODERS[coding](body), framing)) as caller:
                    assert (await answered(caller))[0] == 200
                async with gateway.call(request(PATHS[shape], body)) as caller:
                    assert (await answered(caller))[0] == 200
                await gateway.until(lambda: not gateway.gateway.bodies.held)
            compressed, plain = provider.requests
            assert compressed.body == plain.body
            assert "content-encoding" not in {name.lower() for name in compressed.headers}


@inside_once
async def test_a_byte_at_a_time() -> None:
    body = orjson.dumps({"model": "chat/m", **ASKED["chat"]})
    for coding, coder in CODERS.items():
        sent = coded(PATHS["chat"], coding, coder(body))
        head = sent.index(b"\r\n\r\n") + 4
        with Provider([respond(SPEECH["chat"].whole)]) as provider:
            async with Inside(CONFIG, provider) as gateway, gateway.call(sent[:head]) as caller:
                for at in range(head, len(sent)):
                    caller.writer.write(sent[at : at + 1])
                    await caller.writer.drain()
                assert (await answered(caller))[0] == 200
            assert orjson.loads(provider.requests[0].body)["messages"] == ASKED["chat"]["messages"]


@pytest.mark.parametrize("path", EVERYWHERE)
@inside_once
async def test_every_path_takes_them(path: str) -> None:
    """Each says the same of a compressed body as of the plain one."""
    body = b'{"model": "nobody", "metadata": 7}'
    async with Inside(UNREACHABLE) as gateway:
        async with gateway.call(request(path, body)) as caller:
            status, plain = await answered(caller)
        assert status in (400, 404)
        for coding, coder in CODERS.items():
            async with gateway.call(coded(path, coding, coder(body))) as caller:
                again, value = await answered(caller)
            assert (again, value["error"]["message"]) == (status, plain["error"]["message"])
        await gateway.until(lambda: not gateway.gateway.bodies.held and gateway.idle)


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "gzip, identity, deflate", "aws-chunked", "identity,", "x" * 5000])
@pytest.mark.parametrize("path", EVERYWHERE)
@inside_once
async def test_other_codings_are_refused(path: str, coding: str) -> None:
    """Before the body is read, and with the ones that are accepted."""
    async with Inside(UNREACHABLE) as gateway, gateway.call(coded(path, coding, b"x" * 100)[:-50]) as caller:
        status, headers = await caller.head()
        value = orjson.loads(await caller.body(headers))
        assert status == 415
        assert headers["accept-encoding"] == ", ".join(codings.accepted())
        assert (value["error"].get("type") or value["error"]["status"]).lower() in ("invalid_request_error", "invalid_argument")
        assert len(str(value)) < 1000
        assert not gateway.gateway.bodies.held


@inside_once
async def test_identity_and_plain_bodies_pass_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codings, "decoder", lambda coding, members: pytest.fail("a decoder was made"))
    body = orjson.dumps({"model": "chat/m", **ASKED["chat"]})
    async with Provider([respond(SPEECH["chat"].whole)]) as provider, Inside(CONFIG, provider) as gateway:
        for headers in ({}, {"content_encoding": "identity"}, {"content_encoding": "Identity"}, {"content_encoding": ""}):
            async with gateway.call(request(PATHS["chat"], body, **headers)) as caller:
                assert (await answered(caller))[0] == 200


# ---- bounds ----

BOMBS = [("gzip", gzip_bomb(64 * MB)), ("deflate", zlib.compress(bytes(64 * MB), 9))]
TWICE = [("gzip", gzip.compress(b" " * (MB + 1))), ("deflate", zlib.compress(b" " * (MB + 1)))]
if WITH_ZSTD:
    BOMBS.append(("zstd", repeated(64 * MB // BLOCK)))
    TWICE.append(("zstd", repeated(9)))


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("coding", "bomb"), BOMBS + TWICE, ids=[f"{coding}-{len(bomb)}" for coding, bomb in BOMBS + TWICE])
@inside_once
async def test_a_bomb_is_too_large(monkeypatch: pytest.MonkeyPatch, coding: str, bomb: bytes, framing: str) -> None:
    """No more of it is decoded than the limit, and a piece."""
    decoded = 0
    feed = bodies.Incoming.feed

    def counted(self: bodies.Incoming, data: bytes) -> None:
        nonlocal decoded
        decoded += 0 if self.drops else len(data)
        feed(self, data)

    monkeypatch.setattr(bodies.Incoming, "feed", counted)
    async with Inside(UNREACHABLE) as gateway:
        for path in (PATHS["messages"], "/v1/embeddings", "/v1/conversations"):
            decoded = 0
            async with gateway.call(coded(path, coding, bomb, framing)) as caller:
                status, value = await answered(caller)
            assert status == 413
            assert "1048576 bytes" in value["error"]["message"]
            assert decoded <= MB + codings.PIECE
        await gateway.until(lambda: not gateway.gateway.bodies.held and gateway.idle)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@inside_once
async def test_the_limit_is_of_the_plain_body(coding: str) -> None:
    """As large as it may be, and hard to compress: what waits to be decoded is not added."""
    letters = random.Random(1).randbytes(MB // 2).hex().encode()
    body = b'{"model":"nobody","a":"' + letters[: MB - 25] + b'"}'
    assert len(body) == MB
    async with Inside(UNREACHABLE) as gateway:
        async with gateway.call(coded(PATHS["chat"], coding, CODERS[coding](body))) as caller:
            assert (await answered(caller))[0] == 404
        async with gateway.call(coded(PATHS["chat"], coding, CODERS[coding](body + b" "))) as caller:
            assert (await answered(caller))[0] == 413
        await gateway.until(lambda: not gateway.gateway.bodies.held)


@inside_once
async def test_all_bodies_together_are_bounded_decoded() -> None:
    """Two that wait for their last byte; the third is told to come back, and there is room again when they have left."""
    body = gzip.compress(b'{"a":"' + b"x" * (MB - 5000))
    config = UNREACHABLE.replace("max_bodies: 4MB", "max_bodies: 2MB")
    async with Inside(config) as gateway:
        sent = coded(PATHS["chat"], "gzip", body)[:-1]
        async with gateway.call(sent), gateway.call(sent):
            await gateway.until(lambda: gateway.gateway.bodies.held > 2 * MB - 11_000)
            async with gateway.call(coded(PATHS["chat"], "gzip", body)) as caller:
                assert (await answered(caller))[0] == 503
        await gateway.until(lambda: not gateway.gateway.bodies.held and gateway.idle)
        async with gateway.call(coded(PATHS["chat"], "gzip", body)) as caller:
            assert (await answered(caller))[0] == 400


BROKEN = [
    ("gzip", b"plain text, and more of it"),
    ("gzip", gzip.compress(b"{}")[:-3]),
    ("gzip", gzip.compress(b"{}") + b"more"),
    ("gzip", gzip.compress(b"{}", mtime=0) + b"\x1f"),
    ("gzip", b"\x1f"),
    ("gzip", gzip.compress(b"") * (bodies.MEMBERS + 1)),
    ("gzip", gzip.compress(b"") * 50_000),
    ("deflate", b"plain text"),
    ("deflate", zlib.compress(b"{}") + b"{}"),
    ("deflate", zlib.compress(b"{}" * 1000)[:-9]),
]
if WITH_ZSTD:
    BROKEN += [("zstd", b"plain text"), ("zstd", raw(b"{}")[:-1]), ("zstd", EMPTY_FRAME * 100 + b"("), ("zstd", repeated(1, 27))]


@pytest.mark.parametrize(("coding", "body"), BROKEN, ids=[f"{coding}-{len(body)}-{body[-4:].hex()}" for coding, body in BROKEN])
@inside_once
async def test_broken_data_is_the_callers_fault(coding: str, body: bytes) -> None:
    async with Inside(UNREACHABLE) as gateway:
        for path in (PATHS["chat"], "/v1/conversations"):
            async with gateway.call(coded(path, coding, body)) as caller:
                status, value = await answered(caller)
            assert status == 400
            assert coding in value["error"]["message"]
            assert "upstream" not in value["error"]["message"]
        await gateway.until(lambda: not gateway.gateway.bodies.held and gateway.idle)


@inside_once
async def test_a_body_in_a_thousand_members() -> None:
    letters = b'{"model": "nobody"}' + b" " * (bodies.MEMBERS - 19)
    body = b"".join(gzip.compress(letters[at : at + 1]) for at in range(len(letters)))
    async with Inside(UNREACHABLE) as gateway, gateway.call(coded(PATHS["chat"], "gzip", body)) as caller:
        assert (await answered(caller))[0] == 404


# ---- turns of the loop ----


@inside_once
async def test_no_read_decodes_more_than_a_few_pieces() -> None:
    """What is left is decoded in steps, between which others are served."""
    counter = bodies.Bodies(512 * MB)
    incoming = bodies.Coded(counter, 64 * MB, "gzip")
    bomb = gzip_bomb(32 * MB)
    incoming.feed(bomb)
    assert incoming._size <= bodies.PIECES * codings.PIECE
    before, steps = incoming._size, 0
    for _ in incoming.rest():
        assert incoming._size - before <= codings.PIECE
        before = incoming._size
        steps += 1
    assert steps >= 32 * MB // codings.PIECE - bodies.PIECES
    assert counter.held == 32 * MB  # the compressed bytes do not count any more
    assert incoming.take() == bytes(32 * MB)
    incoming.release()
    assert not counter.held


@inside_once
async def test_others_are_served_while_a_bomb_is_decoded() -> None:
    async with Inside(NOWHERE) as gateway, gateway.call(coded("/v1/embeddings", "gzip", gzip_bomb(60 * MB))) as caller:
        await gateway.until(lambda: gateway.gateway.bodies.held > MB)
        async with gateway.call(request("/healthz", method="GET")) as other:
            assert (await answered(other))[0] == 200
        assert gateway.gateway.bodies.held < 60 * MB  # it is not over yet
        assert (await answered(caller))[0] == 400


@inside_once
async def test_who_leaves_while_it_is_decoded_stops_it() -> None:
    async with Inside(NOWHERE) as gateway:
        async with gateway.call(coded("/v1/embeddings", "gzip", gzip_bomb(60 * MB))):
            await gateway.until(lambda: gateway.gateway.bodies.held > MB)
        await gateway.until(lambda: not gateway.gateway.bodies.held and gateway.idle)
        async with gateway.call(coded("/v1/embeddings", "gzip", gzip_bomb(60 * MB)[:-100])):
            await gateway.until(lambda: gateway.gateway.bodies.held > MB)
        await gateway.until(lambda: not gateway.gateway.bodies.held and gateway.idle)


@inside_once
async def test_nothing_is_decoded_for_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codings.Inflater, "feed", lambda self, data: pytest.fail("decoded"))
    async with Inside(UNREACHABLE + "\naccess_keys: [{key: right}]") as gateway:
        for _, bomb in BOMBS[:1]:
            async with gateway.call(coded(PATHS["chat"], "gzip", bomb)) as caller:
                assert (await answered(caller))[0] == 401
        assert not gateway.gateway.bodies.held
