"""Which values of `anthropic-beta` an upstream takes. A cloud refuses the whole request for one that it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate


class Betas:
    """patterns: of values (`*`, `?`, `[...]`); `old=new` renames one on the way."""

    __slots__ = ("_names", "_pattern")

    def __init__(self, patterns: Iterable[str]) -> None:
        renamed = [pattern.partition("=") for pattern in patterns]
        self._names = {old: new for old, sign, new in renamed if sign}
        plain = [translate(old) for old, sign, _ in renamed if not sign]
        self._pattern = re.compile("|".join(plain)) if plain else None

    def passed(self, value: str) -> str | None:
        """What is sent of a value; None: nothing."""
        if value in self._names:
            return self._names[value]
        return value if self._pattern is not None and self._pattern.match(value) else None


NO_BETAS = Betas(())
