"""Encode the parts of hub turns for chat messages: content parts, tool calls, reasoning."""

from __future__ import annotations

from typing import Any

from .. import media, prose, quirks
from ..capabilities import Capabilities
from ..errors import UnsupportedContent, unsupported_content
from ..ids import CallIds
from ..jsontext import dumps
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
from .details_in import opaque_of
from .facts import HABITS, IDS

Content = dict[str, Any]

_AUDIO = {media.WAV: "wav", media.MP3: "mp3"}  # the formats of OpenAI's reference


class ContentWriter:
    """Encodes the content of one request."""

    def __init__(self, request: Request, capabilities: Capabilities, tools: ToolMap) -> None:
        self._habits = request.habits
        self._ledger = request.ledger
        self._capabilities = capabilities
        self._tools = tools
        self._ids = CallIds(IDS, capabilities.openai_host)

    # ---- user and tool content ----

    def parts(self, part: Part) -> list[Content]:
        """The content parts for a hub part; empty if it has no content. Raises errors.UnsupportedContent."""
        if isinstance(part, TextPart):
            return [self._marked({"type": "text", "text": part.text}, part)]
        if isinstance(part, ImagePart):
            return [self._marked(self._image(part), part)]
        if isinstance(part, DocumentPart):
            return self._document(part)
        if isinstance(part, AudioPart):
            return [self._audio(part)]
        if isinstance(part, SearchResultPart):
            return self.parts(prose.search_result(part, self._ledger))
        if isinstance(part, RefusalPart):
            return [{"type": "text", "text": part.text}]
        if isinstance(part, ForeignPart):
            self._ledger.drop(part.path, part.label)
        return []

    def noted(self, part: Part) -> list[Content]:
        """As `parts`, for a tool result: unsupported content becomes a note, because all later requests repeat it."""
        try:
            return self.parts(part)
        except UnsupportedContent:
            assert isinstance(part, ImagePart | DocumentPart)
            return self.parts(prose.note(part, self._ledger))

    def _image(self, part: ImagePart) -> Content:
        if not self._capabilities.c_images:
            raise unsupported_content("an image", part.path, "image_block")
        if not part.data and not self._capabilities.c_image_urls:
            raise unsupported_content("an image by its URL", part.path, "image_block")
        detail = part.detail
        if detail == "original" and not self._capabilities.openai_host:
            detail = "high"
            self._ledger.adapt((*part.path, *self._habits.image_detail_at), detail)
        url = media.Inline(part.media_type, part.data).url if part.data else part.url
        return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}

    def _document(self, part: DocumentPart) -> list[Content]:
        if part.data and part.media_type.startswith("image/"):
            return [self._marked(self._image(ImagePart(part.path, media_type=part.media_type, data=part.data)), part)]
        if part.data and self._capabilities.c_file_parts and (self._habits is HABITS or not part.media_type.startswith("video/")):
            file = {"filename": part.title or "document.pdf", "file_data": media.Inline(part.media_type, part.data).url}
            if part.context:
                self._ledger.adapt(part.path)
            context = [{"type": "text", "text": prose.context(part).strip()}] if part.context else []
            return [*context, self._marked({"type": "file", "file": file}, part)]
        if prose.is_prose(part):
            return [written for inner in prose.document_parts(part, self._ledger) for written in self.parts(inner)]
        raise unsupported_content("a document by its URL" if part.url else "this kind of file", part.path, "document_block")

    def _audio(self, part: AudioPart) -> Content:
        form = _AUDIO.get(part.media_type)
        if form is None:
            raise unsupported_content(f"audio of type {part.media_type[:64]}", part.path)
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": form}}

    def _marked(self, written: Content, part: TextPart | ImagePart | DocumentPart) -> Content:
        """Add the part's cache breakpoint if the upstream supports breakpoints. Others cache prompts automatically."""
        cache: Cache | None = part.cache
        if cache is not None and self._capabilities.c_cache_control:
            written["cache_control"] = {"type": "ephemeral", "ttl": "1h"} if cache.long else {"type": "ephemeral"}
        elif cache is not None and self._capabilities.c_cache_breakpoints:
            written["prompt_cache_breakpoint"] = {"mode": "explicit", "ttl": "12h" if cache.long else "30m"}
            theirs = self._habits.cache_mark
            if cache.long and theirs != HABITS.cache_mark:
                self._ledger.adapt((*part.path, theirs))
        return written

    def content(self, parts: list[Content]) -> str | list[Content]:
        """The content as a string if it is one text or the upstream accepts only strings, else as a list."""
        texts = [part["text"] for part in parts if part["type"] == "text"]
        one = len(texts) == len(parts) and (len(texts) == 1 or not self._capabilities.c_content_parts)
        return "\n\n".join(texts) if one and not is_marked(parts) else parts

    def text_only(self, parts: list[Part]) -> list[Content]:
        """The content parts of a system or assistant message, which may only contain text. Raises errors.UnsupportedContent."""
        written = []
        for part in parts:
            for content in self.parts(part):
                if content["type"] != "text":
                    raise unsupported_content("content other than text here", part.path)
                written.append(content)
        return written

    # ---- tools ----

    def call(self, part: CallPart) -> Content:
        name = self._tools.wire(part.name, part.namespace)
        id = self._ids.call(part.id)
        if part.kind == "custom" and not self._tools.emulates(part):
            return {"id": id, "type": "custom", "custom": {"name": name, "input": part.arguments}} | self.sealed(part)
        arguments = dumps({"input": part.arguments}).decode() if part.kind == "custom" else part.arguments
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments or "{}"}}
        return call if part.seal is None else call | self.sealed(part)

    def sealed(self, part: CallPart | TextPart) -> Content:
        """The member that returns the seal of a call or text to an upstream that can read it; else empty."""
        if part.seal is None:
            return {}
        takes = self._capabilities.c_extra_content or part.seal.domain == self._domain
        if takes and part.seal.readable("google", self._domain):
            return {"extra_content": {"google": {"thought_signature": part.seal.value}}}
        self._ledger.drop(part.seal.path)
        return {}

    def result(self, part: ResultPart) -> tuple[Content, list[Content]]:
        """The tool message, and the content other than text, which must follow in a user message."""
        id = self._ids.result(part.id)
        only = part.only_text
        if only is not None:  # nearly every result
            return {"role": "tool", "tool_call_id": id, "content": prose.outcome(part, only, self._ledger)}, []
        texts: list[Content] = []
        others: list[Content] = []
        for inner in [TextPart(part.content, part.path)] if isinstance(part.content, str) else part.content:
            written = self.noted(inner)
            if all(content["type"] == "text" for content in written):
                texts += written
                continue
            self._ledger.adapt(inner.path)
            kind = "Image" if any(content["type"] == "image_url" for content in written) else "Document"
            others += [{"type": "text", "text": f"{kind} output of tool call {id}:"}, *written]
        text = "\n".join(content["text"] for content in texts)
        if others and not text:
            text = "[image attached in next message]"
        text = prose.outcome(part, text, self._ledger)
        message: Content = {"role": "tool", "tool_call_id": id, "content": text}
        marked = self._marked({"type": "text", "text": text}, TextPart(text, part.path, part.cache or _last_cache(part)))
        if is_marked([marked]):
            message["content"] = [marked]
        return message, others

    # ---- reasoning ----

    def reasoning(self, parts: list[ReasoningPart], calls: bool) -> Content:
        """The members of an assistant message that return reasoning. calls: whether the message has tool calls."""
        wanted = self._capabilities.c_reasoning_in
        texts: list[str] = []
        details: list[Content] = []
        verbatim: list[Content] = []
        for part in parts:
            if part.form == "details" and part.domain == self._domain:
                verbatim += part.blocks
                if part.text and wanted == "reasoning_text":
                    texts.append(part.text)
            elif part.form == "text" and self._is_readable(part):
                if part.text and wanted != "none":
                    texts.append(part.text)
                    details.append({"type": "reasoning.text", "text": part.text})
            elif wanted == "reasoning_details" and part.form in ("anthropic", "openai") and part.domain in (None, self._domain):
                details += _details(part)
            else:
                self._ledger.drop(part.path)
        written = [detail | {"index": i} for i, detail in enumerate(details, len(verbatim))] if wanted == "reasoning_details" else []
        opaque, verbatim = opaque_of(verbatim)
        members: Content = {"reasoning_details": verbatim + written} if verbatim or written else {}
        if opaque:
            members[quirks.REASONING_OPAQUE] = opaque
        if wanted in ("none", "reasoning_details") or not texts:
            return members
        return members | {wanted: "\n\n".join(texts)}

    @property
    def _domain(self) -> str:
        return self._capabilities.reasoning_domain

    def _is_readable(self, part: ReasoningPart) -> bool:
        """Whether the upstream may receive the text: text from a shape with seals is returned only to its origin."""
        return not self._habits.seals_text or part.domain == self._domain


def is_marked(parts: list[Content]) -> bool:
    """Whether a part has a cache breakpoint, which rules out string content."""
    return any("prompt_cache_breakpoint" in part or "cache_control" in part for part in parts)


def _details(part: ReasoningPart) -> list[Content]:
    """The entries of `reasoning_details` for sealed reasoning, in OpenRouter's form."""
    if part.form == "openai":
        item = {"id": part.id, "format": "openai-responses-v1"}
        summary: list[Content] = [{"type": "reasoning.summary", "summary": text} | item for text in part.summary]
        return [*summary, {"type": "reasoning.encrypted", "data": part.encrypted} | item] if part.encrypted else summary
    form = {"format": "anthropic-claude-v1"}
    return [
        {"type": "reasoning.text", "text": block["thinking"], "signature": block["signature"]} | form
        if block["type"] == "thinking"
        else {"type": "reasoning.encrypted", "data": block["data"]} | form
        for block in part.blocks
    ]


def _last_cache(part: ResultPart) -> Cache | None:
    inner = part.content[-1] if isinstance(part.content, list) and part.content else None
    return inner.cache if isinstance(inner, TextPart) else None
