"""Citations and log probabilities of an answer as Google's `groundingMetadata` and `logprobsResult`.

Google counts the bytes of the answer's text in UTF-8, from the beginning of the first text that is not a thought; the hub counts the code
points of one text.
"""

from __future__ import annotations

from typing import Any

from ..events import Citation
from ..logprobs import spelt_out

_MOST = 1000  # ranges of one answer
_REPEATED = 1_000_000  # characters of the text that ranges repeat, all together
_BLOCK = 4096  # characters


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
        """The member of the last chunk; None without citations. Of an upstream that cites without end, the first ones."""
        if not self.citations:
            return None
        left = _REPEATED
        begin = 0
        texts: dict[int, tuple[int, _Sizes]] = {}
        for part, pieces in self._texts.items():
            texts[part] = begin, (sizes := _Sizes("".join(pieces)))
            begin += sizes.of(len(sizes.text))
        none = 0, _Sizes("")
        chunks: dict[str, dict[str, Any]] = {}
        numbers: dict[str, int] = {}
        supports = []
        for citation in self.citations[:_MOST]:
            chunks.setdefault(citation.url, {"web": {"uri": citation.url, "title": citation.title}})
            number = numbers.setdefault(citation.url, len(numbers))
            begin, sizes = texts.get(citation.part, none)
            start = citation.start or 0
            end = len(sizes.text) if citation.end is None else citation.end
            segment: dict[str, Any] = {"startIndex": begin + sizes.of(start), "endIndex": begin + sizes.of(end)}
            excerpt = sizes.text[start:end]
            left -= len(excerpt)
            supports.append({"segment": segment | ({"text": excerpt} if left >= 0 else {}), "groundingChunkIndices": [number]})
        return {"groundingChunks": list(chunks.values()), "groundingSupports": supports}


class _Sizes:
    """The sizes of a text's beginnings in bytes, found by those of its blocks."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._before = [0]  # bytes before each block, as far as it was needed

    def of(self, point: int) -> int:
        """Of the first `point` characters."""
        point = min(max(point, 0), len(self.text))
        block, before = point // _BLOCK, self._before
        while len(before) <= block:
            begin = (len(before) - 1) * _BLOCK
            before.append(before[-1] + _size(self.text[begin : begin + _BLOCK]))
        return before[block] + _size(self.text[block * _BLOCK : point])


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def logprobs_result(entries: list[Any]) -> dict[str, Any]:
    """The OpenAI shapes' token entries as Google has them."""
    tokens = spelt_out(entries)
    tops = [[_chosen(top) for top in entry["top_logprobs"]] for entry in tokens]
    result: dict[str, Any] = {"chosenCandidates": [_chosen(entry) for entry in tokens]}
    return {"topCandidates": [{"candidates": top} for top in tops]} | result if any(tops) else result


def _chosen(entry: dict[str, Any]) -> dict[str, Any]:
    token, probability = entry.get("token"), entry.get("logprob")
    known = isinstance(probability, int | float) and not isinstance(probability, bool)
    return {"token": token if isinstance(token, str) else "", "logProbability": probability if known else None}
