"""Hypothesis strategies: any legal sequence of hub events, as a decoder could emit it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from dragoman.codecs import events as ev
from dragoman.codecs.usage import Usage

_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
_word = st.text('abcxyz é😀\u2028"\\\n', min_size=1, max_size=8)
_name = st.from_regex(r"[a-z_]{1,10}", fullmatch=True)
_arguments = st.sampled_from(["{}", '{"a":1}', '{"text":"h\\u00e9llo \\"x\\""}', '{"a":{"b":[1,2,"}"]}}', ""])


@st.composite
def _cut(draw: Any, text: str) -> list[str]:
    if not text:
        return []
    places = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=3)))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    return [piece for piece in pieces if piece]


@st.composite
def answers(draw: Any, *, seals: bool = True) -> list[ev.Event]:
    """A whole answer: Start, parts in any legal order with tools interleaved, usage, Stop."""
    found: list[ev.Event] = [ev.Start(draw(st.sampled_from(["", "msg_1", "chatcmpl-abc"])), "model-x", 1700000000)]
    part = 0
    open_tools: list[tuple[int, list[str]]] = []
    called = False
    for kind in draw(st.lists(st.sampled_from(["text", "reasoning", "tool", "advance", "ping"]), max_size=7)):
        if kind == "text":
            found.append(ev.TextStart(part))
            found += [ev.Text(part, piece) for piece in draw(st.lists(_word, min_size=1, max_size=4))]
            found.append(ev.PartStop(part))
            part += 1
        elif kind == "reasoning":
            found.append(ev.ReasoningStart(part))
            found += [ev.Reasoning(part, piece) for piece in draw(st.lists(_word, max_size=3))]
            if seals:
                found += draw(st.sampled_from([[], [ev.Seal(part, "anthropic", "SIG")], [ev.Seal(part, "redacted", "RED")]]))
            found.append(ev.PartStop(part))
            part += 1
        elif kind == "tool":
            called = True
            found.append(ev.ToolStart(part, draw(st.sampled_from(["", "call_1", f"call_{part}"])), draw(_name)))
            open_tools.append((part, draw(_cut(draw(_arguments)))))
            part += 1
        elif kind == "advance" and open_tools:
            number, pieces = draw(st.sampled_from(open_tools))
            if pieces:
                found.append(ev.Arguments(number, pieces.pop(0)))
        elif kind == "ping":
            found.append(ev.Ping())
    for number, pieces in open_tools:
        found += [ev.Arguments(number, piece) for piece in pieces]
        found.append(ev.PartStop(number))
    counts = st.integers(0, 5000)
    if draw(st.booleans()):
        read = draw(st.integers(0, 100))
        found.append(ev.Metered(Usage(input=draw(counts) + read, output=draw(counts), cache_read=read, cache_write=0, reasoning=0)))
    found.append(ev.Stop("tool" if called else draw(st.sampled_from(["end", "length", "filter"]))))
    return found


def going_on(draw: st.DrawFn, kind: str, calls: dict[int, list[str]]) -> list[ev.Event]:
    """The next piece of an open call, or its end when nothing is left of it. calls: the pieces that are left, by part."""
    number = draw(st.sampled_from(sorted(calls)))
    if kind == "go on" and calls[number]:
        return [ev.Arguments(number, calls[number].pop(0))]
    if calls[number]:
        return []
    del calls[number]
    return [ev.PartStop(number)]


def rest_of(calls: dict[int, list[str]]) -> list[ev.Event]:
    """What is left of all open calls."""
    rest: list[ev.Event] = []
    for number, pieces in calls.items():
        rest += [*(ev.Arguments(number, piece) for piece in pieces), ev.PartStop(number)]
    return rest


@st.composite
def eventful(draw: st.DrawFn) -> list[ev.Event]:
    """As `answers`, with refusals, citations, texts that stand apart, every seal and calls of both kinds, some of them cut."""
    words = st.text('ab \n😀\u2028"\\%', min_size=1, max_size=4)
    events: list[ev.Event] = [ev.Start(draw(st.sampled_from(["", "chatcmpl-1"])), "m", 0)]
    part = 0
    calls: dict[int, list[str]] = {}
    kinds = ["text", "reasoning", "tool", "refusal", "summary", "go on", "close", "ping"]
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=12)):
        if kind == "text":
            inside: list[Any] = [ev.Text(part, piece) for piece in draw(st.lists(words, max_size=3))]
            inside += draw(st.sampled_from([[], [ev.Citation(part, "http://u", "t", 0, 1)]]))
            events += [ev.TextStart(part, draw(st.booleans())), *inside, ev.PartStop(part)]
        elif kind == "reasoning":
            inside = [ev.Reasoning(part, piece) for piece in draw(st.lists(words, max_size=3))]
            forms = draw(st.sampled_from([[], ["anthropic"], ["redacted"], ["openai"]]))
            events += [ev.ReasoningStart(part), *inside, *(ev.Seal(part, form, "S") for form in forms), ev.PartStop(part)]
        elif kind == "tool":
            raw = draw(st.sampled_from(["", "{}", '{"a":"}\\"{"}', '{"a":1']))
            cut = draw(st.integers(0, len(raw)))
            calls[part] = [piece for piece in (raw[:cut], raw[cut:]) if piece]
            events.append(ev.ToolStart(part, draw(st.sampled_from(["", "c"])), "f", draw(st.sampled_from(["function", "custom"]))))
        elif kind == "refusal":
            events.append(ev.Refusal(draw(words)))
        elif kind == "summary":
            events += [
                *draw(st.sampled_from([[], [ev.Compacting()]])),
                ev.Compaction(draw(words.filter(str.strip)), 3, "x"),
            ]  # decoders take no other
        elif kind == "ping":
            events.append(ev.Ping())
        elif calls:
            events += going_on(draw, kind, calls)
        part += kind in ("text", "reasoning", "tool")
    events += rest_of(calls)
    reason = draw(st.sampled_from(["end", "length", "tool", "filter"]))
    return [*events, ev.Metered(Usage(input=5, output=2, cache_read=1)), ev.Stop(reason)]
