"""A walk over the types of the vendors' SDKs: all that they know of requests and answers is carried, adapted, reported or refused.

sdk_types.txt lists what is known, and what vanishes without a word and may. The usual run holds that; `tox -e drift` installs the newest
SDKs and fails with the names of what is new.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from . import sdk_types

FILE = Path(__file__).parent / "sdk_types.txt"
KNOWN = sdk_types.listed(FILE.read_text())


@cache
def found() -> dict[str, dict[str, bool]]:
    return sdk_types.found()


@pytest.mark.parametrize("api", KNOWN)
def test_nothing_that_is_known_vanishes(api: str) -> None:
    vanishes = {name for name, does in found()[api].items() if does and name in KNOWN[api]}
    assert vanishes <= {name for name, may in KNOWN[api].items() if may}


@pytest.mark.skipif("DRAGOMAN_DRIFT" not in os.environ, reason="tox -e drift looks for what is new")
@pytest.mark.parametrize("api", sdk_types.found() if "DRAGOMAN_DRIFT" in os.environ else [])
def test_nothing_is_new(api: str) -> None:
    new = sorted(name + " vanishes" * vanishes for name, vanishes in found()[api].items() if name not in KNOWN.get(api, {}))
    if new:
        pytest.fail(f"new in {api}:\n" + "\n".join(new), pytrace=False)


def test_a_list_is_read_as_it_is_written() -> None:
    assert sdk_types.listed(sdk_types.written(KNOWN)) == KNOWN


def test_the_walk_tells_what_vanishes_from_what_is_reported() -> None:
    least = {"model": "m", "input": "q"}
    unknown, ignored = (sdk_types.Pair("name", [least | member], least) for member in ({"of_tomorrow": 1}, {"client_metadata": {"a": "b"}}))
    assert not sdk_types.vanishes("responses", unknown)
    assert sdk_types.vanishes("responses", ignored)
