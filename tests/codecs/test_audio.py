"""Sound in users' turns, between the shapes that have it; the others refuse it, since an answer without it would be another."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from dragoman.codecs import errors, estimate
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import UPSTREAMS

JSON = dict[str, Any]
DATA = "UklGRg=="


def chat(form: str, data: str = DATA, role: str = "user") -> JSON:
    part = {"type": "input_audio", "input_audio": {"data": data, "format": form}}
    return {"model": "m", "messages": [{"role": role, "content": [part]}]}


def gemini(kind: str, data: str = DATA) -> JSON:
    return {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": kind, "data": data}}]}]}


def sent(source: str, target: str, body: JSON) -> JSON:
    request = UPSTREAMS[source].decode_request(body)
    found = UPSTREAMS[target].encode_request(request, Capabilities(), "m").body
    assert (request.ledger.dropped, request.ledger.adapted) == ([], [])
    return found


@pytest.mark.parametrize(("form", "kind"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("MP3", "audio/mpeg"), ("flac", "audio/flac")])
def test_from_chat_to_gemini(form: str, kind: str) -> None:
    assert sent("chat", "gemini", chat(form))["contents"] == gemini(kind)["contents"]


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"RIFF\x00\x00\x00\x00WAVE", "audio/wav"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xf3\x64", "audio/mpeg"),
        (b"OggS", "audio/ogg"),
        (b"fLaC", "audio/flac"),
        (b"\xff\xf1\x60", "audio/aac"),
    ],
)
def test_sound_without_its_format(start: bytes, kind: str) -> None:
    """As Mistral takes it."""
    data = base64.b64encode(start + bytes(30)).decode()
    body = {"model": "m", "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": data}]}]}
    assert sent("chat", "gemini", body)["contents"] == gemini(kind, data)["contents"]


@pytest.mark.parametrize(
    ("kind", "form"),
    [("audio/wav", "wav"), ("audio/x-wav", "wav"), ("audio/mp3", "mp3"), ("audio/MPEG; rate=1", "mp3")],
)
def test_from_gemini_to_chat(kind: str, form: str) -> None:
    assert sent("gemini", "chat", gemini(kind, "UklGRg"))["messages"] == chat(form)["messages"]


@pytest.mark.parametrize("target", ["messages", "responses", "converse"])
@pytest.mark.parametrize(("source", "param"), [("chat", "messages[0].content[0]"), ("gemini", "contents[0].parts[0]")])
def test_others_refuse_it(source: str, param: str, target: str) -> None:
    with pytest.raises(errors.UnsupportedContent) as caught:
        sent(source, target, chat("wav") if source == "chat" else gemini("audio/wav"))
    assert (caught.value.param or "").startswith(param)


REFUSED: dict[str, tuple[str, JSON, type[errors.ClientFault]]] = {
    "type": ("gemini", gemini("audio/ogg"), errors.UnsupportedContent),
    "video": ("gemini", gemini("video/mp4"), errors.UnsupportedContent),
    "base64": ("chat", chat("wav", "{"), errors.Malformed),
    "empty": ("gemini", gemini("audio/wav", " "), errors.Malformed),
    "unknown": (
        "chat",
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": DATA}]}]},
        errors.UnsupportedContent,
    ),
    "format": ("chat", chat("x/../y"), errors.Malformed),
    "long": ("chat", chat("x" * 17), errors.Malformed),
    "system": ("chat", chat("wav", role="system"), errors.UnsupportedContent),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    source, body, error = REFUSED[name]
    with pytest.raises(error):
        sent(source, "chat" if source == "gemini" else "gemini", body)


def test_in_a_result_it_is_a_note() -> None:
    """All later requests repeat it."""
    call = {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "f"}}]}
    heard = {"inlineData": {"mimeType": "audio/wav", "data": DATA}}
    result = {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "see"}, "parts": [heard]}}
    body = {"contents": [{"parts": [{"text": "Hi"}]}, call, {"role": "user", "parts": [result]}]}
    request = UPSTREAMS["gemini"].decode_request(body)
    written = UPSTREAMS["chat"].encode_request(request, Capabilities(), "m").body
    assert "cannot read this" in str(written["messages"][-1]["content"])
    assert request.ledger.adapted


def test_its_tokens_are_estimated() -> None:
    second = "AAAA" * (32_000 // 3)
    short, long = (estimate.tokens(UPSTREAMS["chat"].decode_request(chat("wav", second * length))) for length in (1, 11))
    assert 300 <= long - short <= 340
