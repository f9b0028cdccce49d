"""Bytes that a caller may send, and the requests that stand in them: ours, Tornado's and h11's opinions where they differ.

A row's verdict is a list of what is seen in order: (method, target, body) for a request, REFUSED where nothing more is read of the
connection, OPEN where the rest is not complete. `tornado` and `h11` are verdicts that differ from ours; `why` says who is right.
"""

from __future__ import annotations

from typing import NamedTuple

REFUSED = "refused"
OPEN = "open"
Verdict = tuple[tuple[str, str, bytes] | str, ...]


class Row(NamedTuple):
    data: bytes
    ours: Verdict
    tornado: Verdict | None = None  # None: as ours
    h11: Verdict | None = None
    why: str = ""


G = b"GET /a HTTP/1.1\r\n"
P = b"POST /a HTTP/1.1\r\n"
H = b"Host: x\r\n"
CHUNKED = P + H + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
GOT = ("GET", "/a", b"")
SEEN = ("GET", "/next", b"")


def posted(body: bytes) -> tuple[str, str, bytes]:
    return ("POST", "/a", body)


LENIENT = "h11 takes what the RFC lets a recipient take; nothing here decides where a message ends, but nobody needs it"
EXTENSIONS = "Tornado refuses chunk extensions and trailers; RFC 9112, 7.1.1 and 7.1.2: a recipient must be able to skip them"
FOLDED = (
    "RFC 9112, 5.2: a server must refuse a folded line or replace it; h11 replaces it, and what it was then differs from reader to reader"
)
BARE_LF = "RFC 9112, 2.2: a recipient may take a bare LF as the end of a head's line; all three do"
BAD_HOST = "RFC 9112, 3.2: an invalid field value is a 400"
OLD_CHUNKED = "RFC 9112, 6.1: Transfer-Encoding in HTTP/1.0 is faulty framing; one who does not know it sees the body as a second request"

