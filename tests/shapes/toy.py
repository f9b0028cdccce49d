"""A fourth shape, as small as a shape can be and unlike the others where they are alike: a test registers it, nothing in the product
knows of it.

    POST /v1/toy/MODEL?stream=1  {"talk": [["user", "Good morning"]]}
    → {"who": "MODEL", "said": ["Good ", "morning"], "why": "over", "cost": [2, 2]}
    → data: {"who": "MODEL"}   data: {"piece": "Good "}   …   data: {"why": "over", "cost": [2, 2]}
    → 400 {"wrong": "what is wrong"}

The model and whether to stream stand in the URL. There are texts and nothing else: what else an answer holds is not said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from dragoman.codecs import errors, limits
from dragoman.codecs import events as ev
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.fields import Fields, missing
from dragoman.codecs.framing import DATA_ONLY
from dragoman.codecs.ledger import Ledger
from dragoman.codecs.probe import Probe
from dragoman.codecs.reply import Encoded, Reply
from dragoman.codecs.request import Habits, Request, TextPart, Turn
from dragoman.codecs.shape import Shape
from dragoman.codecs.splice import Scan
from dragoman.codecs.sse import Frame, safe_json
from dragoman.codecs.tools import ToolMap
from dragoman.codecs.usage import Usage

_WHY = dict.fromkeys(ev.REASONS, "over") | {"length": "full", "context": "full"}
_REASON = {"over": "end", "full": "length"}


# ---- requests ----


def read(target: str, body: Scan) -> Scan:
    path, _, query = target.partition("?")
    return body._replace(model=unquote(path.rpartition("/toy/")[2]) or None, stream="1" in parse_qs(query).get("stream", []))


def url(base: str, model: str, stream: bool, query: str) -> str:
    return f"{base}/toy/{quote(model, safe='')}{'?stream=1' if stream else ''}"


def decode_request(body: dict[str, Any]) -> Request:
    fields = Fields(body, ())
    request = Request("toy", "", body, habits=Habits(turns_at="talk", cache_mark=""))
    talk = fields.items("talk")
    if talk is None:
        raise missing(("talk",))
    for i, (role, text) in enumerate(talk):
        request.turns.append(Turn(role, [TextPart(text, ("talk", i, 1))], ("talk", i), plain=True))
    request.set("max_tokens", fields.integer("most"), "most")
    fields.report(request.ledger)
    return request


def encode_request(request: Request, capabilities: Capabilities, model: str) -> Encoded:
    talk = []
    for turn in request.turns:
        for part in turn.parts:
            if isinstance(part, TextPart):
                talk.append([turn.role, part.text])
            else:
                request.ledger.drop(part.path)
    body: dict[str, Any] = {"talk": talk}
    if (most := request.take("max_tokens")) is not None:
        body["most"] = most
    for tool in request.tools:
        request.ledger.drop(tool.path, tool.kind)
    request.close()
    return Encoded(body, ToolMap())


def scrub(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    """Nothing of the gateway's own can stand in it."""


# ---- answers of an upstream ----


def decode_error(status: int, body: bytes, kind: str = "") -> errors.GatewayError:
    try:
        words = str(json.loads(body)["wrong"])
    except (ValueError, KeyError, TypeError):
        words = "?"
    return errors.Answered(words, kind="bad_request" if status == 400 else "server", status=status if status >= 400 else None)


def _usage(cost: Any) -> Usage:
    return Usage(input=cost[0], output=cost[1])


class Decoder:
    def __init__(self, reply: Reply) -> None:
        self.ended = self.counted = False
        self.usage: Usage | None = None
        self._started = False

    def feed(self, frame: Frame) -> list[ev.Event]:
        return [] if self.ended else list(self._events(json.loads(frame[1])))

    def _events(self, value: dict[str, Any]) -> Iterator[ev.Event]:
        if "wrong" in value:
            self.ended = True
            yield ev.Fault(errors.Broken(value["wrong"]))
        elif "who" in value:
            self._started = True
            yield from (ev.Start("", value["who"], 0), ev.TextStart(0))
        elif "piece" in value:
            yield ev.Text(0, value["piece"])
        elif "why" in value:
            self.ended, self.usage = True, _usage(value["cost"])
            yield from (ev.PartStop(0), ev.Metered(self.usage), ev.Stop(_REASON[value["why"]]))

    def finish(self, clean: bool) -> list[ev.Event]:
        self.ended = True
        return [ev.Fault(errors.Truncated("The toy broke off."))]


