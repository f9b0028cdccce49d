"""Values that nobody expects, and right ones that are wrong in one place or a few; what the fuzz tests share.

DRAGOMAN_FUZZ=N runs N examples of each (and new ones every time); without it a few that are always the same.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

LONG_RUN = int(os.environ.get("DRAGOMAN_FUZZ", "0"))


def fuzz(examples: int) -> Callable[[Any], Any]:
    """How many examples a test runs: `examples` in the suite."""
    return settings(
        max_examples=LONG_RUN or examples,
        derandomize=not LONG_RUN,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"type": value}
    return value


_SCALARS = st.one_of(
    st.sampled_from(
        [None, True, False, 0, 1, -1, 1.5, 10**40, "", " ", "x", "\ud83d", "\u2028", "dgr1.", "dgr1.e30", "auto", "text", "{", "data:x"]
    ),
    st.text(max_size=8),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
JUNK: st.SearchStrategy[Any] = st.one_of(
    _SCALARS,
    st.sampled_from(
        [[], {}, [[]], [{}], [None], [7], {"type": 7}, {"type": "text"}, {"": None}, {"type": None}, {"error": "x"}, deep(300)]
    ),
    st.recursive(
        _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8
    ),
)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all members of a JSON value."""
    found = []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        found.append((*path, key))
        if len(path) < 12:
            found += _places(member, (*path, key))
    return found


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def damaged(draw: Any, value: Any, most: int = 3) -> Any:
    """The value, wrong in up to `most` places: another type, absent, unknown, twice, or something from elsewhere in it."""
    found = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, most))):
        places = _places(found)
        if not places:
            break
        path = draw(st.sampled_from(places))
        holder = _at(found, path[:-1])
        key: Any = path[-1]
        action = draw(st.sampled_from(["junk", "junk", "absent", "unknown", "elsewhere", "twice"]))
        if action == "junk":
            holder[key] = copy.deepcopy(draw(JUNK))
        elif action == "absent":
            del holder[key]
        elif action == "elsewhere":
            holder[key] = copy.deepcopy(_at(found, draw(st.sampled_from(places))))
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key] if action == "twice" else draw(JUNK)))
        else:
            holder[draw(st.sampled_from(["unknown", "type", "id", "name", "content", "input", "index"]))] = copy.deepcopy(draw(JUNK))
    return found
