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
