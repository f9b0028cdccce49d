"""What an attempt asks of its upstream: the URL, the headers and the body, carried or translated.

The functions set what the attempt needs to read the answer: its reply, the ledger, whether a whole answer is collected from a stream.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

from ...codecs import edit, errors, estimate, jsontext, rules, scrub, splice
from ...codecs.betas import NO_BETAS, Betas
from ...codecs.carrier import Carrier, Parcel, split
from ...codecs.ledger import Ledger
from ...codecs.recall import History, Recall
from ...codecs.reply import Reply
from ...codecs.request import Request
from ...conf.model import Edits
from ..wire import bodies
from ..wire import headers as travel
from . import counting, objects, summing, unneeded
from .dialects import in_dialect
from .lanes import EventsLane
from .raw import carried

if TYPE_CHECKING:
    from .attempt import Attempt

_LONGEST_BETA = 100  # characters that are shown
_IMAGE = re.compile(rb'"type"\s*:\s*"(?:image_url|image|input_image)"')


async def written(attempt: Attempt) -> tuple[str, bytes | None]:
    """The URL to ask, and the body. Heavy work is done apart. Raises ClientFault for what cannot be expressed."""
    exchange, size = attempt.exchange, len(attempt.exchange.body)
    walks = _walks(attempt)
    heavy = size > splice.LARGE or (walks and exchange.heavy)
    steps = size > bodies.LONG  # to parse the body took a millisecond or more, and so does each of these: others run between them
    outcome: tuple[str, bytes | None] | list[str]
    if steps:
        await asyncio.sleep(0)
    if heavy:
        outcome = await bodies.apart(True, partial(_decoded_question, attempt))
    elif walks and steps:
        missing = _missing(attempt)
        await asyncio.sleep(0)
        outcome = missing or _question(attempt)
    else:
        outcome = _decoded_question(attempt)
    if isinstance(outcome, list):
        assert attempt.history is not None
        attempt.history.restore(await exchange.services.state.seals.find(exchange.owner, outcome), attempt.candidate.domain)
        outcome = await bodies.apart(heavy, partial(_question, attempt))
    if steps:
        await asyncio.sleep(0)
    return outcome


def _walks(attempt: Attempt) -> bool:
    """Whether all of the caller's body is looked at; bytes of the same shape are put together, and at most settings are read."""
    if attempt.candidate.provider.edits is not None:
        return True
    if attempt.raw or not attempt.same_shape:
        return not attempt.raw
    candidate = attempt.candidate
    ruled = candidate.walks or (bool(candidate.rules or candidate.carrier) and len(attempt.exchange.body) > bodies.AT_ONCE)
    return ruled or attempt.compacting != "" or bool(attempt.lessons)


def _decoded_question(attempt: Attempt) -> tuple[str, bytes | None] | list[str]:
    """As `_question`; or the keys of what must be looked up first."""
    return _missing(attempt) or _question(attempt)


def _missing(attempt: Attempt) -> list[str]:
    """Read what is asked if it is to be translated; return the keys of what must be looked up first."""
    return _decode(attempt) if attempt.asks and not attempt.same_shape else []


def _question(attempt: Attempt) -> tuple[str, bytes | None]:
    """The URL to ask, and the body. Raises ClientFault for what cannot be expressed."""
    url, body = _unedited(attempt)
    edits, carrier = attempt.candidate.provider.edits, attempt.candidate.carrier
    if edits is not None and body:
        body = _edited(attempt, body, edits)
    if carrier is not None and body and 0 < carrier.most < len(body):
        raise errors.TooLarge(f"The request to the selected model has {len(body)} bytes, and it takes no more than {carrier.most}.")
    return url, body


