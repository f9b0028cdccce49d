"""Encode parts of hub turns as content blocks for a messages upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .. import media, prose
from ..errors import UnsupportedContent, unsupported_content
from ..ids import CallIds
from ..jsontext import arguments_to_input
from ..ledger import Path
from ..request import (
    AudioPart,
    Cache,
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
)
from ..tools import ToolMap
from .facts import HABITS, IDS

Block = dict[str, Any]
_ONLY_TEXT = frozenset({"type", "text"})
FAILED: Block = {"type": "text", "text": "Error:"}  # before what a failed tool gave, where that is not text alone


class ContentWriter:
    """Encodes the blocks of one request. names: the tools that the history calls, in order."""

    def __init__(self, request: Request, tools: ToolMap, domain: str, long_cache: bool) -> None:
        """domain: the origin of the reasoning that the upstream can read; "" if unknown.

        long_cache: whether every breakpoint gets the long lifetime.
        """
        self.names: dict[str, None] = {}
        self._last: Block | None = None
        self.marked: list[tuple[Block, Path]] = []  # blocks with a cache breakpoint, and the path of the member that set it
        self._habits = request.habits
        self._ledger = request.ledger
        self._tools = tools
        self._domain = domain
        self._ids = CallIds(IDS)
        self._long_cache = long_cache

    def blocks(self, part: Part) -> list[Block]:
        """The blocks of a part; empty if it has no content. Raises errors.UnsupportedContent for content that cannot be left out."""
        kind = type(part)
        blocks = _WRITERS[kind](self, part)
        cache: Cache | None = part.cache if kind in _MARKED else None  # type: ignore[union-attr] # these have one
        if cache is not None:
            if blocks:
                self.mark(blocks[-1], cache, part.path)
            else:
                self._mark_before(cache, part.path)
        if blocks:
            self._last = blocks[-1]
        return blocks

    def _mark_before(self, cache: Cache, path: Path) -> None:
        """Move the breakpoint of an empty text, which is not sent, to the previous block, which ends the same prefix."""
        block = self._last
        if block is None or block["type"] in ("thinking", "redacted_thinking"):
            self._ledger.drop((*path, self._habits.cache_mark))
            return
        if "cache_control" not in block:
            self.mark(block, cache, path)
        self._ledger.adapt((*path, self._habits.cache_mark))

    def mark(self, block: Block, cache: Cache, path: Path) -> None:
        """Set a breakpoint on a block. path: of the caller's breakpoint; () for one set by the gateway, which is not reported."""
        long = cache.long or self._long_cache
        block["cache_control"] = {"type": "ephemeral", "ttl": "1h"} if long else {"type": "ephemeral"}
        theirs = self._habits.cache_mark
        where = (*path, theirs) if path else ()
        self.marked.append((block, where))
        if cache.long and path and theirs != HABITS.cache_mark:
            self._ledger.adapt(where)

    def _text(self, part: TextPart | RefusalPart) -> list[Block]:
        text = part.text
        return [{"type": "text", "text": text}] if text and not text.isspace() else []

    def _image(self, part: ImagePart) -> list[Block]:
        if part.detail not in ("", "auto", "original"):
            self._ledger.drop((*part.path, *self._habits.image_detail_at))
        if part.data:
            return [self._inline_image(part)]
        if not part.url.startswith(("https://", "http://")):
            raise unsupported_content("this kind of image URL", part.path, "image_block")
        return [{"type": "image", "source": {"type": "url", "url": part.url}}]

    def _inline_image(self, part: ImagePart | DocumentPart) -> Block:
        kind = media.image_type(part.media_type, part.data)
        if kind not in media.IMAGE_TYPES:
            raise unsupported_content(f"an image of type {kind[:64]}", part.path, "image_block")
        if kind != part.media_type:
            self._ledger.adapt(part.path)
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": part.data}}

    def _document(self, part: DocumentPart) -> list[Block]:
        if part.data and part.media_type.startswith("image/"):
            return [self._inline_image(part)]
        block: Block = {"type": "document", "source": self._source(part)}
        if part.title:
            block["title"] = part.title
        if part.context:
            block["context"] = part.context
        return [block]

    def _source(self, part: DocumentPart) -> dict[str, Any]:
        if part.data and part.media_type == media.PDF:
            return {"type": "base64", "media_type": media.PDF, "data": part.data}
        if part.data and part.media_type.startswith("text/"):
            return {"type": "text", "media_type": media.TEXT, "data": media.decoded_text(part.data, part.path)}
        if part.text is not None:
            return {"type": "text", "media_type": media.TEXT, "data": part.text}
        if part.parts is not None:
            return {"type": "content", "content": [block for inner in part.parts for block in self.blocks(inner)]}
        if part.url and _path_of(part.url).endswith(".pdf"):
            return {"type": "url", "url": part.url}
        raise unsupported_content("this kind of file", part.path, "document_block")

    def _search_result(self, part: SearchResultPart) -> list[Block]:
        content = [{"type": "text", "text": part.text}]
        return [{"type": "search_result", "source": part.source, "title": part.title, "content": content}]

    def _reasoning(self, part: ReasoningPart) -> list[Block]:
        """Return sealed reasoning to its known or possible origin, and unsealed reasoning only to its known origin."""
        if part.form == "anthropic" and (part.domain in (None, self._domain) or not self._domain):
            return [dict(block) for block in part.blocks]
        if part.form == "text" and part.text and part.domain == self._domain:
            return [{"type": "thinking", "thinking": part.text, "signature": ""}]
        self._ledger.drop(part.path)
        return []

    def _call(self, part: CallPart) -> list[Block]:
        name = self._tools.wire(part.name, part.namespace)
        self.names.setdefault(name)
        if part.seal is not None:
            self._ledger.drop(part.seal.path)
        custom = self._tools.emulates(part)
        input = {"input": part.arguments} if custom else arguments_to_input(part.arguments)
        return [{"type": "tool_use", "id": self._ids.call(part.id), "name": name, "input": input}]

    def _result(self, part: ResultPart) -> list[Block]:
        block: Block = {"type": "tool_result", "tool_use_id": self._ids.result(part.id)}
        content: str | list[Block] | None = part.only_text
        if content is None:
            content = self._inside_result(part.content)
        failed = part.is_error
        if failed and isinstance(content, list) and any(inner["type"] != "text" for inner in content):
            self._ledger.adapt((*part.path, "is_error"))  # refused beside anything but text
            content, failed = [dict(FAILED), *content], False
        if content:
            block["content"] = content
        if failed:
            block["is_error"] = True
        return [block]

    def _inside_result(self, content: str | list[Any]) -> str | list[Block]:
        return content if isinstance(content, str) else one_text([block for part in content for block in self._part_of_result(part)])

    def _part_of_result(self, part: Part) -> list[Block]:
        if isinstance(part, TextPart) and part.text.isspace():  # possibly the tool's output
            return [{"type": "text", "text": part.text}]
        try:
            return self.blocks(part)
        except UnsupportedContent:  # a note, because all later requests repeat it
            assert isinstance(part, ImagePart | DocumentPart)
            return self.blocks(prose.note(part, self._ledger))

    def _audio(self, part: AudioPart) -> list[Block]:
        raise unsupported_content("audio", part.path)

    def _foreign(self, part: ForeignPart) -> list[Block]:
        self._ledger.drop(part.path, part.label)
        return []


def one_text(content: str | list[Block]) -> str | list[Block]:
    """Write a single plain text as a string, whichever form the caller used: equal content gives equal bytes and cache hits."""
    if type(content) is list and len(content) == 1 and content[0].keys() == _ONLY_TEXT:
        text: str = content[0]["text"]
        return text
    return content


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path.lower()
    except ValueError:
        return ""


_MARKED = frozenset({TextPart, ImagePart, DocumentPart, SearchResultPart, CallPart, ResultPart})  # may have a cache breakpoint
_WRITERS: dict[type, Callable[[ContentWriter, Any], list[Block]]] = {
    TextPart: ContentWriter._text,
    RefusalPart: ContentWriter._text,
    ImagePart: ContentWriter._image,
    DocumentPart: ContentWriter._document,
    AudioPart: ContentWriter._audio,
    SearchResultPart: ContentWriter._search_result,
    ReasoningPart: ContentWriter._reasoning,
    CallPart: ContentWriter._call,
    ResultPart: ContentWriter._result,
    ForeignPart: ContentWriter._foreign,
}
