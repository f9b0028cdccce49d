"""README.md beside this module says which test is against which attack: its names are those of tests, and no module is left out."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE / "README.md").read_text()
OTHERS = {"test_map.py"}


def test_every_name_is_a_tests() -> None:
    for row in TEXT.splitlines():
        if not row.startswith("| "):
            continue
        file = ""
        for word in re.findall(r"(?:\.\./\w+/)?test_\w+(?:\.py)?", row):
            if word.endswith(".py"):
                file = (HERE / word).resolve().read_text()
            else:
                assert re.search(rf"^(async )?def {word}\(", file, re.MULTILINE), word


def test_every_module_is_named() -> None:
    assert not {path.name for path in HERE.glob("test_*.py")} - OTHERS - set(re.findall(r"test_\w+\.py", TEXT))
