"""Decode a responses client's content parts and items into parts of hub turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import jsontext, media, prose
from ..errors import UnsupportedContent, unsupported_content
from ..fields import Fields, missing, wrong_type
from ..ledger import Ledger, Path
from ..reasoning import is_block, is_sealed, opened
from ..request import (
    Cache,
    CallPart,
    DocumentPart,
    ForeignPart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    ResultPart,
    SearchResultPart,
    TextPart,
)

# a caller's own notes on its items
BOOKKEEPING = frozenset({"id", "status", "agent", "internal_chat_message_metadata_passthrough"})
_OF_REASONING = frozenset({"type", "id", "status", "summary", "content", "encrypted_content"})
_OF_A_CALL = BOOKKEEPING | {"async", "created_by"}

_InResult = TextPart | ImagePart | DocumentPart | SearchResultPart


def decode_content(content: Any, role: str, path: Path, ledger: Ledger) -> list[Part]:
    """Return the parts of one message. content: a string or a list. path: of the content. Raises subclasses of errors.ClientFault."""
    if isinstance(content, str):
        return [TextPart(content, path)]
    if not isinstance(content, list):
        raise missing(path) if content is None else wrong_type(path, "a string or a list")
    return [_decode_part(part, role, (*path, i), ledger) for i, part in enumerate(content)]


def _decode_part(part: Any, role: str, path: Path, ledger: Ledger) -> Part:
    if type(part) is dict and len(part) == 2 and type(text := part.get("text")) is str and part.get("type") in _TEXTS:
        return TextPart(text, path)  # nearly every part
    fields = Fields(part, path)
    kind = fields.required("type")
    decode = _PARTS.get(kind)
    if decode is None:
        if role == "assistant" or kind == "encrypted_content":  # what agents of its provider tell each other
            return ForeignPart(kind[:64], path)
        raise unsupported_content(f"content of type {kind[:64]}", path)
    decoded = decode(fields, ledger)
    if kind == "input_file" and fields.text("detail") not in (None, "auto"):  # the resolution at which its pages are rendered
        ledger.drop((*path, "detail"))
    fields.report(ledger)
    return decoded


def _cache(fields: Fields, ledger: Ledger) -> Cache | None:
    return fields.mark("prompt_cache_breakpoint", "12h", ledger) or fields.mark("cache_control", "1h", ledger)


def _in_result(part: Any, path: Path, ledger: Ledger) -> Part:
    """Read a tool result. Unreadable content becomes a note: a refusal would fail all later requests, which repeat it."""
    try:
        return _decode_part(part, "tool", path, ledger)
    except UnsupportedContent:
        return prose.left_out(str(part.get("type", "")).removeprefix("input_"), path, ledger, str(part.get("filename") or ""))


def _text(fields: Fields, ledger: Ledger) -> TextPart:
    fields.ignore("annotations", "logprobs", "parsed")
    return TextPart(fields.required("text"), fields.path, _cache(fields, ledger))


def _refusal(fields: Fields, ledger: Ledger) -> RefusalPart:
    return RefusalPart(fields.required("refusal"), fields.path)


def _image(fields: Fields, ledger: Ledger) -> ImagePart:
    _no_file_id(fields)
    url = fields.required("image_url")
    part = ImagePart(fields.path, detail=fields.text("detail") or "", cache=_cache(fields, ledger))
    if media.is_data_url(url):
        part.media_type, part.data = media.parse_data_url(url, (*fields.path, "image_url"))
    else:
        part.url = url
    return part


def _file(fields: Fields, ledger: Ledger) -> DocumentPart:
    _no_file_id(fields)
    part = DocumentPart(fields.path, title=fields.text("filename") or "", cache=_cache(fields, ledger))
    data, url = fields.text("file_data"), fields.text("file_url")
    if data is not None:
        part.media_type, part.data = media.parse_file(data, (*fields.path, "file_data"))
    elif url is not None:
        part.url = url
    else:
        raise missing((*fields.path, "file_data"))
    return part


def _no_file_id(fields: Fields) -> None:
    """Refuse a file id, which is only valid within one account. Raises errors.UnsupportedContent."""
    if fields.text("file_id") is not None:
        raise unsupported_content("a file by its id", (*fields.path, "file_id"))


_PARTS: dict[str, Callable[[Fields, Ledger], Part]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
}


_TEXTS = ("input_text", "output_text", "text")  # a tuple: the value may be anything

# ---- items ----


def decode_call(fields: Fields, kind: str, ledger: Ledger) -> CallPart:
    """Read a function_call (kind "function") or custom_tool_call (kind "custom") item."""
    bookkeeping(fields, ledger)
    if kind == "custom":
        arguments = fields.text("input") or ""
    else:
        value = fields.take("arguments")
        arguments = value if isinstance(value, str) else jsontext.dumps(value or {}).decode()
    part = CallPart(fields.required("call_id"), fields.required("name"), arguments, fields.path, kind, fields.text("namespace"))
    fields.report(ledger)
    return part


def bookkeeping(fields: Fields, ledger: Ledger) -> None:
    """Read an item's bookkeeping members, which no model reads. A caller that is a program is reported as adapted."""
    fields.ignore_all(_OF_A_CALL)
    caller = fields.members("caller")
    if caller is not None and caller.get("type") != "direct":
        ledger.adapt((*fields.path, "caller"))


