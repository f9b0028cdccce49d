"""Encode parts of hub turns as parts for a gemini upstream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from .. import media, prose
from ..capabilities import Capabilities
from ..errors import UnsupportedContent, unsupported_content
from ..ids import CallIds
from ..jsontext import arguments_to_input
from ..ledger import Path
from ..request import (
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
)
from ..tools import ToolMap
from .facts import DUMMY, IDS

Piece = dict[str, Any]

IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif"})
_IN_RESULTS = frozenset({"image/png", "image/jpeg", "image/webp", media.PDF})
_BY_EXTENSION = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "pdf": media.PDF,
    "txt": media.TEXT,
    "html": "text/html",
    "csv": "text/csv",
    "md": "text/markdown",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
}


class ContentWriter:
    """Encodes the parts of one request."""

    def __init__(self, request: Request, capabilities: Capabilities, tools: ToolMap) -> None:
        self._capabilities = capabilities
        self._habits = request.habits
        self._ledger = request.ledger
        self._tools = tools
        self._ids = CallIds(IDS)
        self._names: dict[str, str] = {}  # the upstream's name of a call's tool, by the call's id here

    def pieces(self, part: Part) -> list[Piece]:
        """The parts of a part that is no result; empty if it has no content. Raises errors.UnsupportedContent."""
        return _WRITERS[type(part)](self, part)

    def _text(self, part: TextPart | RefusalPart) -> list[Piece]:
        if isinstance(part, RefusalPart):
            return [{"text": part.text}] if part.text else []
        if part.seal is None:
            return [{"text": part.text}] if part.text else []
        signature = self.signature(part)
        return [{"text": part.text} | signature] if part.text or signature else []

    def signature(self, part: TextPart | CallPart) -> Piece:
        """The member that returns a signature to the service that made it; empty if there is none that it can read."""
        seal = part.seal
        if seal is None or self._capabilities.g_signatures == "none":
            return {}
        if seal.readable("google", self._capabilities.reasoning_domain):
            return {"thoughtSignature": seal.value}
        self._ledger.drop(seal.path)
        return {}

    def _image(self, part: ImagePart) -> list[Piece]:
        if part.detail in ("low", "high"):
            self._ledger.drop((*part.path, *self._habits.image_detail_at))
        if part.data:
            return [_inline(part.media_type, part.data, part.path)]
        return [self._linked(part.url, "image/jpeg", part.path)]

    def _linked(self, url: str, otherwise: str, path: Path) -> Piece:
        """A file that Google fetches. otherwise: its type if its name does not tell it."""
        if not url.startswith(("https://", "http://", "gs://")):
            raise unsupported_content("this kind of URL", path)
        return {"fileData": {"fileUri": url, "mimeType": _BY_EXTENSION.get(_extension(url), otherwise)}}

    def _document(self, part: DocumentPart) -> list[Piece]:
        if prose.is_prose(part):
            return [piece for inner in prose.document_parts(part, self._ledger) for piece in self.pieces(inner)]
        if part.context:
            self._ledger.drop((*part.path, "context"))
        if part.data and (part.media_type == media.PDF or part.media_type.startswith(("audio/", "video/"))):
            return [{"inlineData": {"mimeType": part.media_type, "data": part.data}}]
        if part.data and part.media_type.startswith("image/"):
            return [_inline(part.media_type, part.data, part.path)]
        if part.url:
            return [self._linked(part.url, part.media_type or media.PDF, part.path)]
        raise unsupported_content("this kind of file", part.path)

    def _audio(self, part: AudioPart) -> list[Piece]:
        return [{"inlineData": {"mimeType": part.media_type, "data": part.data}}]

    def _search_result(self, part: SearchResultPart) -> list[Piece]:
        return self._text(prose.search_result(part, self._ledger))

    def _reasoning(self, part: ReasoningPart) -> list[Piece]:
        """Thoughts are not sent: what a model of Google's needs of them is in the signatures."""
        self._ledger.drop(part.path)
        return []

    def _call(self, part: CallPart) -> list[Piece]:
        name = self._tools.wire(part.name, part.namespace)
        custom = self._tools.emulates(part)
        args = {"input": part.arguments} if custom else arguments_to_input(part.arguments)
        id = self._ids.call(part.id)
        self._names[id] = name
        call: Piece = {"id": id} if self._capabilities.g_call_ids and id else {}
        call["name"], call["args"] = name, args
        return [{"functionCall": call} if part.seal is None else {"functionCall": call} | self.signature(part)]

    def _foreign(self, part: ForeignPart) -> list[Piece]:
        self._ledger.drop(part.path, part.label)
        return []

    # ---- results ----

    def result(self, part: ResultPart) -> tuple[Piece, list[Piece]]:
        """A result, and what of it has to stand behind all results: media that cannot be in it, each with a label."""
        id = self._ids.result(part.id)
        text, inside, behind = (part.content, [], []) if isinstance(part.content, str) else self._inside_result(part.content)
        if behind:
            self._ledger.adapt(part.path)
            behind.insert(0, {"text": f"Image output of tool call {id}:"})
        result: Piece = {"id": id} if self._capabilities.g_call_ids and id else {}
        name = self._names.get(id) or (self._tools.wire(part.name) if part.name else "unknown")
        result["name"], result["response"] = name, {"error" if part.is_error else "output": text}
        return {"functionResponse": result | {"parts": inside} if inside else result}, behind

    def _inside_result(self, content: Sequence[Part]) -> tuple[str, list[Piece], list[Piece]]:
        """The text of a result, its files, and those that have to stand behind it."""
        texts: list[str] = []
        inside: list[Piece] = []
        behind: list[Piece] = []
        for part in content:
            for piece in self._inside(part):
                if "text" in piece:
                    texts.append(piece["text"])
                elif self._capabilities.g_result_media and self._fits(piece):
                    inside.append(piece)
                else:
                    behind.append(piece)
        return "\n".join(texts), inside, behind

    def _fits(self, piece: Piece) -> bool:
        """Whether a file can stand inside a result: inline, or at Vertex AI in one of Google's buckets."""
        stored = piece.get("fileData", {})
        if self._capabilities.g_server == "vertex" and stored.get("fileUri", "").startswith("gs://"):
            return stored["mimeType"] in _IN_RESULTS
        return piece.get("inlineData", {}).get("mimeType") in _IN_RESULTS

    def _inside(self, part: Part) -> list[Piece]:
        try:
            return self.pieces(part)
        except UnsupportedContent:  # a note, because all later requests repeat it
            assert isinstance(part, ImagePart | DocumentPart)
            return self.pieces(prose.note(part, self._ledger))


def sign_first_call(pieces: list[Piece]) -> bool:
    """Put the stand-in for a signature on the first call of a model's content, if that has none. Whether it was put."""
    first = next((piece for piece in pieces if "functionCall" in piece), None)
    if first is None or "thoughtSignature" in first:
        return False
    first["thoughtSignature"] = DUMMY
    return True


def _inline(media_type: str, data: str, path: Path) -> Piece:
    if media_type not in IMAGE_TYPES:
        raise unsupported_content(f"an image of type {media_type[:64]}", path)
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _extension(url: str) -> str:
    try:
        return urlsplit(url).path.lower().rpartition(".")[2]
    except ValueError:
        return ""


_WRITERS: dict[type, Callable[[ContentWriter, Any], list[Piece]]] = {
    TextPart: ContentWriter._text,
    RefusalPart: ContentWriter._text,
    ImagePart: ContentWriter._image,
    DocumentPart: ContentWriter._document,
    AudioPart: ContentWriter._audio,
    SearchResultPart: ContentWriter._search_result,
    ReasoningPart: ContentWriter._reasoning,
    CallPart: ContentWriter._call,
    ForeignPart: ContentWriter._foreign,
}