ROWS: dict[str, Row] = {
    # plain requests
    "get": Row(G + H + b"\r\n", (GOT,)),
    "post": Row(P + H + b"Content-Length: 2\r\n\r\nhi", (posted(b"hi"),)),
    "post-without-length": Row(P + H + b"\r\n", (posted(b""),)),
    "length-0": Row(P + H + b"Content-Length: 0\r\n\r\n" + NEXT, (posted(b""), SEEN)),
    "pipelined": Row(G + H + b"\r\n" + P + H + b"Content-Length: 2\r\n\r\nhi" + NEXT, (GOT, posted(b"hi"), SEEN)),
    "get-with-a-body": Row(G + H + b"Content-Length: 2\r\n\r\nhi" + NEXT, (("GET", "/a", b"hi"), SEEN)),
    "head-unfinished": Row(G + H, (OPEN,)),
    "body-unfinished": Row(P + H + b"Content-Length: 3\r\n\r\nhi", (OPEN,)),
    "empty-lines-before": Row(
        b"\r\n" + G + H + b"\r\n", (GOT,), h11=(REFUSED,), why="RFC 9112, 2.2: a server should ignore at least one; some clients send it"
    ),
    "many-empty-lines-before": Row(
        b"\r\n\r\n\n" + G + H + b"\r\n",
        (GOT,),
        tornado=(REFUSED,),
        h11=(REFUSED,),
        why="RFC 9112, 2.2: at least one empty line is to be ignored; more do no harm",
    ),
    "any-method": Row(b"BREW /a HTTP/1.1\r\n" + H + b"\r\n", (("BREW", "/a", b""),)),
    "absolute-form": Row(b"GET http://x/a HTTP/1.1\r\n" + H + b"\r\n", (("GET", "http://x/a", b""),)),
    "absolute-form-of-another-host": Row(b"GET http://y/a HTTP/1.1\r\n" + H + b"\r\n", (("GET", "http://y/a", b""),)),
    "asterisk-form": Row(b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n", (("OPTIONS", "*", b""),)),
    "authority-form": Row(b"CONNECT x:443 HTTP/1.1\r\n" + H + b"\r\n", (("CONNECT", "x:443", b""),)),
    "bytes-in-a-query": Row(
        b"GET /a?\xe9\xff HTTP/1.1\r\n" + H + b"\r\n",
        (("GET", "/a?\xe9\xff", b""),),
        h11=(REFUSED,),
        why="not a URI by RFC 3986, and sent all the same; it goes to an upstream percent-encoded",
    ),
    # how a body ends
    "two-equal-lengths": Row(P + H + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", (posted(b"hi"),)),
    "two-equal-lengths-in-a-line": Row(P + H + b"Content-Length: 2, 2\r\n\r\nhi", (posted(b"hi"),)),
    "two-lengths": Row(P + H + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", (REFUSED,)),
    "two-lengths-in-a-line": Row(P + H + b"Content-Length: 2, 3\r\n\r\nhi", (REFUSED,)),
    "signed-length": Row(P + H + b"Content-Length: +2\r\n\r\nhi", (REFUSED,)),
    "negative-length": Row(P + H + b"Content-Length: -1\r\n\r\n", (REFUSED,)),
    "hexadecimal-length": Row(P + H + b"Content-Length: 0x2\r\n\r\nhi", (REFUSED,)),
    "length-with-underscore": Row(P + H + b"Content-Length: 1_0\r\n\r\n0123456789", (REFUSED,)),
    "length-in-other-digits": Row(P + H + "Content-Length: ²\r\n\r\nhi".encode("latin-1"), (REFUSED,)),
    "length-of-nothing": Row(P + H + b"Content-Length: \r\n\r\n", (REFUSED,)),
    "length-with-blanks-inside": Row(P + H + b"Content-Length: 1 0\r\n\r\n0123456789", (REFUSED,)),
    "length-with-leading-zeros": Row(P + H + b"Content-Length: 02\r\n\r\nhi", (posted(b"hi"),)),
    "huge-length": Row(P + H + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nhi", (REFUSED,)),
    "length-and-chunked": Row(
        P + H + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
        (REFUSED,),
        h11=(posted(b""), SEEN),
        why="RFC 9112, 6.1: a server may refuse it; whoever was before us may have gone by the length",
    ),
    "chunked-and-length": Row(
        P + H + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + NEXT,
        (REFUSED,),
        h11=(posted(b""), SEEN),
        why="as above, in the other order",
    ),
    "chunked": Row(CHUNKED + b"2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n" + NEXT, (posted(b"hi!"), SEEN)),
    "chunked-in-capitals": Row(P + H + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n", (posted(b"hi"),)),
    "chunk-size-in-capitals": Row(CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", (posted(b"0123456789"),)),
    "chunked-twice": Row(P + H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", (REFUSED,)),
    "chunked-in-two-lines": Row(P + H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (REFUSED,)),
    "gzip-and-chunked": Row(P + H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (REFUSED,)),
    "identity": Row(P + H + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", (REFUSED,)),
    "xchunked": Row(P + H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", (REFUSED,)),
    "coding-of-nothing": Row(P + H + b"Transfer-Encoding:\r\nContent-Length: 2\r\n\r\nhi", (REFUSED,)),
    "coding-behind-a-tab": Row(P + H + b"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", (posted(b""),)),
    "coding-with-vertical-tab": Row(P + H + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", (REFUSED,)),
    "blank-before-colon": Row(P + H + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", (REFUSED,)),
    "name-with-control": Row(P + H + b"Transfer-Encoding\x00: chunked\r\n\r\n0\r\n\r\n", (REFUSED,)),
    # chunks
    "chunk-extension": Row(CHUNKED + b'2;a=b;c="d"\r\nhi\r\n0;x\r\n\r\n' + NEXT, (posted(b"hi"), SEEN), tornado=(REFUSED,), why=EXTENSIONS),
    "trailers": Row(CHUNKED + b"2\r\nhi\r\n0\r\nX-A: b\r\n\r\n" + NEXT, (posted(b"hi"), SEEN), tornado=(REFUSED,), why=EXTENSIONS),
    "trailer-that-would-frame": Row(
        CHUNKED + b"0\r\nContent-Length: 50\r\n\r\n" + NEXT, (posted(b""), SEEN), tornado=(REFUSED,), why=EXTENSIONS
    ),
    "hexadecimal-prefix": Row(CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n", (REFUSED,)),
    "signed-chunk": Row(CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n", (REFUSED,)),
    "chunk-with-underscore": Row(CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n", (REFUSED,)),
    "blank-before-chunk-size": Row(CHUNKED + b" 2\r\nhi\r\n0\r\n\r\n", (REFUSED,)),
    "blank-behind-chunk-size": Row(
        CHUNKED + b"2 \r\nhi\r\n0\r\n\r\n",
        (posted(b"hi"),),
        tornado=(REFUSED,),
        why="RFC 9112, 7.1.1 (BWS before an extension); Apache sent it",
    ),
    "bare-lf-behind-chunk-size": Row(CHUNKED + b"2\nhi\r\n0\r\n\r\n", (REFUSED,)),
    "bare-lf-in-chunk-extension": Row(CHUNKED + b"2;a\nhi\r\n0\r\n\r\n", (REFUSED,)),
    "bare-cr-in-chunk-extension": Row(CHUNKED + b"2;a\rb\r\nhi\r\n0\r\n\r\n", (REFUSED,), h11=(posted(b"hi"),), why=LENIENT),
    "bare-lf-behind-chunk": Row(CHUNKED + b"2\r\nhi\n0\r\n\r\n", (REFUSED,)),
    "chunk-longer-than-said": Row(CHUNKED + b"2\r\nhi!\r\n0\r\n\r\n", (REFUSED,)),
    "empty-chunk-size": Row(CHUNKED + b"\r\nhi\r\n0\r\n\r\n", (REFUSED,)),
    "huge-chunk": Row(CHUNKED + b"f" * 17 + b"\r\n", (REFUSED,), h11=(OPEN,), why="no body is so long; other readers' numbers overflow"),
    "long-chunk-extension": Row(CHUNKED + b"2;" + b"a" * 5000 + b"\r\nhi\r\n0\r\n\r\n", (REFUSED,), h11=(posted(b"hi"),), why=LENIENT),
    "many-zeros": Row(CHUNKED + b"00000002\r\nhi\r\n000\r\n\r\n", (posted(b"hi"),)),
    # header lines
    "folded": Row(G + H + b"X-A: a\r\n b\r\n\r\n", (REFUSED,), h11=(GOT,), why=FOLDED),
    "folded-length": Row(P + H + b"Content-Length:\r\n 2\r\n\r\nhi", (REFUSED,), h11=(posted(b"hi"),), why=FOLDED),
    "folded-first-line": Row(G + b" X: a\r\n" + H + b"\r\n", (REFUSED,)),
    "bare-lf": Row(G.replace(b"\r", b"") + b"Host: x\n\n", (GOT,), why=BARE_LF),
    "bare-lf-and-crlf": Row(G + b"Host: x\n\r\n" + NEXT, (GOT, SEEN), why=BARE_LF),
    "crlf-and-bare-lf": Row(P + b"Host: x\r\nContent-Length: 2\r\n\nhi" + NEXT, (posted(b"hi"), SEEN), why=BARE_LF),
    "bare-cr-in-a-value": Row(G + H + b"X-A: a\rTransfer-Encoding: chunked\r\n\r\n", (REFUSED,)),
    "bare-cr-at-the-end": Row(G + H + b"X-A: a\r\r\n\r\n", (REFUSED,)),
    "bare-cr-behind-the-request-line": Row(
        b"GET /a HTTP/1.1\r\r\n" + H + b"\r\n", (REFUSED,), tornado=(GOT,), why="RFC 9112, 2.2: a bare CR within a message is invalid"
    ),
    "nul-in-a-value": Row(G + H + b"X-A: a\x00b\r\n\r\n", (REFUSED,)),
    "control-in-a-value": Row(G + H + b"X-A: a\x01b\r\n\r\n", (REFUSED,), h11=(GOT,), why=LENIENT),
    "del-in-a-value": Row(G + H + b"X-A: a\x7fb\r\n\r\n", (REFUSED,), h11=(GOT,), why=LENIENT),
    "latin-1-in-a-value": Row(G + H + b"X-A: \xe9\r\n\r\n", (GOT,)),
    "blanks-around-a-value": Row(G + H + b"X-A: \t a \t\r\n\r\n", (GOT,)),
    "empty-value": Row(G + H + b"X-A:\r\n\r\n", (GOT,)),
    "empty-name": Row(G + H + b": a\r\n\r\n", (REFUSED,)),
    "no-colon": Row(G + H + b"junk\r\n\r\n", (REFUSED,)),
    "name-with-brackets": Row(G + H + b"X[a]: b\r\n\r\n", (REFUSED,)),
    "name-in-latin-1": Row(G + H + b"X\xe9: b\r\n\r\n", (REFUSED,)),
    "no-host": Row(G + b"\r\n", (REFUSED,)),
    "two-hosts": Row(G + H + b"Host: y\r\n\r\n", (REFUSED,)),
    "host-list": Row(G + b"Host: x, y\r\n\r\n", (REFUSED,), h11=(GOT,), why=BAD_HOST),
    "host-bracket": Row(G + b"Host: [\r\n\r\n", (REFUSED,), tornado=(GOT,), h11=(GOT,), why=BAD_HOST),
    "host-too-long": Row(
        G + b"Host: " + b"x" * 301 + b"\r\n\r\n", (REFUSED,), tornado=(GOT,), h11=(GOT,), why="a name has 253 characters at most"
    ),
    "host-with-a-path": Row(G + b"Host: x/y\r\n\r\n", (REFUSED,), h11=(GOT,), why=BAD_HOST),
    "host-of-nothing": Row(G + b"Host:\r\n\r\n", (GOT,)),
    "host-in-brackets": Row(G + b"Host: [::1]:80\r\n\r\n", (GOT,)),
    "no-fields": Row(G + b"\r\n" + NEXT, (REFUSED,)),
    "huge-head": Row(G + H + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n", (REFUSED,), h11=(GOT,), why="h11 bounds only what is not complete"),
    "many-fields": Row(
        G + H + b"A:\r\n" * 2000 + b"\r\n", (REFUSED,), tornado=(GOT,), h11=(GOT,), why="each costs; nobody sends a thousand"
    ),
    # request lines
    "two-blanks": Row(b"GET  /a HTTP/1.1\r\n" + H + b"\r\n", (REFUSED,)),
    "tab-for-blank": Row(b"GET\t/a HTTP/1.1\r\n" + H + b"\r\n", (REFUSED,)),
    "blank-in-target": Row(b"GET /a b HTTP/1.1\r\n" + H + b"\r\n", (REFUSED,)),
    "blank-behind-version": Row(b"GET /a HTTP/1.1 \r\n" + H + b"\r\n", (REFUSED,)),
    "no-version": Row(b"GET /a\r\n\r\n", (REFUSED,)),
    "small-letters": Row(b"GET /a http/1.1\r\n" + H + b"\r\n", (REFUSED,)),
    "http-2": Row(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (REFUSED,), h11=(("PRI", "*", b""), REFUSED), why="another major version is another protocol"
    ),
    "http-9": Row(b"GET /a HTTP/9.9\r\n" + H + b"\r\n", (REFUSED,), h11=(GOT,), why="another major version is another protocol"),
    "http-1.2": Row(
        b"GET /a HTTP/1.2\r\n" + H + b"\r\n", (GOT,), why="RFC 9110, 2.5: a higher minor version is read as the highest known one"
    ),
    "control-in-target": Row(b"GET /a\x01 HTTP/1.1\r\n" + H + b"\r\n", (REFUSED,)),
    "tls": Row(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (REFUSED,)),
    # HTTP/1.0
    "http-1.0": Row(b"GET /a HTTP/1.0\r\n\r\n", (GOT,)),
    "http-1.0-post": Row(b"POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", (posted(b"hi"),)),
    "http-1.0-kept": Row(b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + NEXT, (GOT, SEEN), h11=(GOT,), why="h11 keeps none"),
    "http-1.0-not-kept": Row(b"GET /a HTTP/1.0\r\n\r\n" + NEXT, (GOT,)),
    "http-1.0-chunked": Row(
        b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        (REFUSED,),
        tornado=(posted(b""),),
        h11=(posted(b""),),
        why=OLD_CHUNKED,
    ),
    # the connection
    "close": Row(G + H + b"Connection: close\r\n\r\n" + NEXT, (GOT,)),
    "close-among-others": Row(
        G + H + b"Connection: TE, Close\r\nTE: trailers\r\n\r\n" + NEXT,
        (GOT,),
        tornado=(GOT, SEEN),
        why="RFC 9110, 7.6.1: Connection is a list; Tornado compares all of it",
    ),
    "expect": Row(P + H + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi" + NEXT, (posted(b"hi"), SEEN)),
    "expect-without-a-body": Row(G + H + b"Expect: 100-continue\r\n\r\n" + NEXT, (GOT, SEEN)),
    "expect-in-1.0": Row(b"POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", (posted(b"hi"),)),
    "upgrade": Row(G + H + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + NEXT, (GOT, SEEN)),
}
