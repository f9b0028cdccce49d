"""Readers of single values."""

import os

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


OLD, NEW = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ff" * 32


@pytest.mark.parametrize(
    ("written", "keys"),
    [(OLD, (bytes(range(32)),)), ([NEW, OLD], (b"\xff" * 32, bytes(range(32)))), ("$K", (b"\xff" * 32,))],
)
def test_keys_that_encrypt(written, keys):
    assert reads(read.aes_keys, written, {"K": NEW + "\n"}) == keys


@pytest.mark.parametrize("written", ["", "$NONE", "ff" * 16, OLD[:-4], OLD.replace("A", "!", 1), [], [OLD, OLD, OLD], [1], 7, None])
def test_what_cannot_encrypt(written):
    with pytest.raises(ValueError, match=r"must (not )?be|is not set"):
        reads(read.aes_keys, written)


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


# ---- mounted secrets ----


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b"s3cret\n\n", "s3cret\n"),
        (b"$A ${A} $$", "$A ${A} $$"),  # what is in a file is no configuration
        ("é".encode(), "é"),
    ],
)
def test_mounted_secrets(tmp_path, content, expected):
    (tmp_path / "key").write_bytes(content)
    assert reads(read.expanded, f"${{file:{tmp_path}/key}}", {"A": "alpha"}) == expected
    assert reads(read.expanded, f"<${{file:{tmp_path}/key}}$A>", {"A": "alpha"}) == f"<{expected}alpha>"


def test_variables_that_are_no_text():
    """Bytes that are not UTF-8 come as halves of surrogates; a password of a store could not be sent."""
    with pytest.raises(ValueError, match="the environment variable BAD is not UTF-8 text"):
        reads(read.expanded, "postgres://u:$BAD@host", {"BAD": os.fsdecode(b"p\xff")})


def test_mounted_secrets_are_read_each_time(tmp_path):
    file = tmp_path / "key"
    for content in ("one", "two"):
        file.write_text(content)
        assert reads(read.secret, f"${{file:{file}}}") == content


def test_mounted_secrets_that_cannot_be_read(tmp_path):
    for name, content in (("empty", b""), ("newline", b"\n"), ("binary", b"\xff\xfe"), ("large", b"x" * (2 << 20))):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "nul").write_bytes(b"a\0b")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("missing", "missing cannot be read: No such file or directory"),
        ("empty", "empty is empty"),
        ("newline", "newline is empty"),
        ("binary", "binary is not UTF-8 text"),
        ("large", "large is too large"),
        ("nul", "nul contains the character NUL"),
        ("pipe", "pipe is not a file"),
        ("", "is not a file"),
        ("a\0b", "must not contain the character NUL"),
    ):
        for reader in (read.secret, read.caller_key, read.header, read.expanded):
            with pytest.raises(ValueError, match=f"{message}$"):
                reads(reader, f"${{file:{tmp_path}/{name}}}")
    for path in ("key", "", "~/key", "$HOME/key"):
        with pytest.raises(ValueError, match="needs an absolute path"):
            reads(read.secret, f"${{file:{path}}}")
    assert reads(read.expanded, "${file:-otherwise}") == "otherwise"  # a variable of that name
