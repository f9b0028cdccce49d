"""Encode parts of hub turns as content of input items for a responses upstream."""

from __future__ import annotations

from typing import Any

from .. import media, prose
from ..capabilities import Capabilities
from ..errors import UnsupportedContent, unsupported_content
from ..ledger import Path
from ..request import AudioPart, Cache, DocumentPart, ImagePart, Part, Request, ResultPart, SearchResultPart, TextPart
from .facts import HABITS

Content = dict[str, Any]


class ContentWriter:
    """Encodes the content of one request's messages and outputs."""

    def __init__(self, request: Request, capabilities: Capabilities) -> None:
        self._ledger = request.ledger
        self._theirs = request.habits.cache_mark
        self._own_marks = self._theirs == HABITS.cache_mark  # whether the caller's breakpoints are in this shape's form
        self._takes_marks = capabilities.openai_host or self._own_marks

    def content(self, part: Part) -> list[Content]:
        """The content of a part. Raises errors.UnsupportedContent for content that cannot be left out."""
        if isinstance(part, TextPart):
            return [self._marked(_text(part.text), part.cache, part.path)]
        if isinstance(part, ImagePart):
            return [self._marked(self._image(part), part.cache, part.path)]
        if isinstance(part, SearchResultPart):
            return self.content(prose.search_result(part, self._ledger))
        if isinstance(part, DocumentPart):
            return self._document(part)
        if isinstance(part, AudioPart):
            raise unsupported_content("audio", part.path)
        return []

    def output(self, part: ResultPart) -> str | list[Content]:
        """The content of a tool result: a string if it is only text."""
        if isinstance(part.content, str):
            return prose.outcome(part, part.content, self._ledger)
        content = [written for inner in part.content for written in self._noted(inner)]
        if all(written.keys() == {"type", "text"} for written in content):
            return prose.outcome(part, "\n".join(written["text"] for written in content), self._ledger)
        first = next((written for written in content if written["type"] == "input_text"), None)
        if first is not None:
            first["text"] = prose.outcome(part, first["text"], self._ledger)
        elif part.is_error:
            content.insert(0, _text(prose.outcome(part, "", self._ledger).strip()))
        return content

    def _noted(self, part: Part) -> list[Content]:
        """As `content`, but unsupported content becomes a note, because all later requests repeat it."""
        try:
            return self.content(part)
        except UnsupportedContent:
            assert isinstance(part, ImagePart | DocumentPart)
            return self.content(prose.note(part, self._ledger))

    def _marked(self, written: Content, cache: Cache | None, path: Path) -> Content:
        """Add the cache breakpoint if the provider supports breakpoints. Others cache automatically."""
        if cache is None or not self._takes_marks:
            return written
        mark = {"mode": "explicit"}
        if self._own_marks:
            mark |= {"ttl": "12h"} if cache.long else {}
        else:
            mark["ttl"] = "12h" if cache.long else "30m"
            if cache.long:
                self._ledger.adapt((*path, self._theirs))
        written["prompt_cache_breakpoint"] = mark
        return written

    def _image(self, part: ImagePart) -> Content:
        url = media.Inline(part.media_type, part.data).url if part.data else part.url
        return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}

    def _document(self, part: DocumentPart) -> list[Content]:
        if part.data and part.media_type.startswith("image/"):
            self._ledger.adapt(part.path)
            image = ImagePart(part.path, media_type=part.media_type, data=part.data)
            return [self._marked(self._image(image), part.cache, part.path)]
        if part.text is not None or part.parts is not None:
            return [written for inner in prose.document_parts(part, self._ledger) for written in self.content(inner)]
        if part.media_type.startswith(("audio/", "video/")):
            raise unsupported_content(f"a file of type {part.media_type[:64]}", part.path, "document_block")
        file: Content = {"type": "input_file"}
        if part.data:
            file["filename"] = part.title or ("document.pdf" if part.media_type == media.PDF else "document")
            file["file_data"] = media.Inline(part.media_type, part.data).url
        elif part.url:
            file["file_url"] = part.url
        else:
            raise unsupported_content("this kind of file", part.path, "document_block")
        written = [self._marked(file, part.cache, part.path)]
        if part.context:
            self._ledger.adapt((*part.path, "context"))
            written.insert(0, _text(prose.context(part).strip()))
        return written


def _text(text: str) -> Content:
    return {"type": "input_text", "text": text}
