"""Inline files: every spelling of a data URL that clients send, and what is refused."""

from __future__ import annotations

import base64

import pytest

from dragoman.codecs import errors, media
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.media import Inline
from dragoman.codecs.registry import SHAPES, UPSTREAMS

PATH = ("messages", 0, "content", 1, "image_url", "url")
PNG = "iVBORw0KGgo="
JPEG = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD"


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        (f"data:image/png;base64,{PNG}", "image/png", PNG),
        (f"DATA:Image/PNG;BASE64,{PNG}", "image/png", PNG),
        (f"data:image/jpg;base64,{PNG}", "image/jpeg", PNG),
        (f"data:image/png;name=a.png;charset=x;base64,{PNG}", "image/png", PNG),
        (f"data:image/tiff;base64,{PNG}", "image/tiff", PNG),
        ("data:image/png;base64, iVBO\r\nRw0K\tGgo=\n", "image/png", PNG),
        ("data:image/png;base64,iVBORw0KGgo", "image/png", PNG),
        (f"data:;base64,{PNG}", "image/png", PNG),
        (f"data:;base64,{b64(b'%PDF-1.7 ...')}", "application/pdf", b64(b"%PDF-1.7 ...")),
        ("data:text/plain,a%20%C3%A9,b", "text/plain", b64("a é,b".encode())),
        ("data:text/plain;charset=utf-8,é", "text/plain", b64("é".encode())),
        ("data:text/plain;charset=utf-8,%zz", "text/plain", b64(b"%zz")),
    ],
)
def test_data_url(url: str, media_type: str, data: str) -> None:
    assert media.is_data_url(url)
    assert media.parse_data_url(url, PATH) == Inline(media_type, data)
    assert media.parse_file(url, PATH) == Inline(media_type, data)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("data:", errors.Malformed),
        ("data:image/png;base64", errors.Malformed),
        ("data:image/png;base64,", errors.Malformed),
        ("data:image/png;base64, \n", errors.Malformed),
        ("data:image/png;base64,====", errors.Malformed),
        ("data:image/png;base64,abcde", errors.Malformed),
        ("data:image/png;base64,ab=c", errors.Malformed),
        ("data:image/png;base64,ab-_", errors.Malformed),
        ("data:image/png;base64,é000", errors.Malformed),
        ("data:image/png;base64,\ud83d000", errors.Malformed),
        ("data:image/png,", errors.Malformed),
        ("data:;base64,AAAA", errors.UnsupportedContent),
        ("data:,hello", errors.UnsupportedContent),
    ],
)
def test_no_data_url(url: str, error: type[errors.GatewayError]) -> None:
    with pytest.raises(error) as caught:
        media.parse_data_url(url, PATH)
    assert caught.value.param == "messages[0].content[1].image_url.url"
    assert caught.value.kind == "bad_request"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n0000", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF87a..", "image/gif"),
        (b"GIF89a..", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", ""),
        (b"%PDF-1.4", "application/pdf"),
        (b"x", ""),
    ],
)
def test_magic_bytes(raw: bytes, kind: str) -> None:
    assert media.sniff(b64(raw)) == kind
    if kind:
        assert media.parse_file(b64(raw), PATH) == Inline(kind, b64(raw))


def test_inline_file_is_a_data_url_again() -> None:
    assert Inline("image/png", PNG).url == f"data:image/png;base64,{PNG}"


def test_text_files() -> None:
    assert media.decoded_text(b64("a é".encode()), PATH) == "a é"
    assert media.decoded_text(b64("\ufeffa".encode()), PATH) == "a"
    assert media.decoded_text(media.encoded_text("é\ud83d"), PATH) == "é?"
    with pytest.raises(errors.Malformed):
        media.decoded_text(b64(b"\xff\xfe"), PATH)


def test_media_type_names() -> None:
    assert media.media_type(" Text/Plain; charset=utf-8") == "text/plain"
    assert media.media_type("image/jpg") == "image/jpeg"
    assert media.media_type("") == ""


@pytest.mark.parametrize(
    ("declared", "data", "kind"),
    [
        ("image/png", JPEG, "image/jpeg"),
        ("image/png", "R0lGODlhAQABAAAAACw=", "image/gif"),
        ("image/jpeg", JPEG, "image/jpeg"),
        ("image/png", "AAAA", "image/png"),
        ("image/png", "JVBERi0xLjQ=", "image/png"),
    ],
)
def test_pictures_are_what_their_bytes_say(declared: str, data: str, kind: str) -> None:
    """Screenshots of MCP servers; Claude refuses the other name, and the conversation is over."""
    parts = [{"type": "image_url", "image_url": {"url": f"data:{declared};base64,{data}"}}]
    for shape in ("messages", "converse"):
        request = SHAPES["chat"].decode_request({"model": "m", "messages": [{"role": "user", "content": parts}]})
        body = UPSTREAMS[shape].encode_request(request, Capabilities(), "m").body
        block = body["messages"][0]["content"][0]
        found = block["source"]["media_type"] if shape == "messages" else f"image/{block['image']['format']}"
        assert found == kind
        assert bool(request.ledger.adapted) == (declared != kind)
