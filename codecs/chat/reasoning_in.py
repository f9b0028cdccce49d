"""Decode the reasoning that a chat client sends back with a message, and restore the order of the model's parts.

`reasoning_details` can be returned to a provider: the entries were written by `stream_out` or by another gateway with the same form
(OpenRouter's documentation, "Preserving reasoning"). LiteLLM's clients send `thinking_blocks`. `reasoning_content` and similar members
are text without a seal: redundant next to sealed reasoning, and of unknown origin otherwise.
"""

from __future__ import annotations

import re
from typing import Any

from .. import quirks
from ..fields import Fields
from ..ledger import Path
from ..request import Part, ReasoningPart, Sealed, TextPart
from ..scrub import DOMAIN, LAYOUT

ANTHROPIC, OPENAI, GOOGLE = "anthropic-claude-v1", "openai-responses-v1", "google-gemini-v1"

_TOKEN = re.compile(r"([rtu])(\d{1,9})")

# a part, and the number of entries of `reasoning_details` it consists of
Thought = tuple[ReasoningPart, int]


def decode_reasoning(fields: Fields) -> tuple[list[Thought], str]:
    """The reasoning of a message in order, and its layout ("" if it has none)."""
    path = fields.path
    details, blocks = fields.take("reasoning_details"), fields.take("thinking_blocks")
    texts = {key: fields.take(key) for key in quirks.REASONING_FIELDS}
    thoughts = _details(details, (*path, "reasoning_details")) if isinstance(details, list) else []
    layout = ""
    if thoughts and isinstance(details[0], dict):
        layout, domain = (value if isinstance(value := details[0].get(key), str) else "" for key in (LAYOUT, DOMAIN))
        if domain:
            _say_whose(thoughts, domain)
    if not _usable(thoughts):
        thoughts += _blocks(blocks, (*path, "thinking_blocks")) if isinstance(blocks, list) else []
    if not _usable(thoughts):
        unsealed = next(((key, text) for key, text in texts.items() if isinstance(text, str) and text), None)
        if unsealed is not None:
            thoughts.append((ReasoningPart((*path, unsealed[0]), "foreign", unsealed[1]), 0))
    return thoughts, layout


def _say_whose(thoughts: list[Thought], domain: str) -> None:
    """Mark the entries as originating from an upstream of this domain, including text without a seal."""
    for part, _ in thoughts:
        part.domain = domain
        if part.form == "foreign" and part.text:
            part.form = "text"


def _usable(thoughts: list[Thought]) -> bool:
    return any(part.form != "foreign" for part, _ in thoughts)


def _details(details: list[Any], path: Path) -> list[Thought]:
    """One part per thinking block and per reasoning item."""
    thoughts: list[Thought] = []
    for entry in details:
        part = _detail(entry if isinstance(entry, dict) else {}, path)
        last = thoughts[-1][0] if thoughts else None
        if last is not None and part.form == "openai" and last.form == "openai" and last.id == part.id:
            last.summary += part.summary
            last.encrypted = last.encrypted or part.encrypted
            thoughts[-1] = (last, thoughts[-1][1] + 1)
        else:
            thoughts.append((part, 1))
    for part, _ in thoughts:
        if part.form == "openai":
            part.text = "\n\n".join(part.summary)
            if not part.encrypted:
                part.form = "foreign"
    return thoughts


def _detail(entry: dict[str, Any], path: Path) -> ReasoningPart:
    kind, form = entry.get("type"), entry.get("format")
    text, signature, data = (entry[key] if isinstance(entry.get(key), str) else "" for key in ("text", "signature", "data"))
    if kind == "reasoning.text" and signature and form in (ANTHROPIC, None):
        return ReasoningPart(path, "anthropic", text, [{"type": "thinking", "thinking": text, "signature": signature}])
    if kind == "reasoning.encrypted" and data and form == ANTHROPIC:
        return ReasoningPart(path, "anthropic", blocks=[{"type": "redacted_thinking", "data": data}])
    if form == OPENAI and isinstance(entry.get("id"), str) and kind in ("reasoning.summary", "reasoning.encrypted"):
        part = ReasoningPart(path, "openai", id=entry["id"], encrypted=data)
        if isinstance(entry.get("summary"), str):
            part.summary.append(entry["summary"])
        return part
    part = ReasoningPart(path, "foreign", text)
    if kind == "reasoning.encrypted" and data and form == GOOGLE and isinstance(entry.get("id"), str):
        part.id, part.sealed = entry["id"], Sealed("google", data, path)  # of the call with this id
    return part


def _blocks(blocks: list[Any], path: Path) -> list[Thought]:
    thoughts: list[Thought] = []
    for block in blocks:
        block = block if isinstance(block, dict) else {}
        text, signature, data = (block[key] if isinstance(block.get(key), str) else "" for key in ("thinking", "signature", "data"))
        if block.get("type") == "thinking" and signature:
            part = ReasoningPart(path, "anthropic", text, [{"type": "thinking", "thinking": text, "signature": signature}])
        elif block.get("type") == "redacted_thinking" and data:
            part = ReasoningPart(path, "anthropic", blocks=[{"type": "redacted_thinking", "data": data}])
        else:
            part = ReasoningPart(path, "foreign", text)
        thoughts.append((part, 0))
    return thoughts


# ---- order ----


def in_order(layout: str, thoughts: list[Thought], texts: list[Part], calls: list[Part]) -> list[Part]:
    """The message's parts in the model's order: by the layout if it matches the message, else reasoning, text, calls."""
    reasoning = [part for part, _ in thoughts]
    if layout and layout != "d" and len(texts) == 1 and isinstance(texts[0], TextPart):
        ordered = _laid_out(layout, thoughts, texts[0], calls)
    elif layout and layout != "d" and not texts:
        ordered = _laid_out(layout, thoughts, None, calls)
    else:
        ordered = None
    return [*reasoning, *texts, *calls] if ordered is None else ordered


def _laid_out(layout: str, thoughts: list[Thought], text_part: TextPart | None, calls: list[Part]) -> list[Part] | None:
    """As `in_order`; None if the layout does not match. Texts with another part between them are separated by a blank line."""
    entry_of: dict[int, Part | None] = {}  # index of an entry of the details -> the part that starts with it
    for part, entries in thoughts:
        for k in range(entries):
            entry_of[len(entry_of)] = None if k else part
    left, parts, end, after = dict(enumerate(calls)), list[Part](), 0, ""
    content = "" if text_part is None else text_part.text
    for token in layout.split(","):
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        kind, number = match[1], int(match[2])
        if kind == "t":
            if end and after != "t":
                if content[end : end + 2] != "\n\n":
                    return None
                end += 2
            if text_part is None or end + number > len(content):
                return None
            last = end + number == len(content)
            parts.append(
                TextPart(content[end : end + number], text_part.path, text_part.cache if last else None, text_part.seal if last else None)
            )
            end += number
        elif number not in (entry_of if kind == "r" else left):
            return None
        else:
            next_part = entry_of.pop(number) if kind == "r" else left.pop(number)
            if next_part is not None:
                parts.append(next_part)
        after = kind
    return parts if not left and not entry_of and end == len(content) else None
