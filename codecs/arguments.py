"""Text that an upstream may tell in more than one way: a call's arguments, as the pieces of its stream add up to them, and reasoning.

Most servers send the pieces one after the other. Some say in each piece all that they said before (Baidu's Qianfan), some say the
whole once more at the end, and some say null where there are no arguments. A piece that begins like all that came before it can be
either, since an object may hold one that is like itself: it waits until the pieces that follow leave one reading. Nothing is repaired.
"""

from __future__ import annotations

from . import jsontext
from .jsontext import ObjectScanner

_UNLIKELY = 8  # characters
_ENOUGH = 3  # pieces in a row that begin with all that was said before are no coincidence


class ArgumentText:
    """One call's text. plain: a piece that does not begin with a bracket may be added to `pieces` instead of being fed.

    begun: some of the arguments came. pieces: what goes on of them, in order.
    """

    __slots__ = ("_again", "_counted", "_cumulative", "_held", "_scanned", "_scanner", "_size", "begun", "pieces", "plain")

    def __init__(self) -> None:
        self.begun = False
        self.plain = False
        self.pieces: list[str] = []
        self._scanner = ObjectScanner()
        self._scanned = 0  # of the pieces
        self._counted = self._size = 0  # so many of the pieces have so many characters
        self._held = ""  # what may become null
        self._again: list[str] = []  # pieces that begin like all before them, and wait
        self._cumulative = False  # every piece says all that was said before

    def feed(self, text: str) -> str:
        """What of a piece goes on; "" when that is not known yet, or when it only says again what was said."""
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
        if text.startswith("{") and (said := self._repeated(text)) is not None:
            self._again.append(text)
            self.plain = False
            return self._decided(said)
        return self._added(text)

    def finish(self) -> str:
        """What is left when no more pieces come."""
        held, self._held = self._held, ""
        again, self._again = self._again, []
        if not again:
            return "" if held.strip() == "null" else held
        said, last = "".join(self.pieces), again[-1]
        joined = "".join(again)
        return last[len(said) :] if _is_json(last) and not _is_json(said + joined) else joined

    def complete(self) -> bool:
        """Whether the arguments are a whole JSON object."""
        if not self._scanner.complete:
            fresh = self.pieces[self._scanned :]
            self._scanned = len(self.pieces)
            self._scanner.feed("".join(fresh))
        return self._scanner.complete

    def _first(self, text: str) -> str:
        text = (self._held + text).lstrip(" \t\r\n")
        if "null".startswith(text.rstrip()):
            self._held = text.rstrip()
            return ""
        self._held = ""
        self.begun = True
        end = ObjectScanner().feed(text) if "}" in text else None
        return self._added(text[:end])

    def _added(self, text: str) -> str:
        self.pieces.append(text)
        self.plain = not text.endswith("}")  # what comes after the object is nothing
        return text

    def _waited(self, text: str) -> str:
        """The next piece after some that begin like all before them."""
        said = "".join(self.pieces)
        if text.startswith(self._again[-1]):
            self._again.append(text)
            return self._decided(said)
        joined, self._again = "".join(self._again) + text, []
        return self._added(joined)

    def _decided(self, said: str) -> str:
        """What waits goes on when it cannot be a continuation."""
        if len(self._again) < _ENOUGH and jsontext.may_become_object(said + "".join(self._again)):
            return ""
        self._cumulative = True
        last, self._again = self._again[-1], []
        return self._more(last)

    def _repeated(self, text: str) -> str | None:
        """The pieces joined, if the text begins with them. Whatever it is, that costs no more than the text is long."""
        self._size += sum(map(len, self.pieces[self._counted :]))
        self._counted = len(self.pieces)
        if len(text) < self._size:
            return None
        joined = "".join(self.pieces)
        return joined if text.startswith(joined) else None

    def _more(self, text: str) -> str:
        """A piece of one that says everything again."""
        said = self._repeated(text)
        if said is not None:
            self.pieces, self._scanned, self._scanner = [text], 0, ObjectScanner()
            self._counted = self._size = 0
            return text[len(said) :]
        if self.complete():
            return ""
        self.pieces.append(text)
        return text


class Telling:
    """Free text in pieces, or in pieces that each tell all of it again (MiniMax's reasoning). plain: the pieces need not be fed.

    The second piece asks, by beginning with the first one, and the third one answers.
    """

    __slots__ = ("_beside", "_cumulative", "_said", "_size", "_waits", "plain")

    def __init__(self) -> None:
        self.plain = False
        self._said = ""
        self._beside: list[str] = []  # what came since and did not repeat it
        self._size = 0  # characters of that
        self._waits = ""
        self._cumulative = False

    def feed(self, text: str) -> str:
        said = self._said
        if not said:
            self._said = text
            return text
        if self._cumulative:
            return self._more(text)
        if not self._waits and len(text) > len(said) and said.strip() and text.startswith(said):
            self._waits = text
            return ""
        waited, self._waits = self._waits, ""
        if waited and text.startswith(waited):
            self._cumulative, self._said = True, text
            return text[len(said) :]
        self.plain = True
        return waited + text

    def _more(self, text: str) -> str:
        """A piece of one that tells everything again. Comparing costs no more than the text is long."""
        length = len(self._said) + self._size
        if len(text) >= length and text.startswith("".join([self._said, *self._beside])):
            self._said, self._beside, self._size = text, [], 0
            return text[length:]
        self._beside.append(text)
        self._size += len(text)
        return text

    def finish(self) -> str:
        """What waits for an answer that does not come: long beginnings are not alike by chance."""
        waited, self._waits = self._waits, ""
        return waited[len(self._said) :] if len(self._said) >= _UNLIKELY else waited


def _is_json(text: str) -> bool:
    try:
        jsontext.loads(text)
    except ValueError:
        return False
    return True
