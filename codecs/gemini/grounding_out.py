"""Citations and log probabilities of an answer as Google's `groundingMetadata` and `logprobsResult`.

Google counts the bytes of the answer's text in UTF-8, from the beginning of the first text that is not a thought; the hub counts the code
points of one text.
"""

from __future__ import annotations

from typing import Any

from ..events import Citation
from ..logprobs import spelt_out


class Grounding:
    """Collects the citations of one answer, and its text to find them in."""

    def __init__(self) -> None:
        self.citations: list[Citation] = []
        self.pieces: list[str] = []  # of the text that began last
        self._texts: dict[int, list[str]] = {}  # by the hub's part, in order

    def text_of(self, part: int) -> None:
        """What is added to `pieces` from now on belongs to this part."""
        self.pieces = self._texts.setdefault(part, [])

    def metadata(self) -> dict[str, Any] | None:
        """The member of the last chunk; None without citations."""
        if not self.citations:
            return None
        begins, text_of = self._places()
        chunks: dict[str, dict[str, Any]] = {}
        numbers: dict[str, int] = {}
        supports = []
        for citation in self.citations:
            chunks.setdefault(citation.url, {"web": {"uri": citation.url, "title": citation.title}})
            number = numbers.setdefault(citation.url, len(numbers))
            text, begin = text_of.get(citation.part, ""), begins.get(citation.part, 0)
            start = citation.start or 0
            end = len(text) if citation.end is None else citation.end
            segment = {"startIndex": begin + _size(text[:start]), "endIndex": begin + _size(text[:end]), "text": text[start:end]}
            supports.append({"segment": segment, "groundingChunkIndices": [number]})
        return {"groundingChunks": list(chunks.values()), "groundingSupports": supports}

    def _places(self) -> tuple[dict[int, int], dict[int, str]]:
        """Where each text begins in the answer's bytes, and the texts."""
        begins, texts, size = {}, {}, 0
        for part, pieces in self._texts.items():
            begins[part], texts[part] = size, "".join(pieces)
            size += _size(texts[part])
        return begins, texts


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def logprobs_result(entries: list[Any]) -> dict[str, Any]:
    """The OpenAI shapes' token entries as Google has them."""
    found = spelt_out(entries)
    tops = [[_chosen(top) for top in entry["top_logprobs"]] for entry in found]
    result: dict[str, Any] = {"chosenCandidates": [_chosen(entry) for entry in found]}
    return {"topCandidates": [{"candidates": top} for top in tops]} | result if any(tops) else result


def _chosen(entry: dict[str, Any]) -> dict[str, Any]:
    token, probability = entry.get("token"), entry.get("logprob")
    known = isinstance(probability, int | float) and not isinstance(probability, bool)
    return {"token": token if isinstance(token, str) else "", "logProbability": probability if known else None}