def _edited(attempt: Attempt, body: bytes, edits: Edits) -> bytes:
    """The body as the operator wants it (`request`), in every lane; what takes something of the caller's request is reported."""
    exchange = attempt.exchange
    if exchange.operation.upstreams is not None:
        return _edited_object(attempt, body, edits)
    if attempt.raw and (not exchange.scan.value or exchange.form_field is not None):
        return body  # it is no JSON
    counts = exchange.operation.lane == "count"  # of a request that is only counted: APIs refuse members that do not matter for it
    changes = edits.set if exchange.cut is None else exchange.cut.lowered(edits.set)
    edited = edit.edited(body, changes, edits.remove, adds=not counts)
    lost = len(attempt.ledger.dropped)
    if attempt.same_shape:
        edit.report(edited, attempt.ledger, exchange.scan.value, None)
    elif attempt.asks:
        edit.report(edited, attempt.ledger, exchange.scan.value, partial(rules.asked_at, attempt.asked))
    if exchange.strict and len(attempt.ledger.dropped) > lost:
        raise _lost(attempt.ledger.first_dropped(exchange.scan.value) or "the request")
    return edited.body


def _edited_object(attempt: Attempt, body: bytes, edits: Edits) -> bytes:
    """The same of something stored: what its own members say is changed, and requests for answers in it as those that come alone."""
    exchange = attempt.exchange
    try:
        value = jsontext.loads(body) if objects.is_json(exchange.headers) else None
    except ValueError:
        return body  # the upstream's to judge
    if not isinstance(value, dict):
        return body
    before = f"{exchange.operation.requests}." if exchange.operation.requests else ""
    changes = [(before + path, setting) for path, setting in edits.set]
    edited = edit.edited(body, changes, [before + path for path in edits.remove], adds=bool(before))
    edit.report(edited, attempt.ledger, value, None)
    if exchange.strict and attempt.ledger.dropped:
        raise _lost(attempt.ledger.first_dropped(value) or "the request")
    return edited.body


def _unedited(attempt: Attempt) -> tuple[str, bytes | None]:
    """As `_question`, but for what the operator changes of it."""
    exchange, candidate = attempt.exchange, attempt.candidate
    if attempt.raw and exchange.operation.lane == "count" and candidate.carrier is not None:
        return _count_by_carrier(attempt, candidate.carrier)
    if attempt.raw:
        path = candidate.speaks.place(exchange.path, candidate.model)
        url = candidate.beside(path, exchange.query, of_model=exchange.operation.form)
        return url, carried(exchange, candidate, attempt.ledger)
    if exchange.operation.lane == "count":
        path, body = counting.question(exchange, candidate)
        return candidate.beside(path), body
    body = _spliced(attempt) if attempt.same_shape else _translated(attempt)
    return candidate.endpoint(attempt.streams, exchange.query if attempt.same_shape else "", attempt.capabilities), body


def _report_left_out(attempt: Attempt, ledger: Ledger, *carried: str) -> None:
    """What of the caller's headers and path does not reach the upstream. carried: headers that do, over another API too."""
    own = attempt.candidate.provider.passthrough_auth
    for name in travel.left_out(attempt.exchange.headers, same_shape=attempt.same_shape, own_credential=own):
        if name not in carried:
            ledger.drop((f"header:{name}",))
    for path in attempt.exchange.left_out:
        ledger.drop(path)


