"""Bytes that a caller of a WebSocket may send behind the handshake, and what is seen in them: by us, by wsproto, by websockets.

A verdict is a list of what is seen in order: ("text", bytes), ("ping", bytes), ("pong", bytes), ("close", code), and at the end
("fail", code) where the connection is failed with that close code. `wsproto` and `websockets` are verdicts that differ from ours; `why`
says who is right.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tornado.util import _websocket_mask as mask

Verdict = tuple[tuple[str, Any], ...]
LIMIT = 70_000
KEY = b"\x11\x22\x33\x44"


class Row(NamedTuple):
    data: bytes
    ours: Verdict
    wsproto: Verdict | None = None  # None: as ours
    websockets: Verdict | None = None
    why: str = ""


def frame(opcode: int, payload: bytes = b"", last: bool = True, key: bytes | None = KEY, size: bytes | None = None, bits: int = 0) -> bytes:
    """A frame as a client sends it. size: the length field, when it is not the shortest form."""
    length = len(payload)
    masked = 0x80 if key is not None else 0
    if size is None:
        size = (
            bytes((length,))
            if length < 126
            else b"\x7e" + length.to_bytes(2, "big")
            if length < 65536
            else b"\x7f" + length.to_bytes(8, "big")
        )
    head = bytes(((0x80 if last else 0) | bits | opcode, masked | size[0])) + size[1:]
    return head + (b"" if key is None else key) + (payload if key is None else mask(key, payload))


def text(payload: bytes, last: bool = True) -> bytes:
    return frame(1, payload, last)


def more(payload: bytes, last: bool = True) -> bytes:
    return frame(0, payload, last)


def ping(payload: bytes = b"") -> bytes:
    return frame(9, payload)


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(8, b"" if code is None else code.to_bytes(2, "big") + reason)


def said(*payloads: bytes) -> Verdict:
    return tuple(("text", payload) for payload in payloads)


EURO = "€".encode()
AFTER = text(b"after")
BINARY = "the APIs that are served here send text alone: 1003, which the RFC has for just that; the others leave it to their user"
LATE = "websockets judges a fragmented message as a whole, at its end"

ROWS: dict[str, Row] = {
    "a message": Row(text(b"hello"), said(b"hello")),
    "an empty message": Row(text(b""), said(b"")),
    "two messages": Row(text(b"a") + text(b"b"), said(b"a", b"b")),
    "the mask of zeros": Row(frame(1, b"hello", key=bytes(4)), said(b"hello")),
    "125 bytes": Row(text(b"x" * 125), said(b"x" * 125)),
    "126 bytes": Row(text(b"x" * 126), said(b"x" * 126)),
    "65,535 bytes": Row(text(b"x" * 65535), said(b"x" * 65535)),
    "65,536 bytes": Row(text(b"x" * 65536), said(b"x" * 65536)),
    "beyond ASCII": Row(text("ä€😀".encode()), said("ä€😀".encode())),
    "in fragments": Row(text(b"he", False) + more(b"ll", False) + more(b"o"), said(b"hello")),
    "in empty fragments": Row(text(b"", False) + more(b"", False) + more(b"x", False) + more(b""), said(b"x")),
    "a ping between fragments": Row(text(b"he", False) + ping(b"p") + more(b"llo"), (("ping", b"p"), ("text", b"hello"))),
    "a character across fragments": Row(text(EURO[:1], False) + more(EURO[1:2], False) + more(EURO[2:]), said(EURO)),
    "a message behind a fragmented one": Row(text(b"a", False) + more(b"b") + text(b"c"), said(b"ab", b"c")),
    "ping": Row(ping(), (("ping", b""),)),
    "the longest ping": Row(ping(b"p" * 125), (("ping", b"p" * 125),)),
    "pong": Row(frame(10, b"p"), (("pong", b"p"),)),
    "close": Row(close(), (("close", None),), wsproto=(("close", 1005),), why="1005 is how wsproto calls a Close without a code"),
    "close with a code": Row(close(1000), (("close", 1000),)),
    "close with a reason": Row(close(1001, b"bye"), (("close", 1001),)),
    "close with a code of one's own": Row(close(4999), (("close", 4999),)),
    "nothing is read behind a close": Row(close(1000) + AFTER, (("close", 1000),)),
    "a close within a message": Row(
        text(b"a", False) + close(1000),
        (("close", 1000),),
        websockets=(("fail", 1002),),
        why="RFC 6455, 5.4: control frames may stand within a fragmented message; a caller that gives its message up closes just so",
    ),
    # violations
    "not masked": Row(frame(1, b"hello", key=None) + AFTER, (("fail", 1002),)),
    "a reserved bit": Row(frame(1, b"a", bits=0x40) + AFTER, (("fail", 1002),)),
    "another reserved bit": Row(frame(1, b"a", bits=0x10) + AFTER, (("fail", 1002),)),
    "opcode 3": Row(frame(3, b"a") + AFTER, (("fail", 1002),)),
    "opcode 11": Row(frame(11, b"a") + AFTER, (("fail", 1002),)),
    "a ping in fragments": Row(frame(9, b"a", last=False) + AFTER, (("fail", 1002),)),
    "a ping that is too long": Row(frame(9, b"a" * 126) + AFTER, (("fail", 1002),)),
    "a continuation of nothing": Row(more(b"a") + AFTER, (("fail", 1002),)),
    "a continuation behind a whole message": Row(text(b"a") + more(b"b") + AFTER, (("text", b"a"), ("fail", 1002))),
    "a message within another": Row(text(b"a", False) + text(b"b") + AFTER, (("fail", 1002),)),
    "a close of one byte": Row(frame(8, b"\x03") + AFTER, (("fail", 1002),)),
    "a close with 1005": Row(close(1005) + AFTER, (("fail", 1002),)),
    "a close with 999": Row(close(999) + AFTER, (("fail", 1002),)),
    "a close with 1016": Row(close(1016) + AFTER, (("fail", 1002),)),
    "a close whose reason is not UTF-8": Row(close(1000, b"\xff") + AFTER, (("fail", 1007),)),
    "not UTF-8": Row(text(b"\xff\xfe") + AFTER, (("fail", 1007),)),
    "a surrogate": Row(text(b"\xed\xa0\x80") + AFTER, (("fail", 1007),)),
    "half a character at the end": Row(text(b"a" + EURO[:2]) + AFTER, (("fail", 1007),)),
    "half a character at the end of fragments": Row(text(b"a", False) + more(EURO[:2]) + AFTER, (("fail", 1007),)),
    "not UTF-8 within fragments": Row(
        text(b"\xff", False) + ping() + more(b"a"), (("fail", 1007),), websockets=(("ping", b""), ("fail", 1007)), why=LATE
    ),
    "a length that is not the shortest": Row(
        frame(1, b"hello", size=b"\x7e\x00\x05") + AFTER,
        (("fail", 1002),),
        websockets=said(b"hello", b"after"),
        why="RFC 6455, 5.2: the minimal number of bytes MUST be used; websockets does not look",
    ),
    "a length of eight bytes that is not the shortest": Row(
        frame(1, b"hello", size=b"\x7f" + (5).to_bytes(8, "big")) + AFTER,
        (("fail", 1002),),
        websockets=said(b"hello", b"after"),
        why="as above",
    ),
    "binary": Row(
        frame(2, b"a") + AFTER,
        (("fail", 1003),),
        wsproto=(("binary", b"a"), *said(b"after")),
        websockets=(("binary", b"a"), *said(b"after")),
        why=BINARY,
    ),
    "too long": Row(text(b"x" * (LIMIT + 1)), (("fail", 1009),), wsproto=said(b"x" * (LIMIT + 1)), why="wsproto has no limit"),
    "the longest": Row(text(b"x" * LIMIT), said(b"x" * LIMIT)),
    "too long in fragments": Row(
        text(b"x" * LIMIT, False) + more(b"x"), (("fail", 1009),), wsproto=said(b"x" * (LIMIT + 1)), why="wsproto has no limit"
    ),
    # cut off
    "nothing": Row(b"", ()),
    "half a head": Row(text(b"hello")[:3], ()),
    "half a payload": Row(text(b"hello")[:8], ()),
    "half a message": Row(text(b"hello", False) + ping(b"p"), (("ping", b"p"),)),
}