def _result_parts(output: Any, path: Path, ledger: Ledger) -> list[_InResult]:
    if not isinstance(output, list):
        raise wrong_type(path, "a string or a list")
    parts = [_in_result(part, (*path, i), ledger) for i, part in enumerate(output)]
    return [part for part in parts if isinstance(part, _InResult)]


def decode_result(fields: Fields, kind: str, ledger: Ledger) -> ResultPart:
    """Read a function_call_output or custom_tool_call_output item; its id is "" if it answers no call."""
    bookkeeping(fields, ledger)
    fields.ignore("name", "namespace")
    output, path = fields.take("output"), (*fields.path, "output")
    content: str | list[_InResult] = output if isinstance(output, str) else []
    if output is not None and not isinstance(output, str):
        content = _result_parts(output, path, ledger)
    part = ResultPart(fields.text("call_id") or "", content or "", fields.path, kind=kind)
    fields.report(ledger)
    return part


def decode_reasoning(fields: Fields, ledger: Ledger) -> ReasoningPart | None:
    """Read a reasoning item; None if it is empty.

    The gateway's own members of a stored item take precedence over the content that its caller received.
    """
    id, path = fields.text("id") or "", fields.path
    fields.ignore_all(BOOKKEEPING)
    summary = list(_texts(fields.items("summary"), "summary_text"))
    text = "\n\n".join(_texts(fields.items("content"), "reasoning_text"))
    encrypted = fields.text("encrypted_content") or ""
    blocks, stored_text = fields.take("dragoman_blocks"), fields.take("dragoman_text")
    domain = fields.take("dragoman_domain")
    domain = domain if isinstance(domain, str) else None
    fields.report(ledger)
    if isinstance(stored_text, str) and stored_text:
        return ReasoningPart((*path, "content"), "text", stored_text, domain=domain)
    sealed = (*path, "encrypted_content")
    if isinstance(blocks, list) and blocks and all(map(is_block, blocks)):
        return ReasoningPart(sealed, "anthropic", text, blocks, domain=domain)
    if encrypted:
        return _sealed(id, text, summary, encrypted, sealed, domain)
    if text:
        return ReasoningPart((*path, "content"), "text", text)
    return ReasoningPart((*path, "summary"), "text", "\n\n".join(summary)) if summary else None


def usual_reasoning(item: dict[str, Any], path: Path) -> ReasoningPart | None:
    """A reasoning item as models answer it: sealed, with a summary at most; else None."""
    if not item.keys() <= _OF_REASONING or item.get("content") not in (None, []):
        return None
    id, summary, encrypted = item.get("id", ""), item.get("summary"), item.get("encrypted_content")
    if type(id) is not str or type(summary) is not list or type(encrypted) is not str or not encrypted:
        return None
    return _sealed(id, "", list(_texts(summary, "summary_text")), encrypted, (*path, "encrypted_content"))


def _sealed(id: str, text: str, summary: list[str], encrypted: str, path: Path, domain: str | None = None) -> ReasoningPart:
    if is_sealed(encrypted):
        return opened(encrypted, path, text)
    return ReasoningPart(path, "openai", text, id=id, encrypted=encrypted, summary=summary, domain=domain)


def _texts(parts: Iterable[Any] | None, kind: str) -> Iterable[str]:
    for part in parts or ():
        if isinstance(part, dict) and part.get("type") == kind and isinstance(part.get("text"), str) and part["text"]:
            yield part["text"]