def headers(attempt: Attempt, body: bytes | None) -> dict[str, str]:
    """What the upstream is sent besides this body: the one place that puts it together."""
    exchange, candidate = attempt.exchange, attempt.candidate
    fields = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "dragoman"}
    if attempt.candidate.shape == exchange.shape or attempt.raw:
        fields |= travel.forwarded_up(exchange.headers.get_all(), own_credential=candidate.provider.passthrough_auth)
        _report_left_out(attempt, attempt.ledger)
    elif attempt.capabilities.openai_host and travel.REPEATS in exchange.headers:
        fields[travel.REPEATS] = exchange.headers[travel.REPEATS]
    if exchange.compacting == "automatic" or exchange.cut is not None:
        fields.pop(travel.REPEATS, None)  # one of several requests that the caller's becomes
    fields = candidate.speaks.headers(attempt.capabilities) | fields
    if candidate.carrier is not None:
        fields = {name: value for name, value in fields.items() if candidate.carrier.forwards(name)}
    fields |= attempt.carried
    if "anthropic-beta" in fields and (candidate.betas is not None or not attempt.capabilities.m_betas):
        _pass_betas(attempt, fields)
    if attempt.capabilities.image_header and not attempt.raw and _IMAGE.search(body or b""):
        fields[attempt.capabilities.image_header] = "true"
    if attempt.raw:
        if (kind := exchange.headers.get("Content-Type")) is not None:
            fields["content-type"] = kind
        elif not (body or exchange.passing):
            del fields["content-type"]  # of what is not there
        if exchange.operation.upstreams is not None:
            fields |= travel.asked_of_objects(exchange.headers)
    else:
        fields |= _accept(candidate.carrier) if attempt.streams else {"accept": "application/json"}
    fields |= candidate.headers(exchange.credential, attempt.granted)
    if exchange.trace is not None:
        attempt.span, traced = exchange.trace.call()
        fields |= traced
    if candidate.provider.signing[0]:  # behind a cloud's door, where proxies and endpoints of one's own keep logs
        fields["x-request-id"] = exchange.request_id
    return candidate.without_removed(fields)


def _reply(attempt: Attempt, request: Request) -> Reply:
    exchange = attempt.exchange
    reply = Reply(
        request,
        echo_model=attempt.candidate.echo if attempt.candidate.capabilities.echo_model == "alias" else None,
        domain=attempt.candidate.domain,
        upstream=attempt.candidate.shape,
        numbered_calls=attempt.capabilities.r_numbered_calls,
        request_id=exchange.request_id,
        nonce=exchange.nonce,
        created=int(time()),
        response_id=f"resp_{exchange.nonce}",
        unsaid=attempt.unsaid,
        max_answer=exchange.services.config.limits.max_answer,
    )
    return in_dialect(reply if exchange.turn is None else exchange.turn.adorn(reply), exchange, attempt.candidate)


def _spliced(attempt: Attempt) -> bytes:
    """The client's bytes with the model's value replaced, and what else was asked for."""
    exchange, candidate, own = attempt.exchange, attempt.candidate, attempt.candidate.speaks
    body, scan = exchange.body, exchange.scan
    inlined = None if exchange.state is None else exchange.state.inlined(candidate, attempt.ledger)
    value = scan.value if inlined is None else inlined
    request = Request(exchange.shape, scan.model or candidate.model, scan.value, attempt.stream, ledger=attempt.ledger)
    request.include_usage = scan.include_usage
    if inlined is not None or attempt.compacting or scrub.is_foreign(body, own.marks):
        bare = dict(value)
        if exchange.summary is not None:
            bare, attempt.rewritten = summing.continued(attempt, exchange.summary, bare), EventsLane.name
        scrubbed = scrub.scrub(own.scrub, bare, candidate.capabilities, attempt.ledger)
        if attempt.compacting and exchange.summary is None:
            bare, attempt.rewritten = summing.body(attempt, request, bare), EventsLane.name
        if scrubbed or attempt.compacting:
            value = bare
    if attempt.lessons or candidate.rules:
        value = _amended(attempt, value, request)
    if value is not scan.value:
        body, scan = splice.written(value)
    carrier = candidate.carrier
    if scan.model != candidate.model and not (carrier and "model" in carrier.leaves):
        body = own.rename(body, scan, candidate.model)
    if _must_collect(attempt, scan.value):
        request = request if attempt.compacting else _readable(attempt, request)
        body = _streaming(attempt, splice.ask_stream(body, scan), scan)
    elif attempt.stream:
        body = _streaming(attempt, body, scan)
    attempt.reply = _reply(attempt, _readable(attempt, request) if exchange.summary is not None else request)
    if carrier is None:
        return body
    return _parcel(attempt, carrier, scan.value).spliced(body, scan.value | {"stream": True} if attempt.collects else scan.value)


