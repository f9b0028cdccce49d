"""Values that nobody expects, and right ones that are wrong in one place or a few; what the fuzz tests share.

DRAGOMAN_FUZZ=N runs N examples of each (and new ones every time); without it a few that are always the same.
"""

from __future__ import annotations

import copy
import gc
import os
import random
import resource
import traceback
from collections.abc import Callable
from time import perf_counter
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


# ---- the same with plain dice, for very many rounds ----

_ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 7, 1.5, 10**40, 1e300, "", " ", "x", "\ud83d", "\ude00", "\u2028", "dgr1.", "dgr1.e30", "auto", "none"),
    *("text", "tool", "user", "assistant", "system", "developer", "function", "custom", "message", "{", "[DONE]", "data:x", "http://u/"),
    *("x" * 300, {"type": "text", "text": "t"}),
    *([], {}, [[]], [{}], [None], [7], ["x"], {"type": 7}, {"type": "text"}, {"": None}, {"type": None}, {"error": "x"}),
]  # fmt: skip
_NAMES = ["unknown", "type", "id", "name", "content", "input", "index", "role", "text", "error", "model", "stream"]


def odd(dice: random.Random) -> Any:
    if dice.random() < 0.02:
        return deep(300)
    return copy.deepcopy(dice.choice(_ODD))


def spoiled(dice: random.Random, value: Any, most: int = 4) -> Any:
    """What `damaged` draws, but by dice and within the value itself, which is returned."""
    for _ in range(dice.randint(0, most)):
        places = _places(value)
        if not places:
            break
        path = dice.choice(places)
        holder, key = _at(value, path[:-1]), path[-1]
        action = dice.choice(["junk", "junk", "absent", "unknown", "elsewhere", "twice"])
        if action == "junk":
            holder[key] = odd(dice)
        elif action == "absent":
            del holder[key]
        elif action == "elsewhere":
            holder[key] = copy.deepcopy(_at(value, dice.choice(places)))
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]) if action == "twice" else odd(dice))
        else:
            holder[dice.choice(_NAMES)] = odd(dice)
    return value


def bitten(dice: random.Random, data: bytes) -> bytes:
    """The bytes, wrong in a few places: changed, gone, doubled, or cut off."""
    found = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        place, end = sorted((dice.randint(0, len(found)), dice.randint(0, len(found))))
        end = min(end, place + dice.choice([1, 2, 8, 200]))
        action = dice.choice(["change", "gone", "double", "insert", "cut"])
        if action == "change":
            found[place:end] = dice.randbytes(end - place)
        elif action == "gone":
            del found[place:end]
        elif action == "double":
            found[place:place] = found[place:end]
        elif action == "insert":
            found[place:place] = dice.choice(
                [b"\n", b"\r", b"\n\n", b'"', b"{", b"}", b"\\", b"\x00", b"\xff", b"data:", b"[" * 2000, b":"]
            )
        elif dice.random() < 0.3:
            del found[place:]
    return bytes(found)


def rounds(name: str, parts: int, usual: int, play: Callable[[random.Random], object]) -> None:
    """Play as many rounds as are asked for (DRAGOMAN_FUZZ in all of `parts` tests, else `usual`), each with dice of its own.

    Raises AssertionError that names the rounds which raised, each place of our code once; a round that took seconds; and memory
    that grew with the rounds.
    """
    count = LONG_RUN // parts + 1 if LONG_RUN else usual
    seed = f"{name} {os.urandom(4).hex() if LONG_RUN else 0}"
    failed: dict[str, str] = {}
    slowest = (0.0, 0)
    resident = 0
    for number in range(count):
        if number == count // 2:
            gc.collect()
            resident = _resident()
        begun = perf_counter()
        try:
            play(random.Random(f"{seed} {number}"))
        except Exception as error:  # whatever it is, it is told
            last = traceback.extract_tb(error.__traceback__)[-1]
            failed.setdefault(f"{last.filename}:{last.lineno}", f"Random({f'{seed} {number}'!r}): {error!r:.300}")
        slowest = max(slowest, (perf_counter() - begun, number))
    gc.collect()
    grown = _resident() - resident
    print(f"{seed}: {count} rounds, slowest {slowest[0]:.3f} s (round {slowest[1]}), {grown / 1024:+.0f} KiB in the second half")
    assert not failed, "\n".join(f"{where} {what}" for where, what in failed.items())
    assert slowest[0] < 5
    assert grown < 32 << 20


def _resident() -> int:
    """Bytes of memory that this program holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
