"""Forms: the model that is checked is the one that every reader of the form sees; what two readers could read differently is refused."""

from __future__ import annotations

import pytest

from dragoman.codecs import errors, multipart

from .growth import assert_linear

TYPE = "multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n\x00\r\n\x01\r\n'


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def part(value: bytes = b"m", name: bytes = b'name="model"', more: bytes = b"") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + name + b"\r\n" + more + b"\r\n" + value + b"\r\n"


GOOD = {
    "alone": (form(part()), "m"),
    "after-a-file": (form(FILE, part()), "m"),
    "before-a-file": (form(part(), FILE), "m"),
    "unquoted": (form(part(name=b"name=model")), "m"),
    "no-blank-before-name": (form(part().replace(b"; name", b";name")), "m"),
    "typed": (form(part(more=b"Content-Type: text/plain; charset=UTF-8\r\n")), "m"),
    "other-letter-case": (form(part().replace(b"Content-Disposition", b"CONTENT-disposition")), "m"),
    "no-last-line-end": (form(part())[:-2], "m"),
    "slashes-and-accents": (form(part("openai/é:1".encode())), "openai/é:1"),
    "none": (form(FILE), None),
    "empty-file": (form(FILE.replace(b"\x00\r\n\x01", b""), part()), "m"),
    "the-file-looks-like-a-part": (form(FILE.replace(b"\x00", b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nx'), part()), "m"),
    "file-name-in-two-codings": (
        form(FILE.replace(b'"a.wav"', b"\"\xc3\xa9.wav\"; filename*=UTF-8''%C3%A9.wav"), part()),
        "m",
    ),
    "windows-path": (form(FILE.replace(b"a.wav", rb"C:\a.wav"), part()), "m"),
    "other-fields": (form(part(b"0", b'name="temperature"'), part(b"en", b'name="timestamp_granularities[]"'), part()), "m"),
}
FORGED = {
    "twice": form(part(b"good"), part(b"bad")),
    "other-case": form(part(b"good"), part(b"bad", b'name="Model"')),
    "only-other-case": form(part(b"bad", b'name="MODEL"')),
    "blank-behind": form(part(b"good"), part(b"bad", b'name="model "')),
    "an-array": form(part(b"good"), part(b"bad", b'name="model[]"')),
    "percent": form(part(b"good"), part(b"bad", b'name="%6dodel"')),
    "backslash": form(part(b"good"), part(b"bad", b'name="mode\\l"')),
    "wide-letters": form(part(b"good"), part(b"bad", 'name="ｍodel"'.encode())),
    "two-names": form(part(b"bad", b'name="file"; name="model"')),
    "two-names-in-two-cases": form(part(b"bad", b'name="file"; NAME="model"')),
    "encoded-name": form(part(b"bad", b"name=\"file\"; name*=utf-8''model")),
    "continued-name": form(part(b"bad", b'name*0="mod"; name*1="el"')),
    "hidden-in-a-file-name": form(part(b"bad", b'name="file"; filename="a\\"; name="model"')),
    "quote-in-a-name": form(part(b"bad", b'name="file\\"; x="; name="model"')),
    "a-file": form(part(b"bad", b'name="model"; filename="x"')),
    "a-file-without-a-name": form(part(b"bad", b'name="model"; filename=""')),
    "disposition-twice": form(part(b"bad", b'name="file"', b'Content-Disposition: form-data; name="model"\r\n')),
    "folded": form(part(b"bad", b'name="file";\r\n name="model"')),
    "bare-line-feed-in-a-head": form(part(b"bad", b'name="file"', b'X: y\nContent-Disposition: form-data; name="model"\r\n')),
    "bare-line-feed-before-a-boundary": form(part(b"good"), FILE.replace(b"\x00\r\n", b"\n" + part(b"bad"))),
    "boundary-within-a-file": form(part(b"good"), FILE.replace(b"\x00", b"x" + part(b"bad"))),
    "boundary-and-more": form(part(b"good"), FILE.replace(b"\x00\r\n", b"\r\n" + part(b"bad").replace(b"--b", b"--bc"))),
    "blank-behind-a-boundary": form(part(b"good"), part(b"bad").replace(b"--b\r", b"--b \r")),
    "before-the-first": b"\r\n" + form(part(b"good")),
    "preamble": part(b"bad").replace(b"--b", b"--c") + form(part(b"good")),
    "epilogue": form(part(b"good")) + part(b"bad"),
    "no-end": part(b"good"),
    "end-twice": form(part(b"good")) + form(part(b"bad")),
    "no-head": form(b"--b\r\n\r\nx\r\n", part(b"good")),
    "no-blank-line": form(b"--b\r\nContent-Disposition: form-data; name=x\r\n", part(b"good")),
    "shared-line-end": form(b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n", part(b"good")),
    "base64": form(part(b"YmFk", more=b"Content-Transfer-Encoding: base64\r\n")),
    "quoted-printable": form(part(b"b=61d", more=b"Content-Transfer-Encoding: quoted-printable\r\n")),
    "utf-16": form(part("bad".encode("utf-16"), more=b"Content-Type: text/plain; charset=utf-16\r\n")),
    "charset-for-all": form(part(b"utf-7", b'name="_charset_"'), part(b"good")),
    "json": form(part(b'"bad"', more=b"Content-Type: application/json\r\n")),
    "not-utf-8": form(part(b"\xff")),
    "line-break": form(part(b"good\r\nbad")),
    "nul": form(part(b"good\x00bad")),
    "empty": form(part(b"")),
    "long": form(part(b"x" * 300)),
    "nested": form(part(b"good"), FILE.replace(b"audio/wav", b"multipart/mixed; boundary=c; boundary=d")).replace(b'name="file"', b"name"),
    "attachment": form(part(b"bad").replace(b"form-data", b"attachment")),
    "many-parts": form(*[part(b"x", b"name=x")] * 300, part(b"good")),
    "long-head": form(part(b"good", more=b"X: " + b"y" * 10_000 + b"\r\n")),
    "nothing": b"",
    "only-the-end": b"--b--\r\n\r\n",
}
TYPES = [
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=b; boundary=c",
    "multipart/form-data; boundary=b; Boundary=c",
    "multipart/form-data; boundary=c,multipart/form-data; boundary=b",
    'multipart/form-data; boundary="b"c',
    "multipart/form-data; boundary=b; junk",
    "multipart/form-data-x; boundary=b",
    "multipart/form-data; boundary=" + "b" * 71,
    'multipart/form-data; boundary="b "',
]


@pytest.mark.parametrize("name", GOOD)
def test_found(name: str) -> None:
    body, expected = GOOD[name]
    found = multipart.find_model(body, TYPE)
    assert (found and found.name) == expected
    assert found is None or body[found.start : found.end] == found.name.encode()


@pytest.mark.parametrize("kind", ['Multipart/Form-Data;boundary="b"', "multipart/form-data; charset=utf-8; boundary=b"])
def test_types(kind: str) -> None:
    found = multipart.find_model(form(part()), kind)
    assert found is not None


@pytest.mark.parametrize("name", FORGED)
def test_forged(name: str) -> None:
    with pytest.raises(errors.Malformed):
        multipart.find_model(FORGED[name], TYPE)


@pytest.mark.parametrize("kind", TYPES)
def test_forged_types(kind: str) -> None:
    with pytest.raises(errors.Malformed):
        multipart.find_model(form(part()), kind)


@pytest.mark.parametrize("cut", range(len(form(FILE, part())) - 2))
def test_cut_anywhere(cut: int) -> None:
    """Never another model than the whole form's."""
    with pytest.raises(errors.Malformed):
        multipart.find_model(form(FILE, part())[:cut], TYPE)


HOSTILE = {
    "boundaries": lambda n: b"--b\r\n" * n,
    "almost-boundaries": lambda n: form(part(), FILE.replace(b"\x00", b"\r\n--" * n)),
    "line-ends": lambda n: form(FILE.replace(b"\x00", b"\r\n" * n), part()),
    "blank-lines-in-a-head": lambda n: b"--b\r\n" + b"\r\n\r\n" * n,
    "head-without-end": lambda n: b"--b\r\n" + b"a: b\r\n" * n,
    "parameters": lambda n: form(part(name=b'name="model"' + b"; a=b" * n)),
    "blanks": lambda n: form(part(name=b'name="model"' + b" " * n + b"\x00")),
    "quotes": lambda n: form(part(name=b'name="' + b'\\"' * n)),
    "token": lambda n: form(part(name=b"name=" + b"a" * n + b"\x00")),
}


def read(body: bytes) -> None:
    try:
        multipart.find_model(body, TYPE)
    except errors.Malformed:
        pass


@pytest.mark.parametrize("name", HOSTILE)
def test_costs(name: str) -> None:
    assert_linear(HOSTILE[name], read)
