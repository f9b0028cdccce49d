"""Encode parts of hub turns as content blocks of Converse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .. import media, passages, prose
from ..capabilities import Capabilities
from ..errors import UnsupportedContent, unsupported_content
from ..ids import CallIds, IdForm
from ..jsontext import arguments_to_input, loads
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
from .stream_in import unsealed

Block = dict[str, Any]

BLANK = "."  # a text where one must be, and must not be blank

IDS = IdForm("tooluse_", re.compile(r"[a-zA-Z0-9_.:-]{1,64}"))

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_AUDIO = {
    media.MP3: "mp3",
    media.WAV: "wav",
    **{f"audio/{form}": form for form in ("aac", "flac", "m4a", "mp4", "ogg", "opus", "pcm", "webm")},
}
_VIDEO = {
    "video/3gpp": "three_gp",
    "video/mp4": "mp4",
    "video/mpeg": "mpeg",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv",
    "video/x-ms-wmv": "wmv",
}
# by the ending of a file's name, where that alone says what it is: the block and its format
_ENDINGS = {
    **{form: ("audio", form) for form in _AUDIO.values()},
    **{form: ("document", form) for form in _DOCUMENTS.values()},
    **{form: ("image", form) for form in _IMAGES.values()},
    **{form: ("video", form) for form in _VIDEO.values()},
    "jpg": ("image", "jpeg"),
    "mpg": ("video", "mpeg"),
    "3gp": ("video", "three_gp"),
}
_S3 = "s3://"
_BUCKET = re.compile(r"s3://[a-z0-9][.a-z0-9-]{1,61}[a-z0-9]/.{1,960}")
_PDF = {"format": "pdf"}
_CITABLE = frozenset({"pdf", "txt"})
_TEXTUAL = frozenset({"csv", "txt"})
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_LONGEST_NAME = 200


class ContentWriter:
    """Encodes the blocks of one request. calls: the tools that the history calls, in order."""

    def __init__(self, request: Request, tools: ToolMap, capabilities: Capabilities, long_cache: bool) -> None:
        """long_cache: whether every breakpoint gets the long lifetime."""
        self.calls: dict[str, None] = {}
        self.marked: list[tuple[Block, Path]] = []  # cache points, with their paths
        self._request = request
        self._ledger = request.ledger
        self._tools = tools
        self._can = capabilities
        self._ids = CallIds(IDS)
        self.cited: set[Path] = set()  # reports that citations are lost, which do not hold
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}  # by name: up to which number it has been given out
        self._documents: tuple[list[Block], int, int] = ([], 0, 0)  # see `_behind`
        self._long_cache = long_cache

    def add(self, part: Part, blocks: list[Block]) -> None:
        """Append what a part becomes. Raises errors.UnsupportedContent for content that cannot be left out."""
        written = _WRITERS[type(part)](self, part)
        blocks += written
        cache: Cache | None = getattr(part, "cache", None)
        if cache is not None:
            self.mark(blocks, cache, part.path)

    def mark(self, blocks: list[Block], cache: Cache, path: Path) -> None:
        """Append a cache point. path: of what has it in the caller's body; () if nobody asked for it."""
        where = (*path, self._request.habits.cache_mark) if path else ()
        if not self._can.v_cache_points:
            return  # the model does not cache, or does by itself: nothing of the answer changes
        if not blocks or "cachePoint" in blocks[-1]:
            return
        if "reasoningContent" in blocks[-1]:
            self._ledger.drop(where)
            return
        place = self._behind(blocks)
        if not place or "cachePoint" in blocks[place - 1]:  # what stands before is marked, or nothing does
            self._ledger.drop(where)
            return
        point: Block = {"cachePoint": {"type": "default"}}
        if cache.long or self._long_cache:
            if self._can.v_cache_long:
                point["cachePoint"]["ttl"] = "1h"
            elif path:
                self._ledger.adapt(where)
        if path and place < len(blocks):
            self._ledger.adapt(where)
        blocks.insert(place, point)
        self._documents = blocks, place + 1, len(blocks)
        self.marked.append((point, where))

    def _behind(self, blocks: list[Block]) -> int:
        """Where a cache point can stand: not directly behind a document that is no PDF."""
        known, begin, end = self._documents  # between these two places of the list that was looked at last only such documents stand
        place, least = len(blocks), end if known is blocks else 0
        while place > least and blocks[place - 1].get("document", _PDF)["format"] != "pdf":
            place -= 1
        if known is blocks and place == end:
            place = begin
        self._documents = blocks, place, len(blocks)
        return place

    def text(self, text: str) -> list[Block]:
        """A text, if there is something in it."""
        if text.strip():
            return [{"text": text}]
        return []

    def _text(self, part: TextPart) -> list[Block]:
        if part.citations and part.text.strip() and self._can.v_reasoning == "thinking":
            citations = [cited for citation in part.citations if (cited := passages.to_converse(citation)) is not None]
            if citations:
                return [{"citationsContent": {"content": [{"text": part.text}], "citations": citations}}]
        return self.text(part.text)

    def _refusal(self, part: RefusalPart) -> list[Block]:
        return self.text(part.text)

    def _image(self, part: ImagePart) -> list[Block]:
        if part.detail not in ("", "auto", "original"):
            self._ledger.drop((*part.path, *self._request.habits.image_detail_at))
        if not part.data:
            return [self._at_s3(part.url, part.path, "an image by URL")]
        return [self._inline_image(part)]

    def _inline_image(self, part: ImagePart | DocumentPart) -> Block:
        kind = media.image_type(part.media_type, part.data)
        form = _IMAGES.get(kind)
        if form is None:
            raise unsupported_content(f"an image of type {kind[:64]}", part.path)
        if kind != part.media_type:
            self._ledger.adapt(part.path)
        return {"image": {"format": form, "source": {"bytes": part.data}}}

    def _document(self, part: DocumentPart) -> list[Block]:
        if part.data and part.media_type.startswith("image/"):
            return [self._inline_image(part)]
        if part.data and part.media_type.startswith(("audio/", "video/")):
            return [self._recorded(part.media_type, part.data, part.path)]
        if part.url:
            return [self._at_s3(part.url, part.path, "this kind of file", part.title)]
        form, source = self._source(part)
        block: Block = {"format": form, "name": self._name(part.title), "source": source}
        if part.context:
            block["context"] = part.context
        if part.cites and form in _CITABLE:
            self._cited(block, part.path)
        return [{"document": block}]

    def _cited(self, block: Block, path: Path) -> None:
        """Ask for citations of a document or a search result, of models that cite."""
        if self._can.v_reasoning == "thinking":
            block["citations"] = {"enabled": True}
            self.cited.add((*path, "citations"))

    def _source(self, part: DocumentPart) -> tuple[str, dict[str, Any]]:
        if part.data:
            form = _DOCUMENTS.get(part.media_type)
            if form is None:
                raise unsupported_content(f"a file of type {part.media_type[:64]}", part.path)
            return form, {"bytes": part.data}
        if part.text is not None:
            return "txt", {"text": part.text} if self._can.v_reasoning == "thinking" else {"bytes": media.encoded_text(part.text)}
        if part.parts is not None and all(isinstance(inner, TextPart) for inner in part.parts):
            texts = [inner.text for inner in part.parts if isinstance(inner, TextPart)]
            if self._can.v_reasoning == "thinking":
                return "txt", {"content": [{"text": text} for text in texts if text.strip()]}
            return "txt", {"bytes": media.encoded_text("\n".join(texts))}
        raise unsupported_content("this kind of file", part.path)

    def _name(self, title: str) -> str:
        """The name of a document: of the characters that Bedrock takes, and not that of another one."""
        path = title
        try:
            path = urlsplit(title).path.rpartition("/")[2] or title
        except ValueError:
            pass
        plain = " ".join(_NOT_IN_NAME.sub(" ", path).split())[: _LONGEST_NAME - 6].strip() or "document"
        number = self._numbers.get(plain, 1)
        name = plain if number == 1 else f"{plain} {number}"
        while name in self._names:
            number += 1
            name = f"{plain} {number}"
        self._names.add(name)
        self._numbers[plain] = number
        return name

    def _search_result(self, part: SearchResultPart) -> list[Block]:
        if self._can.v_reasoning != "thinking":
            return self._text(prose.search_result(part, self._ledger))
        texts = [{"text": text} for text in part.texts if text.strip()]
        block: Block = {"source": part.source, "title": part.title, "content": texts or [{"text": BLANK}]}
        if part.cites:
            self._cited(block, part.path)
        return [{"searchResult": block}]

    def _reasoning(self, part: ReasoningPart) -> list[Block]:
        """Signed reasoning goes back to where it came from; a model that reads no other gets no other."""
        known = part.domain in (None, self._can.reasoning_domain) or not self._can.reasoning_domain
        if part.form == "anthropic" and known and self._can.v_reasoning_in == "signed":
            return [_reasoning_block(block) for block in part.blocks]
        if part.form == "text" and part.text and part.domain == self._can.reasoning_domain and self._can.v_reasoning_in == "text":
            return [{"reasoningContent": {"reasoningText": {"text": part.text}}}]
        self._ledger.drop(part.path)
        return []

    def _call(self, part: CallPart) -> list[Block]:
        name = self._tools.wire(part.name, part.namespace)
        self.calls.setdefault(name)
        if part.seal is not None:
            self._ledger.drop(part.seal.path)
        input = {"input": part.arguments} if self._tools.emulates(part) else arguments_to_input(part.arguments)
        return [{"toolUse": {"toolUseId": self._ids.call(part.id), "name": name, "input": input}}]

    def _result(self, part: ResultPart) -> list[Block]:
        result: Block = {"toolUseId": self._ids.result(part.id)}
        content: list[Block] = []
        moved: list[Block] = []
        for inner in [TextPart(part.content, part.path)] if isinstance(part.content, str) else part.content:
            content += self._inside_result(inner, part.is_error, moved)
        result["content"] = content or [{"text": BLANK}]
        if not content:
            self._ledger.adapt(part.path)
        if part.is_error and self._can.v_status:
            result["status"] = "error"
        return [{"toolResult": result}, *moved]

    def _inside_result(self, part: Part, is_error: bool, moved: list[Block]) -> list[Block]:
        """What a part of a result becomes in it; what stands behind the result instead is added to `moved`."""
        if isinstance(part, TextPart):
            return self._result_text(part)
        try:
            blocks = _WRITERS[type(part)](self, part)
        except UnsupportedContent:  # a note, because all later requests repeat it
            assert isinstance(part, ImagePart | DocumentPart)
            return [{"text": prose.note(part, self._ledger).text}]
        inside: list[Block] = []
        for block in blocks:
            if not is_error and self._fits_result(block):
                inside.append(block)
                continue
            self._ledger.adapt(part.path)
            if not any(name in block for name in ("image", "document", "video", "audio")):
                inside.append({"text": str(next(iter(block)))})
                continue
            moved.append(block)
            inside.append({"text": f"[{next(iter(block))} {len(moved)}]"})
        return inside

    def _result_text(self, part: TextPart) -> list[Block]:
        if not part.text.strip():
            return []
        if self._can.v_json_results and part.text.lstrip().startswith("{"):
            try:
                value = loads(part.text)
            except ValueError:
                value = None
            if isinstance(value, dict):
                return [{"json": value}]
        return [{"text": part.text}]

    def _fits_result(self, block: Block) -> bool:
        if "searchResult" in block or "text" in block:
            return True
        takes = self._can.v_result_media
        if "document" in block:
            return takes in ("document", "all") or (takes == "image_and_text" and block["document"]["format"] in _TEXTUAL)
        return "image" in block and takes in ("image", "image_and_text", "all")

    def _audio(self, part: AudioPart) -> list[Block]:
        return [self._recorded(part.media_type, part.data, part.path)]

    def _recorded(self, media_type: str, data: str, path: Path) -> Block:
        """Sound or moving pictures."""
        name = media_type.partition("/")[0]
        form = (_AUDIO if name == "audio" else _VIDEO).get(media_type)
        if not self._takes(name):
            raise unsupported_content(name, path)
        if form is None:
            raise unsupported_content(f"{name} of type {media_type[:64]}", path)
        return {name: {"format": form, "source": {"bytes": data}}}

    def _takes(self, name: str) -> bool:
        return {"audio": self._can.v_audio, "video": self._can.v_video}.get(name, True)

    def _at_s3(self, url: str, path: Path, what: str, title: str = "") -> Block:
        """A file that the service reads by itself. what: that it is, for who cannot send it."""
        if not (self._can.v_s3 and url.startswith(_S3)):
            raise unsupported_content(what, path)
        name, form = _ENDINGS.get(url.rpartition(".")[2].lower(), ("", ""))
        if not name or not _BUCKET.fullmatch(url):
            raise unsupported_content("a file at S3 whose name does not tell its type", path)
        if not self._takes(name):
            raise unsupported_content(name, path)
        block: Block = {"format": form, "source": {"s3Location": {"uri": url}}}
        if name == "document":
            block["name"] = self._name(title or url)
        return {name: block}

    def _foreign(self, part: ForeignPart) -> list[Block]:
        self._ledger.drop(part.path, part.label)
        return []


def _reasoning_block(block: Block) -> Block:
    if block["type"] == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": unsealed(block["data"])}}
    return {"reasoningContent": {"reasoningText": {"text": block["thinking"], "signature": block["signature"]}}}


_WRITERS: dict[type, Callable[[ContentWriter, Any], list[Block]]] = {
    TextPart: ContentWriter._text,
    RefusalPart: ContentWriter._refusal,
    ImagePart: ContentWriter._image,
    DocumentPart: ContentWriter._document,
    AudioPart: ContentWriter._audio,
    SearchResultPart: ContentWriter._search_result,
    ReasoningPart: ContentWriter._reasoning,
    CallPart: ContentWriter._call,
    ResultPart: ContentWriter._result,
    ForeignPart: ContentWriter._foreign,
}
