"""`dragoman translate`: converts a request, a response or a recorded stream to another shape, without network access.

The kind of input is recognised by its first bytes and by members that only responses have. Input in the target shape is returned
unchanged. Reasoning is written as fully as the target shape allows, as there is no request that limits it.
"""

from __future__ import annotations

from typing import Any

from ..codecs import compaction, errors, jsontext, sse
from ..codecs import events as ev
from ..codecs.capabilities import Capabilities
from ..codecs.ledger import Ledger
from ..codecs.registry import SHAPES
from ..codecs.reply import Reply
from ..codecs.request import Request
from ..conf.model import Compaction

_NEITHER = "neither a JSON object nor a stream of server-sent events"

Translated = tuple[bytes, list[str], int]
"""The output, the lines of the report, and the exit code."""


def translate(data: bytes, source: str, target: str) -> Translated:
    """Convert the input to the target shape. Errors are lines of the report."""
    text = data.removeprefix(sse.BOM).lstrip()
    try:
        if not text.startswith((b"{", b"[")):
            return _stream(data, source, target)
        value = jsontext.loads(text)
        if isinstance(value, list) and SHAPES[source].lists:
            return (data, [], 0) if source == target else _answer(value, source, target)
        if not isinstance(value, dict):
            raise errors.Malformed(_NEITHER)
        if source == target:
            return data, [], 0
        if SHAPES[source].is_error(value):
            return _error(text, source, target)
        if value.keys() & {SHAPES[source].bears, SHAPES[source].bears_instead or SHAPES[source].bears}:
            return _answer(value, source, target)
        return _request(value, source, target)
    except ValueError as error:
        return b"", [f"error: not valid JSON: {error}"], 1
    except errors.GatewayError as error:
        where = f"{error.param}: " if error.param else ""
        return b"", [f"error: {where}{error.message}"], 1


def _reply(source: str, target: str) -> Reply:
    request = Request(target, "", {}, include_usage=True, include_logprobs=True, summary="auto", show_thoughts=True)
    return Reply(request, domain="offline", upstream=source, response_id="resp_offline")


def _request(value: dict[str, Any], source: str, target: str) -> Translated:
    request = SHAPES[source].decode_request(value)
    if request.compacts:
        asked = Compaction()
        compaction.ask(request, asked.prompt, asked.max_output)
    encoded = SHAPES[target].encode_request(request, Capabilities(), request.model)
    return jsontext.dumps(encoded.body) + b"\n", _ledger(request.ledger, value), 0


def _ledger(ledger: Ledger, body: dict[str, Any]) -> list[str]:
    dropped = [f"dropped: {name}" for name in ledger.names(ledger.dropped, body)]
    return dropped + [f"adapted: {name}" for name in ledger.names(ledger.adapted, body)]


def _error(text: bytes, source: str, target: str) -> Translated:
    error = SHAPES[source].decode_error(200, text)
    return error.body(target, None) + b"\n", [], 0


def _unsaid(reply: Reply) -> list[str]:
    beyond = reply.unsaid.count - len(reply.unsaid.labels)
    return [f"dropped: {label}" for label in reply.unsaid.labels] + ([f"dropped: {beyond} more"] if beyond else [])


def _answer(value: Any, source: str, target: str) -> Translated:
    reply = _reply(source, target)
    collector = SHAPES[target].Collector(reply)
    collector.feed(SHAPES[source].decode_response(value, reply))
    if collector.error is not None:
        raise collector.error
    return jsontext.dumps(collector.body()) + b"\n", _unsaid(reply), 0


def _stream(data: bytes, source: str, target: str) -> Translated:
    reply = _reply(source, target)
    splitter = sse.Splitter()
    decoder = SHAPES[source].Decoder(reply)
    frames = splitter.feed(data) + splitter.finish()
    if not frames:
        raise errors.Malformed(_NEITHER)
    events: list[ev.Event] = []
    for frame in frames:
        events += decoder.feed(frame)
    if not decoder.ended:
        events += decoder.finish(not splitter.leftover)
    faults = [f"error: {event.error.message}" for event in events if isinstance(event, ev.Fault)]
    shape = SHAPES[target]
    out = data if source == target else shape.framing.join(shape.Encoder(reply).feed(events))
    return out, _unsaid(reply) + faults, 1 if faults else 0
