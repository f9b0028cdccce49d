"""What one streamed text delta costs in the codecs, from the bytes of the upstream to the client's frame, in each direction.

    python -m tests.load.codecs

Each read holds one delta, as in a paced stream. Beside the microseconds stands the ratio to `orjson.loads` and `orjson.dumps` of
the same delta, measured in the same turn: that holds on another machine, and on a busy one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any, NamedTuple

import orjson

from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.sse import Splitter

from . import shapes

DIRECTIONS = tuple(permutations(SHAPES, 2))  # (upstream, client)
DELTAS = 400
ROUNDS = 15


class Cost(NamedTuple):
    """us: microseconds for each delta. ratio: to reading and writing its JSON."""

    us: float
    ratio: float


def pipe(upstream: str, client: str) -> Callable[[bytes], bytes]:
    """From the upstream's bytes to the client's, as an exchange has it."""
    reply = Reply(Request(client, "load", {}, True))
    split = Splitter().feed
    decode = SHAPES[upstream].Decoder(reply).feed
    encode, framing = SHAPES[client].Encoder(reply).feed, SHAPES[client].framing
    before, between, after = framing.before, framing.between, framing.after

    def feed(data: bytes) -> bytes:
        came = split(data)
        found = decode(came[0]) if len(came) == 1 else [event for frame in came for event in decode(frame)]
        frames = encode(found)
        if len(frames) != 1:
            return framing.join(frames)
        name, text = frames[0]
        return b"".join((before, name, between, text, after))

    return feed


def opened(upstream: str, client: str) -> tuple[Callable[[bytes], bytes], list[bytes]]:
    """A stream whose text has begun, and the reads to come."""
    wire = shapes.WIRES[upstream]
    feed = pipe(upstream, client)
    for frame in [*wire.first(), wire.delta(0, shapes.WORD)]:
        feed(frame)
    return feed, [wire.delta(1 + number, shapes.WORD) for number in range(DELTAS)]


def _seconds(function: Callable[[bytes], Any], reads: list[bytes]) -> float:
    begun = time.process_time_ns()
    for data in reads:
        function(data)
    return (time.process_time_ns() - begun) / 1e9 / len(reads)


def _json_only(read: bytes) -> bytes:
    return orjson.dumps(orjson.loads(read))


def measure(upstream: str, client: str, rounds: int = ROUNDS) -> Cost:
    """Medians over the rounds, each with a stream of its own."""
    times, ratios = [], []
    for _ in range(rounds):
        feed, reads = opened(upstream, client)
        bodies = [read.partition(b"data: ")[2] for read in reads]
        floor = _seconds(_json_only, bodies)
        took = _seconds(feed, reads)
        times.append(took)
        ratios.append(took / floor)
    return Cost(statistics.median(times) * 1e6, statistics.median(ratios))


def table() -> Iterator[str]:
    yield "| upstream → client | µs a delta | × JSON alone |"
    yield "|---|---|---|"
    for upstream, client in DIRECTIONS:
        cost = measure(upstream, client)
        yield f"| {upstream} → {client} | {cost.us:.2f} | {cost.ratio:.1f} |"


if __name__ == "__main__":
    for line in table():
        print(line, flush=True)
