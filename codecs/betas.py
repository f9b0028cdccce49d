"""Which values of `anthropic-beta` an upstream takes. A cloud refuses the whole request for one that it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate


class Betas:
    """patterns: of values (`*`, `?`, `[...]`); `old=new` renames one on the way, `!pattern` takes some out of the others."""

    __slots__ = ("_but", "_names", "_pattern")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._but = _any([pattern[1:] for pattern in patterns if pattern.startswith("!")])
        renamed = [pattern.partition("=") for pattern in patterns if not pattern.startswith("!")]
        self._names = {old: new for old, sign, new in renamed if sign}
        self._pattern = _any([old for old, sign, _ in renamed if not sign])

    def passed(self, value: str) -> str | None:
        """What is sent of a value; None: nothing."""
        if value in self._names:
            return self._names[value]
        return value if self._pattern.match(value) and not self._but.match(value) else None


def _any(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


NO_BETAS = Betas(())
