"""Decode a messages client's content blocks into parts of hub turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .. import jsontext, media, prose
from ..errors import Malformed, UnsupportedContent, unsupported_content
from ..fields import Fields, invalid, wrong_type
from ..ledger import Ledger, Path
from ..reasoning import is_sealed, opened
from ..request import (
    Cache,
    CallPart,
    DocumentPart,
    ForeignPart,
    ImagePart,
    Part,
    ReasoningPart,
    ResultPart,
    SearchResultPart,
    TextPart,
)

_Part = TypeVar("_Part")
# types allowed inside other blocks
_IN_RESULT = {"text", "image", "document", "search_result", "tool_reference", "browser_state"}
_IN_DOCUMENT = {"text", "image"}
_IN_SEARCH_RESULT = {"text"}
# types that the API allows in one role only
_OF_ASSISTANT = frozenset({"tool_use", "thinking", "redacted_thinking"})
_OF_USER = frozenset({"tool_result"})


def decode_content(content: Any, role: str, path: Path, ledger: Ledger) -> list[Part]:
    """The parts of one message. content: a string or a list of blocks. path: where it stands.

    Raises subclasses of errors.ClientFault.
    """
    if isinstance(content, str):
        return [TextPart(content, path)]
    if not isinstance(content, list):
        raise wrong_type(path, "a string or a list")
    parts = [decode_block(block, role, (*path, i), ledger) for i, block in enumerate(content)]
    return [part for part in parts if part is not None]


def cache_of(fields: Fields, ledger: Ledger) -> Cache | None:
    """The cache breakpoint set by `cache_control`, or None."""
    return fields.mark("cache_control", "1h", ledger)


def _misplaced(kind: str, role: str, path: Path) -> Malformed:
    """Raises errors.Malformed for a block that belongs to another role, which the API refuses too."""
    side = "user" if role == "assistant" else "assistant"
    return invalid((*path, "type"), f"`{kind}` blocks can only stand in `{side}` messages")


def decode_block(block: Any, role: str, path: Path, ledger: Ledger) -> Part | None:
    """As decode_content, of one block. None for a block that only tells which of the provider's models has answered."""
    if (usual := usual_block(block, role, path, ledger)) is not None:
        return usual
    fields = Fields(block, path)
    kind = fields.required("type")
    if kind in (_OF_USER if role == "assistant" else _OF_ASSISTANT):
        raise _misplaced(kind, role, path)
    decode = _BLOCKS.get(kind)
    if decode is not None:
        part = decode(fields, ledger)
        fields.report(ledger)
        return part
    if role == "assistant" and kind == "fallback":
        return None
    if role == "assistant" and (text := prose.server_tool(kind, block, path, ledger)) is not None:
        return text
    if kind != "container_upload" and (role == "assistant" or kind.endswith("_tool_result")):
        return ForeignPart(kind, path)
    raise unsupported_content(f"content of type {kind[:64]}", path)


def usual_block(block: Any, role: str, path: Path, ledger: Ledger) -> Part | None:
    """A block of a frequent type that has its usual members and no others, as nearly all of an agent's history; else None."""
    if type(block) is not dict:
        return None
    kind, size = block.get("type"), len(block)
    if kind == "text":
        text = block.get("text")
        return TextPart(text, path) if size == 2 and type(text) is str else None
    if kind == "tool_use" and role == "assistant" and size == 4:
        id, name, input = block.get("id"), block.get("name"), block.get("input")
        if type(id) is str and type(name) is str and type(input) is dict:
            return CallPart(id, name, jsontext.input_to_arguments(input), path)
    elif kind == "tool_result" and role != "assistant" and (size == 3 or (size == 4 and "is_error" in block)):
        id, content, failed = block.get("tool_use_id"), block.get("content"), block.get("is_error", False)
        if type(id) is not str or type(failed) is not bool:
            return None
        if type(content) is str:
            return ResultPart(id, content, path, is_error=failed)
        if type(content) is list:
            return ResultPart(id, _usual_result(content, path) or _in_result(content, (*path, "content"), ledger), path, is_error=failed)
    elif kind == "thinking" and role == "assistant" and size == 3:
        text, signature = block.get("thinking"), block.get("signature")
        if type(text) is str and type(signature) is str:
            return _thought(text, signature, (*path, "thinking"))
    return None