def _amended(attempt: Attempt, value: dict[str, Any], request: Request) -> dict[str, Any]:
    """The caller's body without what the upstream is known to refuse; the same object where it holds nothing of the kind."""
    own, lost = attempt.candidate.speaks, len(attempt.ledger.dropped)
    known = rules.for_carried(own.rules, attempt.capabilities) if attempt.lessons else attempt.candidate.rules
    value = rules.follow(attempt.lessons, value, request, own=True)
    value = rules.amended(known, own.Draft(value, request, attempt.capabilities, own=True))
    if attempt.exchange.strict and len(attempt.ledger.dropped) > lost:
        raise _lost(attempt.ledger.first_dropped(request.body) or "the request")
    return value


def _streaming(attempt: Attempt, body: bytes, scan: splice.Scan) -> bytes:
    """The body of a stream with its usage asked for, where the caller does not and the upstream takes that."""
    demand = attempt.candidate.speaks.usage_on_demand
    if demand is None or demand.asked(scan) or demand.member in attempt.capabilities.leave_out:
        return body
    if any(lesson.about.startswith(demand.member) for lesson in attempt.lessons):
        return body
    attempt.withhold = True
    return demand.ask(body, scan)


def _must_collect(attempt: Attempt, body: dict[str, Any]) -> bool:
    """Whether a whole answer is to be collected from a stream, since the upstream gives none for this body."""
    candidate = attempt.candidate
    attempt.collects = not attempt.stream and candidate.speaks.only_streams(candidate.amended(body), attempt.capabilities)
    return attempt.collects


def _readable(attempt: Attempt, bare: Request) -> Request:
    """The caller's request, as far as it can be read; what cannot be is the upstream's to judge."""
    turn = attempt.exchange.turn
    try:
        items = () if turn is None else (turn.items(),)
        request = attempt.exchange.speaks.decode_request(bare.body, *items)
    except errors.ClientFault:
        return bare
    request.model, request.stream = bare.model, bare.stream
    return request


def _decode(attempt: Attempt) -> list[str]:
    """Read what is asked; return the keys of what may be stored for it: what belongs to its calls and its caller does not bring."""
    exchange, candidate = attempt.exchange, attempt.candidate
    attempt.asked = summing.decoded(attempt)
    if exchange.cut is not None:
        exchange.cut.ask(attempt)
    if not exchange.services.state.seals.enabled or not candidate.speaks.recalls(attempt.capabilities):
        return []
    attempt.history = history = History(attempt.asked)
    if attempt.asked.tools and not history.brings:  # without tools no call comes that something would belong to
        attempt.recall = Recall(history, candidate.domain)
    return history.keys() if exchange.services.state.seals.may_hold(exchange.owner) else []


def _translated(attempt: Attempt) -> bytes:
    exchange, candidate, request = attempt.exchange, attempt.candidate, attempt.asked
    betas = _betas_in_body(attempt, request.ledger) if "anthropic-beta" in exchange.headers else []
    repeats = travel.REPEATS if attempt.capabilities.openai_host else ""
    _report_left_out(attempt, request.ledger, "anthropic-beta" if betas else "", repeats)
    encoded = candidate.speaks.encode_request(request, attempt.capabilities, candidate.model)
    if betas:
        member, inner = candidate.speaks.betas_at
        encoded.body.setdefault(member, {})[inner] = betas
    value = rules.follow(attempt.lessons, encoded.body, request, own=False)
    attempt.ledger, attempt.warms, attempt.carried = request.ledger, request.warms, dict(encoded.headers)
    if exchange.strict:
        lost = attempt.ledger.first_dropped(exchange.scan.value)
        if lost is not None:
            raise _lost(lost)
    attempt.reply = _reply(attempt, request)
    attempt.reply.tools, attempt.reply.recall = encoded.tools, attempt.recall
    carrier = candidate.carrier
    collects = _must_collect(attempt, value)
    if carrier is not None:
        value = _parcel(attempt, carrier, value).of(value)
    body = jsontext.dumps_whole(value)
    if exchange.stream and exchange.speaks.counts_first:
        attempt.reply.asks = estimate.tokens_of_body(request, len(body))
    if collects and not (carrier and "stream" in carrier.leaves):
        scan = splice.scan(body)
        body = _streaming(attempt, splice.ask_stream(body, scan), scan)
    return jsontext.trimmed(body) if len(body) < unneeded.LARGE else body  # a larger one is let go of when the answer begins


