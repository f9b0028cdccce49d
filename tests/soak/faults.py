"""What an upstream does with one request: a table of faults, played on an answer that would have been good.

Each fault is a function of that answer and a source of chance; it gives the steps that are played on the connection, and says whether
what they bring may be taken for a whole answer. After the last step the connection is kept, unless a step ended it.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ..gateway.talk import LAST, Said
from ..scripted import LAST_CHUNK, chunk, respond, sse, stream_head

HANG, CLOSE, RESET = "hang", "close", "reset"  # until the gateway closes; and two ways to end the connection
Step = bytes | float | str  # a float is a pause in seconds
Chance = random.Random

APIS = {"/chat/completions": "chat/completions", "/messages": "messages", "/responses": "responses"}
PAGE = b"<html><h1>Welcome to nginx!</h1></html>"
STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 429, 429, 429, 500, 500, 502, 503, 503, 504, 529)
CALLS = [("call_1", "look", '{"at":"the moon"}'), ("call_2", "listen", '{"seconds":3,"to":["a","b"]}')]


@dataclass(frozen=True)
class Content:
    """What a caller learns from an answer: of a model text, calls and why it ended; of any other operation the bytes."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()  # name and arguments, these as sorted JSON
    stop: str = ""
    data: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """A good answer in pieces. proof: how many of the last pieces prove that it is whole. end: of the body's framing.

    opaque: nobody between looks into the bytes. counted: the head says the length.
    """

    content: Content
    head: bytes
    pieces: list[bytes]
    end: bytes = b""
    proof: int = 1
    opaque: bool = False
    api: str = ""
    stream: bool = False

    @property
    def counted(self) -> bool:
        return not self.end


@dataclass(frozen=True)
class Played:
    """steps; content: what a caller may take for a whole answer of it, None: nothing. status: of its head; 0: none that is read."""

    steps: list[Step]
    content: Content | None = None
    status: int = 0
    good: bool = False  # nothing was wrong with it
    fault: str = field(default="", compare=False)


# ---- good answers ----


def size(chance: Chance) -> int:
    """Words of an answer: few as a rule, now and then a flood."""
    kind = chance.random()
    return chance.randint(1, 60) if kind < 0.95 else chance.randint(1_000, 5_000) if kind < 0.996 else chance.randint(20_000, 60_000)


def said(mark: str, api: str, chance: Chance) -> Said:
    """mark: makes the answer one of its own."""
    text = " ".join([f"Reply {mark}:", *(f"w{number}" for number in range(size(chance)))])
    calls = CALLS[: chance.choice((0, 0, 0, 1, 2))]
    thinking = "I think so." if chance.random() < 0.2 else ""
    cut = api != "responses" and not calls and chance.random() < 0.1
    return Said(text=text, calls=calls, thinking=thinking, id=mark, cut=cut)


def content_of(words: Said) -> Content:
    calls = tuple((name, canonical(arguments)) for _, name, arguments in words.calls)
    return Content(words.text, calls, "length" if words.cut else "tool" if words.calls else "stop")


def canonical(arguments: str) -> str:
    return orjson.dumps(orjson.loads(arguments), option=orjson.OPT_SORT_KEYS).decode()


def good(path: str, body: dict[str, Any], mark: str, chance: Chance) -> Answer:
    """path: without /v1. body: of the request, {} when it is no JSON."""
    stream = bool(body.get("stream"))
    if path not in APIS:
        return _raw(path, stream, mark, chance)
    api, model = APIS[path], body["model"]
    words = said(mark, api, chance)
    if stream:
        pieces = [chunk(event) for event in words.events(api, model)]
        return Answer(content_of(words), stream_head(), pieces, LAST_CHUNK, LAST[api], api=api, stream=True)
    whole = orjson.dumps(words.whole(api, model))
    return Answer(content_of(words), *_counted(whole, "application/json", chance), api=api)


