"""Names and types of the capability flags, as written in `capabilities` of a configuration and in the tables of this package."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..codecs import registry
from ..codecs.capabilities import EFFORTS, Capabilities
from ..codecs.subsets import RESTRICTIONS
from . import read

_SAFETY = re.compile(r"[A-Z_]{1,64}=[A-Z_]{1,64}")


def _efforts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item in EFFORTS for item in value):
        raise ValueError(f"must be a list of {', '.join(EFFORTS)}")
    return tuple(value)


def _restrictions(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(item in RESTRICTIONS for item in value):
        raise ValueError(f"must be a list of {', '.join(RESTRICTIONS)}")
    return tuple(value)


def _members(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of names")
    return tuple(value)


def _safety(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and _SAFETY.fullmatch(item) for item in value):
        raise ValueError("must be a list of CATEGORY=THRESHOLD, as HARM_CATEGORY_HARASSMENT=BLOCK_ONLY_HIGH")
    return tuple(value)


def _apis(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(item in registry.apis() for item in value):
        raise ValueError(f"must be a list of {', '.join(registry.apis())}")
    return tuple(value)


def _tool_type(value: Any) -> str:
    if isinstance(value, bool):
        return Capabilities().m_web_search if value else ""
    if not isinstance(value, str):
        raise ValueError("must be the type of a tool, or false")
    return value


# readers by the type of a flag, and by name where the type does not determine the reader
_BY_TYPE: dict[Any, read.Reader] = {bool: read.boolean, int: read.whole(1, 10_000_000), str: read.text, tuple[str, ...]: _efforts}
_BY_NAME: dict[str, read.Reader] = {
    "m.web_search": _tool_type,
    "schema_subset": _restrictions,
    "c.output_subset": _restrictions,
    "leave_out": _members,
    "r.tools": _members,
    "m.refused_tools": _members,
    "v.betas": _members,
    "unserved": _apis,
    "preferred": _apis,
    "g.budget_min": read.whole(0, 1_000_000),
    "g.safety": _safety,
}


def _dotted(field: str) -> str:
    """`c.top_k` for `c_top_k`: a single letter before the underscore is a group."""
    return field.replace("_", ".", 1) if field[1] == "_" else field


def _reader(name: str, hint: Any) -> read.Reader:
    if name in _BY_NAME:
        return _BY_NAME[name]
    return read.one_of(*get_args(hint)) if get_origin(hint) is Literal else _BY_TYPE[hint]


FLAGS: dict[str, read.Reader] = {
    _dotted(field): _reader(_dotted(field), hint) for field, hint in get_type_hints(Capabilities).items() if field != "known"
}

_GROUPS = frozenset(name.partition(".")[0] for name in FLAGS if "." in name)


def flatten(written: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Path as written, dotted name and value of each flag; `c: {top_k: true}` is the same as `c.top_k: true`."""
    for key, value in written.items():
        if key in _GROUPS and isinstance(value, Mapping):
            for name, inner in value.items():
                yield (key, name), f"{key}.{name}", inner
        else:
            yield (key,), key, value


def unknown(written: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path as written of every unknown flag, and the nearest known name."""
    for path, name, _ in flatten(written):
        if name not in FLAGS:
            yield path, nearest(name, FLAGS)


def check(written: Mapping[str, Any]) -> tuple[dict[str, object], dict[tuple[str, ...], str]]:
    """The flags by dotted name, and the errors of their values by path as written; unknown flags are left out."""
    flags: dict[str, object] = {}
    wrong: dict[tuple[str, ...], str] = {}
    for path, name, value in flatten(written):
        if name in FLAGS:
            try:
                flags[name] = FLAGS[name](value)
            except ValueError as error:
                wrong[path] = str(error)
    return flags, wrong


def nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """The known word that is most similar to this one."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)[0]
