"""Write content as text for APIs without a block for it.

All conversions are reported as adapted, with the caller's path.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from . import jsontext, media
from .anything import at, dicts_in
from .ledger import Ledger, Path
from .request import DocumentPart, ImagePart, ResultPart, SearchResultPart, TextPart


def is_prose(part: DocumentPart) -> bool:
    """Whether the document only consists of text and images, so that `document_parts` is complete."""
    return part.text is not None or part.parts is not None or (bool(part.data) and part.media_type.startswith("text/"))


def document_parts(part: DocumentPart, ledger: Ledger) -> list[TextPart | ImagePart]:
    """Convert a document for which `is_prose` holds to texts and images. Raises errors.Malformed for a file that is not text."""
    ledger.adapt(part.path)
    inner = part.parts or []
    if any(isinstance(each, ImagePart) for each in inner):
        opening, closing = _around(part) if part.title or part.context else ("", "")
        around = [[TextPart(text, part.path)] if text else [] for text in (opening, closing)]
        return [*around[0], *inner, *around[1]]
    opening, closing = _around(part)
    if part.data:
        text = media.decoded_text(part.data, part.path)
    else:
        text = "\n".join(each.text for each in inner if isinstance(each, TextPart)) if part.text is None else part.text
    return [TextPart(f"{opening}\n{text}\n{closing}", part.path, part.cache)]


def _around(part: DocumentPart) -> tuple[str, str]:
    title = f' title="{_attribute(part.title)}"' if part.title else ""
    return f"<document{title}>{context(part)}", "</document>"


def context(part: DocumentPart) -> str:
    """The caller's context of the document, on a separate line; "" if there is none."""
    return f"\nContext: {part.context}" if part.context else ""


def search_result(part: SearchResultPart, ledger: Ledger) -> TextPart:
    ledger.adapt(part.path)
    opening = f'<search_result source="{_attribute(part.source)}" title="{_attribute(part.title)}">'
    return TextPart(f"{opening}\n{part.text}\n</search_result>", part.path, part.cache)


def outcome(result: ResultPart, text: str, ledger: Ledger) -> str:
    """The text of a tool result. A failure is stated in the text if it is not already."""
    if not result.is_error or text.lower().startswith("error"):
        return text
    ledger.adapt((*result.path, "is_error"))
    return f"Error: {text}"


def left_out(what: str, path: Path, ledger: Ledger, title: str = "") -> TextPart:
    """A note replacing a part of a tool result that cannot be sent to the model. what: the type of the part."""
    ledger.adapt(path)
    named = f' "{title}"' if title else ""
    return TextPart(f"[{what or 'content'}{named}: the selected model cannot read this]", path)


def note(part: ImagePart | DocumentPart, ledger: Ledger) -> TextPart:
    """As `left_out`, for an image or document part."""
    if isinstance(part, ImagePart):
        return left_out("image", part.path, ledger)
    return left_out("document", part.path, ledger, part.title or part.url)


# ---- results of a provider's own tools ----

_LONGEST_TRACE = 8192  # characters of one trace
# members of their results that only the provider reads
_SEALED_MEMBERS = frozenset({"encrypted_content", "encrypted_index", "encrypted_stdout", "data", "type", "cache_control", "page_age"})


def server_tool(kind: str, block: dict[str, Any], path: Path, ledger: Ledger) -> TextPart | None:
    """Convert a server tool's block in an assistant turn to text, because the answer relies on it. None if it is no such block."""
    if kind in ("server_tool_use", "mcp_tool_use"):
        trace = f"[{block.get('name') or kind}: {_plain(block.get('input'))}]"
    elif kind.endswith("_tool_result"):
        trace = f"[{kind.removesuffix('_tool_result')} result: {_plain(block.get('content'))}]"
    else:
        return None
    ledger.adapt(path)
    text = trace if len(trace) <= _LONGEST_TRACE else trace[:_LONGEST_TRACE] + " …]"
    return TextPart(text, path, apart=True, loads=_loaded(block.get("content")) if kind == "tool_search_tool_result" else ())


def _loaded(result: Any) -> tuple[str, ...]:
    """The names of the tools that a provider's search has found."""
    names = [each.get("tool_name") for each in dicts_in(at(result, "tool_references"))]
    return tuple(name for name in names if isinstance(name, str))


def _plain(value: Any) -> str:
    """The value as JSON text without opaque or binary members."""
    readable = _readable(value)
    return readable if isinstance(readable, str) else jsontext.dumps(readable).decode()


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("type") == "text" and isinstance(value.get("data"), str):  # the source of a fetched document that is plain text
            return value["data"]
        return {key: _readable(inner) for key, inner in value.items() if key not in _SEALED_MEMBERS}
    return [_readable(inner) for inner in value] if isinstance(value, list) else value


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