def _parcel(attempt: Attempt, carrier: Carrier, value: dict[str, Any]) -> Parcel:
    """What the carrier changes of a body; what it cannot bring is reported. value: the body."""
    asked = attempt.candidate.speaks.headers(attempt.capabilities)
    if attempt.candidate.shape == attempt.exchange.shape:
        asked |= travel.forwarded_up(attempt.exchange.headers.get_all(), own_credential=attempt.candidate.provider.passthrough_auth)
    parcel = carrier.parcel(value, asked, _betas(attempt), attempt.candidate.provider.bedrock, attempt.streams)
    attempt.carried |= parcel.headers
    _hold_back(attempt, parcel.held_back)
    return parcel


def _count_by_carrier(attempt: Attempt, carrier: Carrier) -> tuple[str, bytes]:
    """The URL and the body of a count of tokens, by the API's own."""
    exchange, candidate = attempt.exchange, attempt.candidate
    body = carried(exchange, candidate, attempt.ledger) or b""
    parcel = carrier.counting(exchange.scan.value, exchange.headers)
    attempt.carried = parcel.headers
    return candidate.base_url + carrier.own_count, parcel.spliced(body, exchange.scan.value)


def _betas(attempt: Attempt) -> Betas | None:
    """The values of `anthropic-beta` that the upstream takes."""
    return attempt.candidate.betas if attempt.capabilities.m_betas else NO_BETAS


def _betas_in_body(attempt: Attempt, ledger: Ledger) -> list[str]:
    """The values of the caller's `anthropic-beta` that a translated body says; where it says some, the others are reported."""
    betas = _betas(attempt) if attempt.candidate.speaks.betas_at else NO_BETAS
    passed, held_back = split(attempt.exchange.headers["anthropic-beta"], betas)
    if passed and held_back:
        ledger.drop(("header:anthropic-beta",))
    return passed


def _pass_betas(attempt: Attempt, headers: dict[str, str]) -> None:
    """Leave out of a header what the upstream does not take."""
    passed, held_back = split(headers.pop("anthropic-beta"), _betas(attempt))
    if passed:
        headers["anthropic-beta"] = ",".join(passed)
    _hold_back(attempt, held_back)


def _hold_back(attempt: Attempt, betas: Sequence[str]) -> None:
    """Report betas that the upstream is not sent. Raises Unsupported where the caller wants nothing left out."""
    if not betas:
        return
    asked = [value.strip() for value in attempt.exchange.headers.get("anthropic-beta", "").split(",")]
    lost = next((value for value in betas if value in asked), None)  # not one that the gateway itself would add
    if attempt.exchange.strict and lost is not None:
        raise errors.Unsupported(f"The beta `{lost[:_LONGEST_BETA]}` cannot be carried to the selected model.")
    attempt.ledger.drop(("header:anthropic-beta",))


def _accept(carrier: Carrier | None) -> dict[str, str]:
    """What a stream is to come as."""
    if carrier is None or carrier.framing is None:
        return {"accept": "text/event-stream"}
    inside = {carrier.accept_header: "application/json"} if carrier.accept_header else {}
    return {"accept": carrier.framing.content_type} | inside


def _lost(field: str) -> errors.Unsupported:
    return errors.Unsupported(f"{field} cannot be carried to the selected model", param=field)
