"""The report of what was dropped and adapted, in the body's order also when the body is not there any more."""

from __future__ import annotations

from itertools import permutations

from dragoman.codecs.ledger import Ledger, Path

BODY = {
    "model": "m",
    "messages": [{"role": "user", "name": "n", "content": [{"type": "text", "x": 1, "y": 2}]}, {"z": 1, "role": "user"}],
    "user": "u",
}
PATHS: list[Path] = [("messages", 0, "name"), ("messages", 0, "content", 0, "y"), ("messages", 1, "z"), ("user",), ("header:a",)]
NAMES = ["messages[*].name", "messages[*].content[*].y", "messages[*].z", "user", "header:a"]


def test_entries_keep_the_order_of_a_body_that_was_let_go_of() -> None:
    for paths in permutations(PATHS):
        ledger = Ledger()
        for path in paths:
            ledger.drop(path)
            ledger.adapt(path)
        assert ledger.names(ledger.dropped, BODY) == NAMES
        ledger.arrange(BODY)
        for body in (BODY, BODY | {"messages": []}, {}):
            assert ledger.names(ledger.dropped, body) == ledger.names(ledger.adapted, body) == NAMES
            assert ledger.header(ledger.dropped, body) == ",".join(NAMES)


def test_what_is_reported_later_stands_behind() -> None:
    ledger = Ledger()
    ledger.drop(("user",))
    ledger.arrange(BODY)
    ledger.drop(("header:a",))
    assert ledger.names(ledger.dropped, {}) == ["user", "header:a"]
