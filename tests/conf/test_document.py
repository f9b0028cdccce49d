"""YAML with places: what a file's text becomes, and what a reader is told of what YAML alone would swallow."""

import pytest

from dragoman.conf.document import ConfigError, Document, show


def test_plain_data():
    text = "a: {b: [1, 2.5, yes, ~, text], c: }\nd: 2026-10-21\ne: '007'\nf: 0x10\n"
    document = Document(text, "f")
    assert document.data == {"a": {"b": [1, 2.5, True, None, "text"]}, "d": "2026-10-21", "e": "007", "f": 16}
    assert document.problems == []


@pytest.mark.parametrize("text", ["", "# only a comment\n", "~\n", "---\n"])
def test_nothing_is_an_empty_mapping(text):
    assert Document(text, "f").data == {}


def test_merge_keys_yield_to_the_mappings_own():
    text = "base: &base {a: 1, b: 2}\nx: {<<: *base, b: 3}\ny:\n  b: 4\n  <<: [*base, {c: 5}]\n"
    document = Document(text, "f")
    assert document.problems == []
    assert document.data["x"] == {"a": 1, "b": 3}
    assert document.data["y"] == {"a": 1, "b": 4, "c": 5}


def test_places():
    document = Document("a:\n  - b: 1\n    c: [x]\n", "f")
    document.note(("a", 0, "b"), "value")
    document.note(("a", 0, "b"), "key", at_key=True)
    document.note(("a", 0, "c", 0), "item")
    document.note(("a", 0, "missing"), "what encloses it")
    document.note(("elsewhere",), "top")
    assert [str(problem) for problem in document.problems] == [
        "f:2:8: a[0].b: value",
        "f:2:5: a[0].b: key",
        "f:3:9: a[0].c[0]: item",
        "f:2:5: a[0].missing: what encloses it",
        "f:1:1: elsewhere: top",
    ]


def test_moved_paths_are_told_where_they_stood():
    document = Document("old: {a: [1]}\n", "f")
    document.move(("old", "a"), ("new",))
    document.note(("new", 0), "here")
    assert str(document.problems[0]) == "f:1:11: old.a[0]: here"
    assert document.shown(("new", 0)) == "old.a[0]"


def test_keys_written_twice_and_keys_that_are_not_text():
    document = Document("a: 1\na: 2\n1: x\n? [b]\n: y\nyes: z\nb: {c: 1, c: 1}\n", "f")
    assert sorted(str(problem) for problem in document.problems) == [
        "f:2:1: a: duplicate key: first used in line 1",
        "f:3:1: 1: a key must be text: put quotes around it",
        "f:4:3: a key: a key must be text: put quotes around it",
        "f:6:1: yes: a key must be text: put quotes around it",
        "f:7:11: b.c: duplicate key: first used in line 7",
    ]


def test_values_that_contain_themselves():
    document = Document("a: &a\n  b: [*a]\n", "f")
    assert [str(problem) for problem in document.problems] == ["f:1:4: a.b[0]: contains itself"]


def test_what_aliases_unfold_to_is_bounded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="too many values"):
        Document("\n".join(lines), "f")


def test_numbers_too_long_for_python():
    document = Document(f"a: {'9' * 5000}\n", "f")
    assert [str(problem) for problem in document.problems] == ["f:1:4: a: not a valid YAML value"]


@pytest.mark.parametrize("value", ["!!int ''", "!!int x", "!!float x", "!!bool x", "!!timestamp x"])
def test_tags_that_do_not_fit(value):
    document = Document(f"a: {value}\n", "f")
    assert [str(problem) for problem in document.problems] == ["f:1:4: a: not a valid YAML value"]


@pytest.mark.parametrize("escape", ["\\0", "\\ud800", "\\udfff"])
def test_characters_that_no_text_has(escape):
    document = Document(f'a: "b{escape}"\n"c{escape}": 1\n', "f")
    message = "must not contain NUL, or half of a pair of surrogates"
    assert [str(problem) for problem in document.problems] == [f"f:1:4: a: {message}", f"f:2:1: a key: {message}"]
    assert document.data == {}


def test_problems_come_out_in_the_order_of_the_file():
    document = Document("a: 1\nb: 2\n", "f")
    document.note(("b",), "second")
    document.note(("a",), "first")
    assert str(ConfigError(document.problems)) == "f:1:4: a: first\nf:2:4: b: second"


def test_show():
    assert show(("a", 0, 1, "b.c")) == "a[0][1].b.c"
    assert show(()) == ""
