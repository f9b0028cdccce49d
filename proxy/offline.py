"""`dragoman translate`: one request, one answer or one recorded stream in another shape, without any network."""

from __future__ import annotations

from typing import Any

from ..codecs import errors, jsontext, sse
from ..codecs import events as ev
from ..codecs.capabilities import Capabilities
from ..codecs.reply import Reply
from ..codecs.request import Request
from .shapes import SHAPES

# members that only an answer has
_ANSWERS = {"chat": "choices", "messages": "stop_reason", "responses": "output"}


def translate(data: bytes, source: str, target: str) -> tuple[bytes, list[str], int]:
    """What the bytes are in the other shape, what to report of it, and the exit code."""
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    try:
        if not text.startswith((b"{", b"[")):
            return _stream(data, source, target)
        value = jsontext.loads(text)
        if not isinstance(value, dict):
            raise errors.Malformed("not a JSON object")
        if _ANSWERS[source] in value:
            return _answer(value, source, target)
        return _request(value, source, target)
    except ValueError as error:
        return b"", [f"not valid JSON: {error}"], 1
    except errors.GatewayError as error:
        where = f"{error.param}: " if error.param else ""
        return b"", [f"error: {where}{error.message}"], 1


def _reply(source: str, target: str) -> Reply:
    return Reply(Request(target, "", {}, include_usage=True), domain="offline", upstream=source, response_id="resp_offline")


def _request(value: dict[str, Any], source: str, target: str) -> tuple[bytes, list[str], int]:
    if source == target:
        return jsontext.dumps(value) + b"\n", [], 0
    request = SHAPES[source].decode_request(value)
    encoded = SHAPES[target].encode_request(request, Capabilities(), request.model)
    ledger = request.ledger
    report = [f"dropped: {name}" for name in ledger.names(ledger.dropped, value)]
    report += [f"adapted: {name}" for name in ledger.names(ledger.adapted, value)]
    return jsontext.dumps(encoded.body) + b"\n", report, 0


def _unsaid(found: list[ev.Event]) -> list[str]:
    return [f"dropped: {event.label}" for event in found if isinstance(event, ev.Opaque)]


def _answer(value: dict[str, Any], source: str, target: str) -> tuple[bytes, list[str], int]:
    reply = _reply(source, target)
    found: list[ev.Event] = SHAPES[source].decode_response(value, reply)
    collector = SHAPES[target].Collector(reply)
    collector.feed(found)
    if collector.error is not None:
        raise collector.error
    return jsontext.dumps(collector.body()) + b"\n", _unsaid(found), 0


def _stream(data: bytes, source: str, target: str) -> tuple[bytes, list[str], int]:
    reply = _reply(source, target)
    splitter = sse.Splitter()
    decoder = SHAPES[source].StreamDecoder(reply)
    encoder = SHAPES[target].StreamEncoder(reply)
    found: list[ev.Event] = []
    for frame in splitter.feed(data) + splitter.finish():
        found += decoder.feed(frame)
    if not decoder.ended:
        found += decoder.finish(not splitter.leftover)
    faults = [event.error.message for event in found if isinstance(event, ev.Fault)]
    return encoder.feed(found), _unsaid(found) + [f"error: {message}" for message in faults], 1 if faults else 0