def _usual_result(content: list[Any], path: Path) -> list[TextPart | ImagePart | DocumentPart | SearchResultPart] | None:
    """A result that is one text without any other member; else None. path: of the result."""
    block = content[0] if len(content) == 1 else None
    if type(block) is dict and len(block) == 2 and block.get("type") == "text" and type(text := block.get("text")) is str:
        return [TextPart(text, (*path, "content", 0))]
    return None


def _text(fields: Fields, ledger: Ledger) -> TextPart:
    cited = fields.take("citations")
    citations = tuple(one for one in cited if isinstance(one, dict)) if isinstance(cited, list) else ()
    return TextPart(fields.required("text"), fields.path, cache_of(fields, ledger), citations=citations)


def _image(fields: Fields, ledger: Ledger) -> ImagePart:
    part = ImagePart(fields.path, cache=cache_of(fields, ledger))
    source, kind = _source(fields, ledger)
    if kind == "url":
        part.url = source.required("url")
    elif kind == "base64":
        part.media_type, part.data = _inline(source)
    else:
        raise unsupported_content(f"image source type {kind[:64]}", fields.path)
    source.report(ledger)
    return part


def _document(fields: Fields, ledger: Ledger) -> DocumentPart:
    path = fields.path
    part = DocumentPart(path, title=fields.text("title") or "", context=fields.text("context") or "", cache=cache_of(fields, ledger))
    part.cites = _cites(fields, ledger)
    source, kind = _source(fields, ledger)
    if kind == "url":
        part.url = source.required("url")
    elif kind == "base64":
        part.media_type, part.data = _inline(source)
    elif kind == "text":
        part.media_type = source.text("media_type") or media.TEXT
        part.text = source.required("data")
    elif kind == "content":
        part.parts = _parts(source.take("content"), (*path, "source", "content"), ledger, _IN_DOCUMENT, (TextPart, ImagePart))
    else:
        raise unsupported_content(f"document source type {kind[:64]}", path)
    source.report(ledger)
    return part


def _source(fields: Fields, ledger: Ledger) -> tuple[Fields, str]:
    source = fields.inner("source")
    if source is None:
        raise wrong_type((*fields.path, "source"), "an object")
    return source, source.required("type")


def _inline(source: Fields) -> media.Inline:
    path = (*source.path, "data")
    data = media.clean_base64(source.required("data"), path)
    kind = media.media_type(source.text("media_type") or "") or media.sniff(data)
    if not kind:
        raise unsupported_content("content without a media type", source.path)
    return media.Inline(kind, data)


def _cites(fields: Fields, ledger: Ledger) -> bool:
    """Whether citations of a block are asked for, which is reported: an encoder that carries it takes the report back."""
    citations = fields.members("citations")
    enabled = citations is not None and citations.get("enabled") is True
    if enabled:
        ledger.drop((*fields.path, "citations"))
    return enabled


def _search_result(fields: Fields, ledger: Ledger) -> SearchResultPart:
    cites = _cites(fields, ledger)
    texts = _parts(fields.take("content"), (*fields.path, "content"), ledger, _IN_SEARCH_RESULT, (TextPart,))
    return SearchResultPart(
        fields.path,
        source=fields.required("source"),
        title=fields.required("title"),
        text="\n".join(text.text for text in texts),
        cache=cache_of(fields, ledger),
        cites=cites,
        texts=tuple(text.text for text in texts),
    )


def _thinking(fields: Fields, ledger: Ledger) -> ReasoningPart:
    return _thought(fields.text("thinking") or "", fields.text("signature") or "", (*fields.path, "thinking"))


