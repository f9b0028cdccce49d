"""Very many upstream answers that are wrong anywhere, in their events or in their bytes, for each pair of shapes, cut into any reads.

No lane raises anything but the upstream's fault, what a client gets of a translation is a legal stream that ends as the lane says, and
the bytes of an answer that is carried as it came stop between two events.
"""

from __future__ import annotations

import json
import os
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dragoman.codecs import errors
from dragoman.codecs.registry import SHAPES as CODECS
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.tools import Declared, ToolMap
from dragoman.proxy.exchange.lanes import BytesLane, EventsLane, collected, json_object

from ..codecs.fuzzing import bitten, odd, rounds, spoiled
from ..codecs.grammar import GRAMMARS
from ..codecs.recited import STREAMS, WHOLE

pytestmark = pytest.mark.slow

SHAPES = ("chat", "messages", "responses")
PAIRS = [pytest.param(client, upstream, id=f"{upstream}-to-{client}") for client in SHAPES for upstream in SHAPES]
RECITED = {shape: [json.dumps(value) for value in values] for shape, values in STREAMS.items()}
RECITED_WHOLE = {shape: json.dumps(value) for shape, value in WHOLE.items()}


@cache
def recorded(shape: str) -> list[bytes]:
    """Streams of real providers, where DRAGOMAN_CORPUS names a folder of them."""
    folder = os.environ.get("DRAGOMAN_CORPUS")
    found = sorted(Path(folder, "recordings").rglob("*.sse")) if folder else []
    return [path.read_bytes() for path in found if shape in path.parts and path.stat().st_size < 60_000]


def reply(dice: random.Random, client: str, upstream: str) -> Reply:
    tools = ToolMap()
    tools._declared["f"] = Declared("f", "custom", None, emulated=True)
    body = dice.choice([{}, {"stream_options": {"include_usage": True}}, {"include": ["reasoning.encrypted_content"]}])
    echo = dice.choice([None, "alias"])
    return Reply(Request(client, "asked", body, True), tools=tools, echo_model=echo, domain="x", upstream=upstream, request_id="req_1")


def values_of(dice: random.Random, shape: str) -> list[Any]:
    """The events of a recited answer, some lost, doubled, exchanged, out of nowhere, or damaged inside."""
    texts = list(RECITED[shape])
    for _ in range(dice.randint(0, 3)):
        place, other = dice.randrange(len(texts)), dice.randrange(len(texts))
        action = dice.choice(["lose", "double", "exchange", "other", "cut"])
        if action == "lose" and len(texts) > 1:
            del texts[place]
        elif action == "double":
            texts.insert(other, texts[place])
        elif action == "exchange":
            texts[place], texts[other] = texts[other], texts[place]
        elif action == "other":
            texts.insert(place, dice.choice(RECITED[dice.choice(SHAPES)]))
        elif action == "cut" and dice.random() < 0.3:
            del texts[place + 1 :]
    values = [json.loads(text) for text in texts]
    for _ in range(dice.randint(0, 3)):
        place = dice.randrange(len(values))
        values[place] = spoiled(dice, values[place]) if dice.random() < 0.9 else odd(dice)
    return values


def stream_of(dice: random.Random, shape: str) -> bytes:
    recordings = recorded(shape)
    if recordings and dice.random() < 0.2:
        data = dice.choice(recordings)
        return bitten(dice, data)
    end = dice.choice([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
    data = dice.choice([b"", b"", b"", b"\xef\xbb\xbf", b": hello" + end + end])
    for value in values_of(dice, shape):
        name = value.get("type") if shape != "chat" and isinstance(value, dict) else None
        if isinstance(name, str) and "\n" not in name:
            data += b"event: " + name.encode("utf-8", "replace") + end
        data += b"data: " + json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "replace") + end + end
    if dice.random() < 0.7:
        data += b"data: [DONE]" + end + end
    return bitten(dice, data) if dice.random() < 0.4 else data


def reads_of(dice: random.Random, data: bytes) -> list[bytes]:
    longest = dice.choice([3, 50, 500, 5000, len(data) + 1])
    reads, place = [], 0
    while place < len(data):
        size = dice.randint(1, longest)
        reads.append(data[place : place + size])
        place += size
    return reads


def carried(dice: random.Random, lane: BytesLane | EventsLane, reads: list[bytes]) -> bytes:
    """What a client gets of the reads, as an attempt gives it out."""
    out = b""
    try:
        for read in reads:
            out += lane.feed(read)
            if lane.ended:
                break
            if dice.random() < 0.05:
                out += lane.keep_alive()
    except errors.UpstreamFault as fault:
        lane.break_off(fault)
    if not lane.ended:
        if dice.random() < 0.8:
            out += lane.finish(True)
        else:
            lane.break_off(errors.Truncated("It broke off."))
    return out + lane.close()


def play_stream(dice: random.Random, client: str, upstream: str) -> None:
    limit = dice.choice([1 << 20, 1 << 20, 4000])
    said = reply(dice, client, upstream)
    if client == upstream:
        lane = BytesLane(said, client, limit, withhold_usage=client == "chat" and dice.random() < 0.5)
        out = carried(dice, lane, reads_of(dice, stream_of(dice, upstream)))
        assert out.endswith((b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r")) or not out  # a CR may be the end of a line
        if lane._owed:
            assert b"error" in out.split(b"data: ")[-1]
    else:
        events = EventsLane(said, upstream, client, limit)
        out = carried(dice, events, reads_of(dice, stream_of(dice, upstream)))
        assert GRAMMARS[client](out) == ("done" if events.error is None else "error")


def play_whole(dice: random.Random, client: str, upstream: str) -> None:
    body = json.dumps(spoiled(dice, json.loads(RECITED_WHOLE[upstream]), 5)).encode()
    if dice.random() < 0.3:
        body = bitten(dice, body)
    try:
        said = reply(dice, client, upstream)
        found = CODECS[upstream].decode_response(json_object(body), said)
        collector = collected(found, said, client)
    except errors.LocalBug:
        raise
    except errors.GatewayError:
        return
    json.dumps(collector.body())
    lane = EventsLane(reply(dice, client, upstream), upstream, client, 0)
    assert GRAMMARS[client](lane.replay(found) + lane.close()) == "done"


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_many_answers(client: str, upstream: str) -> None:
    def play(dice: random.Random) -> None:
        if client != upstream and dice.random() < 0.2:
            play_whole(dice, client, upstream)
        else:
            play_stream(dice, client, upstream)

    rounds(f"answers {upstream} {client}", len(PAIRS), 100, play)
