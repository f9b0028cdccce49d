"""Citations of the request's own documents and search results, as Anthropic's Messages API and Converse write them.

Both count the documents of a request in order, and name the same ranges: characters, pages, blocks. What one has and the other has not
(`file_id`) is left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .events import Passage

Value = dict[str, Any]


class _Form(NamedTuple):
    """of: what it is a passage of, "document" or "search_result". unit: of a messages citation's range. name: of Converse's location."""

    of: str
    unit: str
    name: str
    place: str


# by the type of a messages citation
_FORMS = {
    "char_location": _Form("document", "char_index", "documentChar", "documentIndex"),
    "page_location": _Form("document", "page_number", "documentPage", "documentIndex"),
    "content_block_location": _Form("document", "block_index", "documentChunk", "documentIndex"),
    "search_result_location": _Form("search_result", "block_index", "searchResultLocation", "searchResultIndex"),
}
_TYPES = {form.name: kind for kind, form in _FORMS.items()}


def of_messages(citation: Value) -> Passage | None:
    """None for what is no such citation."""
    kind = citation.get("type")
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        return None
    place = (citation.get(f"{form.of}_index"), citation.get(f"start_{form.unit}"), citation.get(f"end_{form.unit}"))
    return _passage(str(kind), place, citation.get("source"))


def to_messages(passage: Passage, title: str, cited_text: str) -> Value:
    form = _FORMS[passage.kind]
    result = form.of == "search_result"
    named: Value = {"source": passage.source, "title": title or None} if result else {"document_title": title or None}
    place = {f"{form.of}_index": passage.index, f"start_{form.unit}": passage.start, f"end_{form.unit}": passage.end}
    return {"type": passage.kind, "cited_text": cited_text} | named | place


def of_converse(citation: Value) -> Passage | None:
    """None for what is no such citation."""
    location = citation.get("location")
    for name, place in location.items() if isinstance(location, dict) else ():
        if name in _TYPES and isinstance(place, dict):
            kind = _TYPES[name]
            return _passage(kind, (place.get(_FORMS[kind].place), place.get("start"), place.get("end")), citation.get("source"))
    return None


def to_converse(citation: Value) -> Value | None:
    """What Converse has for a messages citation in a history; None if it has nothing."""
    passage = of_messages(citation)
    if passage is None:
        return None
    form = _FORMS[passage.kind]
    texts = {"title": citation.get("document_title" if form.of == "document" else "title"), "source": passage.source or None}
    members: Value = {name: text for name, text in texts.items() if isinstance(text, str)}
    if isinstance(cited := citation.get("cited_text"), str) and cited:
        members["sourceContent"] = [{"text": cited}]
    return members | {"location": {form.name: {form.place: passage.index, "start": passage.start, "end": passage.end}}}


def _passage(kind: str, place: tuple[Any, Any, Any], source: Any) -> Passage | None:
    if not all(type(number) is int and number >= 0 for number in place):
        return None
    return Passage(kind, *place, source if isinstance(source, str) else "")
