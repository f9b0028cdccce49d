"""Estimate the number of tokens of a request, for upstreams without a count endpoint.

The estimate is deliberately coarse, and rather too high than too low: bytes of text divided by an average, plus a constant per
message, tool, image and page. Nothing is rendered or decompressed, so pages in compressed parts of a PDF are not counted.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable
from math import ceil
from typing import Any

from . import deferral, jsontext, media
from .request import (
    AudioPart,
    CallPart,
    DocumentPart,
    ForeignPart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    ResultPart,
    SearchResultPart,
    TextPart,
    Tool,
)

BYTES_A_TOKEN = 3.5
A_MESSAGE = 4
A_TOOL = 8
AN_IMAGE = 1600  # also for a page of a PDF, which is processed as an image
A_TOKEN_OF_AUDIO = 1000  # bytes: 32 tokens a second (Google, "Audio understanding"), of 32 kB in WAV of 16 kHz
_IMAGE = int(AN_IMAGE * BYTES_A_TOKEN)

_FILES = frozenset({ImagePart, DocumentPart, AudioPart})
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def tokens(request: Request) -> int:
    """Return the estimated tokens of the model's input: history, tools, the schema of the answer."""
    if request.defers:
        deferral.settle(request)
    size = sum([_SIZES[type(part)](part) for turn in request.turns for part in turn.parts])
    for tool in request.tools:
        size += _bytes(tool.name) + _bytes(tool.description or "") + _schema(tool)
    output = request.settings.get("output")
    if output is not None:
        size += _json(output.value.schema)
    return ceil(size / BYTES_A_TOKEN) + A_MESSAGE * len(request.turns) + A_TOOL * len(request.tools)


def tokens_of_body(request: Request, size: int) -> int:
    """As `tokens`, of a request that was written as `size` bytes of JSON: nothing is measured unless it holds images or documents."""
    for turn in request.turns:
        for part in turn.parts:
            kind = type(part)
            if kind in _FILES or (kind is ResultPart and _holds_files(part)):
                return tokens(request)
    return ceil(size / BYTES_A_TOKEN)


def _holds_files(result: Any) -> bool:
    return not isinstance(result.content, str) and not _FILES.isdisjoint(map(type, result.content))


# what parts come to, in bytes of text


def _measured(parts: Iterable[Part]) -> int:
    return sum([_SIZES[type(part)](part) for part in parts])


def _text(part: TextPart | RefusalPart | ReasoningPart) -> int:
    return _bytes(part.text)


def _image(part: ImagePart) -> int:
    return _IMAGE


def _audio(part: AudioPart) -> int:
    return int(len(part.data) * 3 // 4 / A_TOKEN_OF_AUDIO * BYTES_A_TOKEN)


def _search_result(part: SearchResultPart) -> int:
    return _bytes(part.source) + _bytes(part.title) + _bytes(part.text)


def _document(part: DocumentPart) -> int:
    size = _measured(part.parts or []) + _bytes(part.title) + _bytes(part.context) + _bytes(part.text or "")
    if part.data and part.media_type.startswith("text/"):
        return size + len(part.data) * 3 // 4
    return size + (_IMAGE * _pages(part) if part.data or part.url else 0)


def _pages(part: DocumentPart) -> int:
    if part.media_type != media.PDF or not part.data:
        return 1
    return max(1, len(_PAGE.findall(binascii.a2b_base64(part.data))))


def _call(part: CallPart) -> int:
    return _bytes(part.name) + _bytes(part.arguments)


def _result(part: ResultPart) -> int:
    return _bytes(part.content) if isinstance(part.content, str) else _measured(part.content)


def _nothing(part: ForeignPart) -> int:
    return 0


def _schema(tool: Tool) -> int:
    return _json(tool.schema) + _json(tool.grammar) + sum(_json(example) for example in tool.examples)


def _json(value: Any) -> int:
    return 0 if value is None else len(jsontext.dumps(value))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


_SIZES: dict[type, Callable[[Any], int]] = {
    TextPart: _text,
    RefusalPart: _text,
    ReasoningPart: _text,
    ImagePart: _image,
    AudioPart: _audio,
    SearchResultPart: _search_result,
    DocumentPart: _document,
    CallPart: _call,
    ResultPart: _result,
    ForeignPart: _nothing,
}
