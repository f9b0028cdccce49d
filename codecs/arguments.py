"""Assemble streamed text that servers send in different ways: a tool call's arguments, and reasoning.

Most servers send consecutive pieces. Some repeat all previous text in each piece (Baidu's Qianfan), some repeat the complete text at
the end, some send null if there are no arguments, and some send {} before the arguments (Gemini, and gateways in front of Claude). A piece
that starts with all previous text is ambiguous, because an object may contain a copy of its own beginning: it is held until the following
pieces leave one interpretation. Nothing is repaired.
"""

from __future__ import annotations

from . import jsontext
from .jsontext import ObjectScanner

_UNLIKELY = 8  # characters
_ENOUGH = 3  # consecutive pieces starting with all previous text are no coincidence


_EMPTY = "{}"


def held_of_nothing(text: str) -> str | None:
    """What to hold of the beginning of arguments that may become null, or come after an empty object; None if neither is possible.

    Of white space behind it one character.
    """
    word = text.rstrip()
    return text[: len(word) + 1] if "null".startswith(word) or word == _EMPTY else None


def behind_nothing(text: str) -> str:
    """The arguments without an empty object that another one follows."""
    rest = text[len(_EMPTY) :].lstrip(" \t\r\n") if text.startswith(_EMPTY) else ""
    return rest if rest.startswith("{") else text


class ArgumentText:
    """The argument text of one call. plain: a piece that does not start with a bracket may be added to `pieces` instead of being fed.

    begun: whether argument text was received. pieces: the text passed on, in order.
    """

    __slots__ = ("_again", "_counted", "_cumulative", "_held", "_scanned", "_scanner", "_size", "begun", "pieces", "plain")

    def __init__(self) -> None:
        self.begun = False
        self.plain = False
        self.pieces: list[str] = []
        self._scanner = ObjectScanner()
        self._scanned = 0  # number of pieces already scanned
        self._counted = self._size = 0  # the first `_counted` pieces have `_size` characters
        self._held = ""  # text that may become null, or an empty object
        self._again: list[str] = []  # held pieces that start with all previous text
        self._cumulative = False  # every piece repeats all previous text

    def feed(self, text: str) -> str:
        """Return the new text of a piece; "" if it is held, or only repeats previous text."""
        if not self.begun:
            return self._first(text)
        if not text:
            return ""
        if self._again:
            return self._waited(text)
        if self._cumulative:
            return self._more(text)
        if self.complete():
            self.plain = False
            return ""
        if text.startswith("{") and (previous := self._repeated(text)) is not None:
            self._again.append(text)
            self.plain = False
            return self._decided(previous)
        return self._added(text)

    def finish(self) -> str:
        """Return the held text, at the end of the pieces."""
        held, self._held = self._held, ""
        again, self._again = self._again, []
        if not again:
            return "" if held == "null" else held
        previous, last = "".join(self.pieces), again[-1]
        joined = "".join(again)
        return last[len(previous) :] if jsontext.is_json(last) and not jsontext.is_json(previous + joined) else joined

    def complete(self) -> bool:
        """Whether the arguments are a complete JSON object."""
        if self._held == _EMPTY:
            return True
        if not self._scanner.complete:
            fresh = self.pieces[self._scanned :]
            self._scanned = len(self.pieces)
            self._scanner.feed("".join(fresh))
        return self._scanner.complete

    def _first(self, text: str) -> str:
        text = (self._held + text).lstrip(" \t\r\n")
        if held_of_nothing(text) is not None:
            self._held = text.rstrip()
            return ""
        self._held = ""
        self.begun = True
        text = behind_nothing(text)
        end = ObjectScanner().feed(text) if "}" in text else None
        return self._added(text[:end])

    def _added(self, text: str) -> str:
        self.pieces.append(text)
        self.plain = not text.endswith("}")  # text after the object is ignored
        return text

    def _waited(self, text: str) -> str:
        """Feed a piece while others are held."""
        previous = "".join(self.pieces)
        if text.startswith(self._again[-1]):
            self._again.append(text)
            return self._decided(previous)
        joined, self._again = "".join(self._again) + text, []
        return self._added(joined)

    def _decided(self, previous: str) -> str:
        """Return the held pieces' new text once they cannot be a continuation."""
        if len(self._again) < _ENOUGH and jsontext.may_become_object(previous + "".join(self._again)):
            return ""
        self._cumulative = True
        last, self._again = self._again[-1], []
        return self._more(last)

    def _repeated(self, text: str) -> str | None:
        """The joined pieces if the text starts with them, else None. The cost is linear in the length of the text."""
        self._size += sum(map(len, self.pieces[self._counted :]))
        self._counted = len(self.pieces)
        if len(text) < self._size:
            return None
        joined = "".join(self.pieces)
        return joined if text.startswith(joined) else None

    def _more(self, text: str) -> str:
        """Feed a piece of a server that repeats all previous text in each piece."""
        previous = self._repeated(text)
        if previous is not None:
            self.pieces, self._scanned, self._scanner = [text], 0, ObjectScanner()
            self._counted = self._size = 0
            return text[len(previous) :]
        if self.complete():
            return ""
        self.pieces.append(text)
        return text


class Telling:
    """Free text in consecutive or cumulative pieces (MiniMax's reasoning). plain: the pieces need not be fed.

    A second piece that starts with the first one raises the question, and the third piece decides.
    """

    __slots__ = ("_beside", "_cumulative", "_previous", "_size", "_waits", "plain")

    def __init__(self) -> None:
        self.plain = False
        self._previous = ""
        self._beside: list[str] = []  # later pieces that did not repeat it
        self._size = 0  # their length in characters
        self._waits = ""
        self._cumulative = False

    def feed(self, text: str) -> str:
        previous = self._previous
        if not previous:
            self._previous = text
            return text
        if self._cumulative:
            return self._more(text)
        if not self._waits and len(text) > len(previous) and previous.strip() and text.startswith(previous):
            self._waits = text
            return ""
        waited, self._waits = self._waits, ""
        if waited and text.startswith(waited):
            self._cumulative, self._previous = True, text
            return text[len(previous) :]
        self.plain = True
        return waited + text

    def _more(self, text: str) -> str:
        """Feed a cumulative piece. The cost is linear in the length of the text."""
        length = len(self._previous) + self._size
        if len(text) >= length and text.startswith("".join([self._previous, *self._beside])):
            self._previous, self._beside, self._size = text, [], 0
            return text[length:]
        self._beside.append(text)
        self._size += len(text)
        return text

    def finish(self) -> str:
        """Return the held text, at the end of the pieces. Long equal beginnings count as cumulative."""
        waited, self._waits = self._waits, ""
        return waited[len(self._previous) :] if len(self._previous) >= _UNLIKELY else waited