def decode_response(body: dict[str, Any], reply: Reply) -> list[ev.Event]:
    if "said" not in body:
        return [ev.Fault(errors.Broken("The toy failed."))]
    texts = [ev.Text(0, text) for text in body["said"] if text]
    end = (ev.PartStop(0), ev.Metered(_usage(body["cost"])), ev.Stop(_REASON[body["why"]]))
    return [ev.Start("", body["who"], 0), ev.TextStart(0), *texts, *end]


class Observer:
    def __init__(self, reply: Reply) -> None:
        self.bare = 0
        self.content = self.proof = self.counted = False
        self.error: errors.GatewayError | None = None
        self.usage: Usage | None = None
        self.stop: str | None = None

    def feed(self, frame: Frame) -> None:
        value = json.loads(frame[1])
        if "wrong" in value:
            self.error = errors.Broken(value["wrong"])
        elif "piece" in value:
            self.content = True
        elif "why" in value:
            self.observe_whole(value)

    def repeats(self, chunk: bytes) -> int:
        return 0

    def completed(self, clean: bool) -> bool:
        return self.proof

    def observe_whole(self, body: dict[str, Any]) -> None:
        self.proof, self.stop, self.usage = True, _REASON[body["why"]], _usage(body["cost"])


# ---- answers to a caller ----


class Encoder:
    def __init__(self, reply: Reply) -> None:
        self.started = self.ended = False
        self._reply = reply
        self._usage = Usage()

    def feed(self, events: list[ev.Event]) -> list[Frame]:
        return [(b"", safe_json(value)) for event in events if not self.ended for value in self._values(event)]

    def _values(self, event: ev.Event) -> Iterator[dict[str, Any]]:
        if isinstance(event, ev.Start):
            self.started = True
            yield {"who": self._reply.echo_model or event.model}
        elif isinstance(event, ev.Text):
            yield {"piece": event.text}
        elif isinstance(event, ev.Metered):
            self._usage = event.usage
        elif isinstance(event, ev.Stop):
            self.ended = True
            yield {"why": _WHY[event.reason], "cost": [self._usage.input, self._usage.output]}
        elif isinstance(event, ev.Fault):
            self.ended = True
            yield {"wrong": event.error.message}
        elif isinstance(event, ev.ToolStart | ev.ReasoningStart):
            self._reply.unsaid.add(type(event).__name__)


class Collector:
    def __init__(self, reply: Reply) -> None:
        self.error: errors.GatewayError | None = None
        self._encoder = Encoder(reply)
        self._said: list[str] = []
        self._body: dict[str, Any] = {}

    def feed(self, events: list[ev.Event]) -> None:
        self.error = next((event.error for event in events if isinstance(event, ev.Fault)), self.error)
        for _, data in self._encoder.feed(events):
            value = json.loads(data)
            self._said += [value.pop("piece")] if "piece" in value else []
            self._body |= value

    def body(self) -> dict[str, Any]:
        return self._body | {"said": self._said}


# ---- the load tool ----


def _asks(turns: list[dict[str, Any]], words: int) -> dict[str, Any]:
    return {"talk": [[turn["role"], turn["content"]] for turn in turns]}


def _frame(reading: Any, data: bytes) -> None:
    value = json.loads(data)
    if "piece" in value:
        reading.add(value["piece"])
    reading.fault = value.get("wrong", reading.fault)
    reading.stopped = reading.terminal = "why" in value


def _whole(reading: Any, value: dict[str, Any]) -> None:
    reading.fault = value.get("wrong")
    for text in value.get("said", ()):
        reading.add(text)
    reading.stopped = reading.terminal = "why" in value


TOY = Shape(
    name="toy",
    api="toy_talk",
    path="/toy",
    route="toy/+[^/]+",
    rank=9,
    read=read,
    rename=lambda body, scan, model: body,
    url=url,
    headers=lambda capabilities: {"x-toy": "1"},
    credentials=("x-toy-key", "authorization"),
    key_header="x-toy-key",
    decode_request=decode_request,
    encode_request=encode_request,
    decode_response=decode_response,
    decode_error=decode_error,
    Decoder=Decoder,
    Encoder=Encoder,
    Collector=Collector,
    Observer=Observer,
    scrub=scrub,
    framing=DATA_ONLY,
    errors=errors.ErrorForm(lambda kind: kind.openai_status, lambda error, request_id: {"wrong": error.message}),
    limits=limits.OPENAI,
    is_error=lambda body: "wrong" in body,
    bears="said",
    model_at=("who",),
    stream_model_at=("who",),
    overhead=20,
    probe=Probe(_asks, _frame, _whole),
)