def _raw(path: str, stream: bool, mark: str, chance: Chance) -> Answer:
    if path == "/audio/speech":
        sound = chance.randbytes(chance.randint(1, 200_000))
        parts = [sound[at : at + 20_000] for at in range(0, len(sound), 20_000)]
        head = stream_head(content_type="audio/mpeg")
        return Answer(Content(data=sound), head, [chunk(part) for part in parts], LAST_CHUNK, opaque=True)
    if stream:
        events = [sse({"id": mark, "choices": [{"text": f"w{n}", "index": 0}]}) for n in range(chance.randint(1, 30))]
        events.append(sse("[DONE]"))
        return Answer(Content(data=b"".join(events)), stream_head(), [chunk(event) for event in events], LAST_CHUNK, opaque=True)
    found = {"id": mark, "object": "list", "data": [{"index": 0, "embedding": [0.5] * chance.randint(1, 2000)}], "input_tokens": 12}
    data = orjson.dumps(found | {"usage": {"prompt_tokens": 12, "total_tokens": 12}})
    return Answer(Content(data=data), *_counted(data, "application/json", chance), opaque=True)


def _counted(data: bytes, kind: str, chance: Chance) -> tuple[bytes, list[bytes]]:
    head = respond(data, content_type=kind)[: -len(data)]
    at = chance.randrange(len(data))
    return head, [piece for piece in (data[:at], data[at:]) if piece]


# ---- faults ----


def _all(answer: Answer) -> list[Step]:
    return [answer.head, *answer.pieces, answer.end]


def fine(answer: Answer, chance: Chance) -> Played:
    return Played(_all(answer), answer.content, 200, True)


def slow(answer: Answer, chance: Chance) -> Played:
    """Pauses between the pieces, of two seconds together at most."""
    pieces: list[Step] = []
    for piece in answer.pieces:
        pieces += [min(0.1, 2 / len(answer.pieces)) * chance.random(), piece]
    return Played([chance.random() / 2, answer.head, *pieces, answer.end], answer.content, 200, True)


def dribbled(answer: Answer, chance: Chance) -> Played:
    """In single bytes, as long as there are few."""
    data = b"".join(step for step in _all(answer) if isinstance(step, bytes))
    at = chance.randrange(min(400, len(data)))
    return Played([*(data[n : n + 1] for n in range(at)), data[at:]], answer.content, 200, True)


def informed(answer: Answer, chance: Chance) -> Played:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    return Played([hint, *_all(answer)], answer.content, 200, True)


def zipped(answer: Answer, chance: Chance) -> Played:
    if not answer.counted:
        return fine(answer, chance)
    data = gzip.compress(b"".join(answer.pieces))
    return Played([respond(data, content_type="application/json", content_encoding="gzip")], answer.content, 200, True)


def until_closed(answer: Answer, chance: Chance) -> Played:
    """A length that nobody says; and without its proof an answer that ends so is none."""
    if not answer.counted:
        return without_end(answer, chance)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    return Played([head, *answer.pieces, CLOSE], answer.content, 200, True)


def nothing(answer: Answer, chance: Chance) -> Played:
    return Played([chance.choice((CLOSE, RESET, HANG))])


def part_of_head(answer: Answer, chance: Chance) -> Played:
    return Played([answer.head[: chance.randrange(1, len(answer.head) - 1)], chance.choice((CLOSE, RESET, HANG))])