def _thought(text: str, signature: str, path: Path) -> ReasoningPart:
    if is_sealed(signature):
        return opened(signature, path, text)
    if not signature:
        return ReasoningPart(path, "foreign", text)
    return ReasoningPart(path, "anthropic", text, [{"type": "thinking", "thinking": text, "signature": signature}])


def _redacted_thinking(fields: Fields, ledger: Ledger) -> ReasoningPart:
    block = {"type": "redacted_thinking", "data": fields.required("data")}
    return ReasoningPart((*fields.path, "data"), "anthropic", blocks=[block])


def _tool_use(fields: Fields, ledger: Ledger) -> CallPart:
    fields.ignore("caller", "toolset_name")
    arguments = jsontext.input_to_arguments(fields.members("input") or {})
    return CallPart(fields.required("id"), fields.required("name"), arguments, fields.path, cache=cache_of(fields, ledger))


def _tool_result(fields: Fields, ledger: Ledger) -> ResultPart:
    fields.ignore("toolset_name")
    content = fields.take("content")
    path = (*fields.path, "content")
    if content is None:
        content = ""
    elif not isinstance(content, str):
        content = _in_result(content, path, ledger)
    return ResultPart(
        fields.required("tool_use_id"),
        content,
        fields.path,
        is_error=bool(fields.flag("is_error")),
        cache=cache_of(fields, ledger),
    )


def _in_result(content: Any, path: Path, ledger: Ledger) -> list[TextPart | ImagePart | DocumentPart | SearchResultPart]:
    """Read a tool result. Unreadable content becomes a note: a refusal would fail all later requests, which repeat it."""
    if not isinstance(content, list):
        raise wrong_type(path, "a string or a list")
    parts: list[TextPart | ImagePart | DocumentPart | SearchResultPart] = []
    for i, block in enumerate(content):
        try:
            part = _inner(block, (*path, i), ledger, _IN_RESULT)
            if isinstance(part, TextPart | ImagePart | DocumentPart | SearchResultPart):
                parts.append(part)
        except UnsupportedContent:
            kind = str(block.get("type")) if isinstance(block, dict) else ""
            parts.append(prose.left_out(kind, (*path, i), ledger))
    return parts


def _parts(content: Any, path: Path, ledger: Ledger, allowed: set[str], kinds: tuple[type[_Part], ...]) -> list[_Part]:
    """Content inside a block. Raises errors.UnsupportedContent for a type that may not stand there."""
    decoded: Sequence[Part | None]
    if isinstance(content, list):
        decoded = [_inner(block, (*path, i), ledger, allowed) for i, block in enumerate(content)]
    else:
        decoded = [] if content is None else decode_content(content, "user", path, ledger)
    return [part for part in decoded if isinstance(part, kinds)]


def _inner(block: Any, path: Path, ledger: Ledger, allowed: set[str]) -> Part | None:
    """A block inside another one. Raises errors.UnsupportedContent for a type that may not stand there."""
    kind = block.get("type") if isinstance(block, dict) else None
    if isinstance(kind, str) and kind not in allowed:
        raise unsupported_content(f"content of type {kind[:64]}", path)
    part = decode_block(block, "user", path, ledger)
    if isinstance(part, ForeignPart):
        ledger.drop(part.path, part.label)
    return part


def _tool_reference(fields: Fields, ledger: Ledger) -> TextPart:
    """What a search that the caller ran has found: its own shape loads the tool."""
    ledger.adapt(fields.path)
    fields.ignore("name")
    name = fields.text("tool_name") or ""
    return TextPart(f"The tool {name} is now available.", fields.path, cache_of(fields, ledger), loads=(name,))


def _browser_state(fields: Fields, ledger: Ledger) -> TextPart:
    """A text with the state of the caller's browser: URL, title and tabs."""
    ledger.adapt(fields.path)
    state = {key: value for key in ("url", "title", "tabs") if (value := fields.take(key)) is not None}
    return TextPart(jsontext.dumps(state).decode(), fields.path, cache_of(fields, ledger))


_BLOCKS: dict[str, Callable[[Fields, Ledger], Part]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "tool_reference": _tool_reference,
    "browser_state": _browser_state,
}
