"""Readers of single values."""

import pytest

from dragoman.conf import read


def reads(reader, value, environ=None):
    token = read.environ.set(environ or {})
    try:
        return reader(value)
    finally:
        read.environ.reset(token)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("10s", 10), ("200ms", 0.2), ("30d", 2592000), ("1.5h", 5400), ("5 m", 300), ("2w", 1209600), (7, 7), (0.25, 0.25)],
)
def test_durations(written, seconds):
    assert read.duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["10", "s", "-1s", "1e3s", "1S", "", 0, -1, True, None, float("nan"), float("inf"), "9999999w", []])
def test_what_is_no_duration(written):
    with pytest.raises(ValueError, match="must be a time"):
        read.duration(written)


@pytest.mark.parametrize(
    ("written", "count"),
    [("64MB", 64 * 2**20), ("1kB", 1024), ("1KiB", 1024), ("0.5 GB", 2**29), ("10b", 10), (4096, 4096)],
)
def test_sizes(written, count):
    assert read.size(written) == count


@pytest.mark.parametrize("written", ["64", "MB", "64TB", "-1MB", 0, 1.5, True, "0MB", "9999999GB"])
def test_what_is_no_size(written):
    with pytest.raises(ValueError, match="must be a size"):
        read.size(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("plain", "plain"),
        ("$A", "alpha"),
        ("${A}", "alpha"),
        ("x-$A-${B}y", "x-alpha-betay"),
        ("$A.$B", "alpha.beta"),
        ("${NOPE:-otherwise}", "otherwise"),
        ("${EMPTY:-otherwise}", "otherwise"),
        ("${A:-otherwise}", "alpha"),
        ("$$A", "$A"),
        ("cost: 5$", "cost: 5$"),
        ("$5", "$5"),
        ("$NOPE", read.Unset("NOPE")),
        ("$A$EMPTY$NOPE", read.Unset("EMPTY")),
        ("${NOPE:-}", read.Unset("NOPE")),
        ("$HIDDEN", "$A"),
    ],
)
def test_variables(written, expected):
    environ = {"A": "alpha", "B": "beta", "EMPTY": "", "HIDDEN": "$A"}
    assert reads(read.expand, written, environ) == expected


def test_credentials_are_trimmed_and_must_fit_a_header():
    assert reads(read.secret, "$KEY", {"KEY": " sk-1\n"}) == "sk-1"
    for written in ("$KEY", "a\tb", "sch\u00fcssel"):
        with pytest.raises(ValueError, match="printable ASCII"):
            reads(read.secret, written, {"KEY": "a\r\nb"})


@pytest.mark.parametrize("written", [429, "502-504", "502 - 504"])
def test_status_codes(written):
    assert read.status_codes(written) == ({429} if written == 429 else {502, 503, 504})


@pytest.mark.parametrize("written", [399, 600, "504-502", "5xx", "429", True, 429.0, None])
def test_what_is_no_status_code(written):
    with pytest.raises(ValueError, match="must be an HTTP status"):
        read.status_codes(written)


@pytest.mark.parametrize("written", ["a/b", "a/*", "a/b/c", "my-host/org/model:tag"])
def test_model_names(written):
    assert read.model_name(written) == written


@pytest.mark.parametrize("written", ["a", "/b", "a/", "*/b", "a/b*", "a/*/c", "a/b c", "", 5])
def test_what_is_no_model_name(written):
    with pytest.raises(ValueError, match=r"must|only"):
        read.model_name(written)