def other_protocol(answer: Answer, chance: Chance) -> Played:
    return Played([chance.choice((b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x50", b"HTTP/1.1 abc\r\n\r\n")), CLOSE])


def head_alone(answer: Answer, chance: Chance) -> Played:
    return Played([answer.head, chance.choice((CLOSE, RESET, HANG))], None, 200)


def part_of_body(answer: Answer, chance: Chance) -> Played:
    """Cut anywhere before the proof that it is whole."""
    proven = answer.pieces[: len(answer.pieces) - answer.proof] if answer.stream else answer.pieces
    data = b"".join(proven)
    cut = data[: chance.randrange(len(data))] if data else b""
    return Played([answer.head, cut, chance.choice((CLOSE, RESET, HANG))], None, 200)


def without_proof(answer: Answer, chance: Chance) -> Played:
    """The framing is whole, and the answer is not."""
    if answer.stream:
        return Played([answer.head, *answer.pieces[: -answer.proof], answer.end], None, 200)
    if answer.opaque or not answer.counted:
        return part_of_body(answer, chance)
    data = b"".join(answer.pieces)
    return Played([respond(data[: chance.randrange(1, len(data) - 1)])], None, 200)


def without_end(answer: Answer, chance: Chance) -> Played:
    """The answer's own end came, and the framing's did not."""
    if answer.counted:
        return part_of_body(answer, chance)
    content = answer.content if answer.stream else None
    return Played([answer.head, *answer.pieces, chance.choice((CLOSE, RESET))], content, 200)


def garbled(answer: Answer, chance: Chance) -> Played:
    """Something in it is no JSON, or no chunk."""
    if answer.counted:
        return Played([respond(b'{"id": "x", "choices": [')], Content(data=b'{"id": "x", "choices": [') if answer.opaque else None, 200)
    at = chance.randrange(len(answer.pieces))
    bad = b"xyz\r\n" if answer.opaque or chance.random() < 0.5 else chunk(b'data: {"choices": [{"del\n\n')
    if answer.stream:
        at = min(at, len(answer.pieces) - answer.proof)
    return Played([answer.head, *answer.pieces[:at], bad, *answer.pieces[at:], answer.end, CLOSE], None, 200)


def page(answer: Answer, chance: Chance) -> Played:
    """What a proxy says in the upstream's place, as if it were an answer."""
    return Played([respond(PAGE, content_type="text/html")], Content(data=PAGE) if answer.opaque else None, 200)


def mistyped(answer: Answer, chance: Chance) -> Played:
    """A good answer under another type: to take it or to refuse it is honest."""
    lines = [b"content-type: text/plain" if line.lower().startswith(b"content-type") else line for line in answer.head.split(b"\r\n")]
    return Played(_all(replace(answer, head=b"\r\n".join(lines))), answer.content, 200)


def redirect(answer: Answer, chance: Chance) -> Played:
    status = chance.choice((301, 302, 303, 307, 308))
    return Played([respond(PAGE, status, location="http://127.0.0.1:1/stolen", content_type="text/html")], None, status)


def refusal(answer: Answer, chance: Chance) -> Played:
    status = chance.choice(STATUSES)
    headers = {}
    if status in (429, 503, 529) and chance.random() < 0.6:
        headers["retry_after"] = chance.choice(("0", "1", "1", "20", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"))
    error = {"type": "invalid_request_error" if status < 500 else "api_error", "message": "Not now."}
    body: Any = chance.choice(({"type": "error", "error": error}, {"error": error | {"code": None, "param": None}}, PAGE, b"", b'{"err'))
    data = respond(body, status, **({"content_type": "text/html"} if body is PAGE else {}), **headers)
    if body is PAGE and chance.random() < 0.2:
        return Played([data[:-7], CLOSE], None, status)
    return Played([data], None, status)


def failure(answer: Answer, chance: Chance) -> Played:
    """The upstream's own failure within a stream."""
    if not answer.stream:
        return refusal(answer, chance)
    kind = chance.choice(("server_error", "overloaded_error", "rate_limit_error"))
    error = {"type": kind, "code": kind, "message": "It broke."}
    at = chance.randrange(len(answer.pieces) - answer.proof)
    event = {
        "chat/completions": sse({"error": error}),
        "messages": sse({"type": "error", "error": error}, "error"),
        "responses": sse({"type": "error", "sequence_number": at, "code": kind, "message": "It broke.", "param": None}, "error"),
    }[answer.api]
    return Played([answer.head, *answer.pieces[:at], chunk(event), answer.end], None, 429 if kind == "rate_limit_error" else 500)


Fault = Callable[[Answer, Chance], Played]

FAULTS: dict[Fault, int] = {  # and how often each comes
    fine: 60,
    slow: 10,
    dribbled: 4,
    informed: 2,
    zipped: 2,
    until_closed: 2,
    nothing: 5,
    part_of_head: 3,
    other_protocol: 2,
    head_alone: 4,
    part_of_body: 8,
    without_proof: 4,
    without_end: 4,
    garbled: 4,
    page: 2,
    mistyped: 2,
    redirect: 2,
    refusal: 14,
    failure: 5,
}


def play(path: str, body: dict[str, Any], mark: str, chance: Chance) -> Played:
    """What is done with a request."""
    answer = good(path, body, mark, chance)
    (fault,) = chance.choices(list(FAULTS), list(FAULTS.values()))
    return replace(fault(answer, chance), fault=fault.__name__)
