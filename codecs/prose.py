"""Content that only the messages shape has a block for, as the text that the OpenAI shapes can say instead.

Everything that is said otherwise here is reported as adapted, under the client's own path.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from . import media
from .ledger import Ledger
from .request import DocumentPart, ImagePart, ResultPart, SearchResultPart, TextPart


def is_prose(part: DocumentPart) -> bool:
    """Whether the document is nothing but text, or text and images: `document_parts` has all of it."""
    return part.text is not None or part.parts is not None or (bool(part.data) and part.media_type.startswith("text/"))


def document_parts(part: DocumentPart, ledger: Ledger) -> list[TextPart | ImagePart]:
    """A document (for which `is_prose`) as texts and images in its order. Raises errors.Malformed for a file that is not text."""
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
    """What the caller says about the document, on a line of its own; "" when nothing."""
    return f"\nContext: {part.context}" if part.context else ""


def search_result(part: SearchResultPart, ledger: Ledger) -> TextPart:
    ledger.adapt(part.path)
    opening = f'<search_result source="{_attribute(part.source)}" title="{_attribute(part.title)}">'
    return TextPart(f"{opening}\n{part.text}\n</search_result>", part.path, part.cache)


def outcome(result: ResultPart, text: str, ledger: Ledger) -> str:
    """A tool's text; that it failed is said in words where the text does not say so itself."""
    if not result.is_error or text.lower().startswith("error"):
        return text
    ledger.adapt((*result.path, "is_error"))
    return f"Error: {text}"


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
