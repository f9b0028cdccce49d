import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from dragoman.codecs import errors
from dragoman.proxy.wire import codings, http1

from ..counting import counted

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Reading:
    """What a client sees of a response that comes in these pieces; end: None (stays open), "eof" or "reset"."""

    def __init__(self, pieces, end=None, method="POST"):
        self.head = self.body = self.fault = None
        self.payload = []
        try:
            self.read(pieces, end, method)
            self.fault = self.body.fault if self.body else None
        except errors.UpstreamFault as fault:
            self.fault = fault

    def read(self, pieces, end, method):
        reader = http1.HeadReader()
        for piece in pieces:
            if self.head is None:
                self.head = reader.feed(piece)
                if self.head is None:
                    continue
                self.body = http1.body_reader(method, self.head)
                piece = reader.rest
            if piece:
                self.payload.append(self.body.feed(piece))
        if end and self.body and not self.body.ended:
            self.body.eof(in_order=end == "eof")

    @property
    def outcome(self):
        if self.fault is not None:
            return type(self.fault).__name__
        if self.body is None:
            return "no head"
        if not self.body.ended:
            return "unfinished"
        return "reusable" if self.body.reusable and self.head.keeps_alive() else "ended"

    @property
    def seen(self):
        return self.head and self.head.status, b"".join(self.payload), self.outcome


WIRE = [
    # the head
    (OK + b"Content-Length: 0\r\n\r\n", None, (200, b"", "reusable")),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", None, (200, b"", "reusable")),
    (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", None, (200, b"", "reusable")),
    (b"HTTP/1.1 429 \xe9t\xe9\r\ncontent-length:2\r\n\r\n{}", None, (429, b"{}", "reusable")),
    (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", None, (200, b"hi", "reusable")),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nhi", None, (200, b"hi", "reusable")),
    (b"HTTP/1.1 204 No Content\r\n\r\n", None, (204, b"", "reusable")),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", None, (304, b"", "reusable")),
    (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", None, (302, b"", "reusable")),
    (b"HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n", None, (None, b"", "Garbled")),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", None, (200, b"hi", "reusable")),
    (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + OK + b"Content-Length: 2\r\n\r\nhi", None, (200, b"hi", "reusable")),
    (b"HTTP/1.1 200 OK\r\nConte", None, (None, b"", "no head")),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", None, (None, b"", "Garbled")),
    (b"HTTP/2 200 OK\r\n\r\n", None, (None, b"", "Garbled")),
    (b"HTTP/1.1 20x OK\r\n\r\n", None, (None, b"", "Garbled")),
    (b"HTTP/1.1 099 OK\r\n\r\n", None, (None, b"", "Garbled")),
    (b"HTTP/1.1  200 OK\r\n\r\n", None, (None, b"", "Garbled")),
    (b"http/1.1 200 OK\r\n\r\n", None, (None, b"", "Garbled")),
    (b"SSH-2.0-OpenSSH_9.6\r\n", None, (None, b"", "Garbled")),
    (b"\x15\x03\x01\x00\x02\x02\x28", None, (None, b"", "Garbled")),
    (b"<html>", None, (None, b"", "Garbled")),
    (OK + b"Content-Length : 2\r\n\r\nhi", None, (None, b"", "Garbled")),
    (OK + b"X: a\r\n folded\r\n\r\n", None, (None, b"", "Garbled")),
    (OK + b"no colon\r\n\r\n", None, (None, b"", "Garbled")),
    (OK + b"X: a\x00b\r\n\r\n", None, (None, b"", "Garbled")),
    (OK + b"X: a\rb\r\n\r\n", None, (None, b"", "Garbled")),
    # Content-Length
    (OK + b"Content-Length: 5\r\n\r\nhello", None, (200, b"hello", "reusable")),
    (OK + b"Content-Length: 5\r\n\r\nhello!", None, (200, b"hello", "ended")),
    (OK + b"Content-Length: 0\r\n\r\nhello", None, (200, b"", "ended")),
    (b"HTTP/1.1 204 No Content\r\n\r\nhello", None, (204, b"", "ended")),
    (OK + b"Content-Length: 5\r\n\r\nhell", None, (200, b"hell", "unfinished")),
    (OK + b"Content-Length: 5\r\n\r\nhell", "eof", (200, b"hell", "Truncated")),
    (OK + b"Content-Length: 5\r\n\r\n", "reset", (200, b"", "Truncated")),
    (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", None, (200, b"hello", "reusable")),
    (OK + b"Content-Length: 5, 5\r\n\r\nhello", None, (200, b"hello", "reusable")),
    (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", None, (200, b"", "Garbled")),
    (OK + b"Content-Length: +5\r\n\r\nhello", None, (200, b"", "Garbled")),
    (OK + b"Content-Length: 0x5\r\n\r\nhello", None, (200, b"", "Garbled")),
    (OK + b"Content-Length: 5_0\r\n\r\nhello", None, (200, b"", "Garbled")),
    (OK + b"Content-Length: -1\r\n\r\nhello", None, (200, b"", "Garbled")),
    (OK + b"Content-Length: \xb2\r\n\r\nhello", None, (200, b"", "Garbled")),
    (OK + b"Content-Length: 99999999999999999999\r\n\r\nhello", None, (200, b"", "Garbled")),
    (OK + b"Connection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nhi", None, (200, b"hi", "ended")),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", None, (200, b"hi", "ended")),
    # until close
    (OK + b"\r\nhello", None, (200, b"hello", "unfinished")),
    (OK + b"\r\nhello", "eof", (200, b"hello", "ended")),
    (b"HTTP/1.0 200 OK\r\n\r\nhello", "eof", (200, b"hello", "ended")),
    (OK + b"\r\nhello", "reset", (200, b"hello", "Truncated")),
    (OK + b"Transfer-Encoding: identity\r\n\r\nhello", "eof", (200, b"hello", "ended")),
    # chunked
    (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", None, (200, b"hello", "reusable")),
    (CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", None, (200, b"hello!", "reusable")),
    (CHUNKED + b"0\r\n\r\n", None, (200, b"", "reusable")),
    (CHUNKED + b"000000005\r\nhello\r\n00\r\n\r\n", None, (200, b"hello", "reusable")),
    (CHUNKED + b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", None, (200, b"0123456789" * 2, "reusable")),
    (CHUNKED + b'5;x="y";z\r\nhello\r\n0;last\r\n\r\n', None, (200, b"hello", "reusable")),
    (CHUNKED + b"5 \t;x\r\nhello\r\n0 \r\n\r\n", None, (200, b"hello", "reusable")),
    (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", None, (200, b"hello", "reusable")),
    (CHUNKED + b"5\r\nhello\r\n0\r\n\r\nHTTP", None, (200, b"hello", "ended")),
    (CHUNKED + b"4\r\n\r\n\r\n\r\n", "eof", (200, b"\r\n\r\n", "Truncated")),
    (CHUNKED + b"5\r\nhello\r\n", None, (200, b"hello", "unfinished")),
    (CHUNKED + b"5\r\nhello\r\n", "eof", (200, b"hello", "Truncated")),
    (CHUNKED + b"5\r\nhello\r\n", "reset", (200, b"hello", "Truncated")),
    (CHUNKED + b"5\r\nhello\r\n0\r\n", "eof", (200, b"hello", "Truncated")),
    (CHUNKED + b"5\r\nhe", "eof", (200, b"he", "Truncated")),
    (CHUNKED + b"5\r\nhelloX\r\n", None, (200, b"hello", "Garbled")),
    (CHUNKED + b"5\r\nhello\n\r\n0\r\n\r\n", None, (200, b"hello", "Garbled")),
    (CHUNKED + b"5\nhello\r\n0\r\n\r\n", None, (200, b"", "Garbled")),
    (CHUNKED + b"2\r\nok\r\n0x5\r\nhello\r\n0\r\n\r\n", None, (200, b"ok", "Garbled")),
    (CHUNKED + b"2\r\nok\r\n+5\r\nhello\r\n0\r\n\r\n", None, (200, b"ok", "Garbled")),
    (CHUNKED + b"2\r\nok\r\n5_0\r\nhello\r\n0\r\n\r\n", None, (200, b"ok", "Garbled")),
    (CHUNKED + b"2\r\nok\r\n-5\r\nhello\r\n0\r\n\r\n", None, (200, b"ok", "Garbled")),
    (CHUNKED + b"2\r\nok\r\n 5\r\nhello\r\n0\r\n\r\n", None, (200, b"ok", "Garbled")),
    (CHUNKED + b"2\r\nok\r\n\r\n5\r\nhello\r\n", None, (200, b"ok", "Garbled")),
    (CHUNKED + b"1000000000000000\r\nhello\r\n", None, (200, b"", "Garbled")),
    (CHUNKED + b"5;a\rb\r\nhello\r\n", None, (200, b"", "Garbled")),
    (CHUNKED + b"data: {}\n\n", None, (200, b"", "Garbled")),
    (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", None, (200, b"hello", "ended")),
    (OK + b"Content-Length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", None, (200, b"hello", "ended")),
    (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", None, (200, b"", "Garbled")),
    (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None, (200, b"", "Garbled")),
]


@pytest.mark.parametrize(("wire", "end", "expected"), WIRE)
def test_response(wire, end, expected):
    assert Reading([wire], end).seen == expected


@pytest.mark.parametrize(("wire", "end", "expected"), WIRE)
def test_response_cut_anywhere(wire, end, expected):
    assert Reading([wire[i : i + 1] for i in range(len(wire))], end).seen == expected
    for i in range(1, len(wire)):
        assert Reading([wire[:i], wire[i:]], end).seen == expected, wire[:i]


def test_head_request_has_no_body():
    wire = OK + b"Content-Length: 5\r\nContent-Encoding: gzip\r\n\r\n"
    reading = Reading([wire], method="HEAD")
    assert reading.seen == (200, b"", "reusable")
    assert http1.inflater("HEAD", reading.head) is None
    assert reading.head.headers["Content-Length"] == "5"


def test_no_body_is_not_coded():
    reading = Reading([b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: br\r\n\r\n"])
    assert http1.inflater("GET", reading.head) is None


def test_head_is_parsed():
    wire = b"HTTP/1.1 503 Slow  Down\r\nRetry-After: 3\r\nset-cookie: a\r\nSet-Cookie: b\r\nx-empty:\r\nX-Text:  caf\xe9 \r\n\r\n"
    head = http1.HeadReader().feed(wire)
    assert (head.status, head.reason, head.minor) == (503, "Slow  Down", 1)
    assert head.headers["retry-after"] == "3"
    assert head.headers.get_list("Set-Cookie") == ["a", "b"]
    assert (head.headers["X-Empty"], head.headers["X-Text"]) == ("", "café")


@pytest.mark.parametrize("size", [1, 1000, 70_000])
def test_head_size_limit(size):
    filler = http1.MAX_HEAD - len(OK + b"X: \r\n\r\n")
    for surplus, expected in ((0, "unfinished"), (1, "Garbled")):
        wire = OK + b"X: " + b"a" * (filler + surplus) + b"\r\n\r\nbody"
        assert Reading([wire[i : i + size] for i in range(0, len(wire), size)]).outcome == expected


def test_informational_limit():
    final = OK + b"Content-Length: 0\r\n\r\n"
    assert Reading([b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + final]).outcome == "reusable"
    assert Reading([b"HTTP/1.1 102 Processing\r\n\r\n" * 101 + final]).outcome == "Garbled"


@pytest.mark.parametrize("size", [1, 100_000])
def test_chunk_line_limit(size):
    for surplus, expected in ((0, "reusable"), (1, "Garbled")):
        wire = CHUNKED + b"1;" + b"x" * (http1.MAX_CHUNK_LINE - 4 + surplus) + b"\r\na\r\n0\r\n\r\n"
        assert Reading([wire[i : i + size] for i in range(0, len(wire), size)]).outcome == expected


@pytest.mark.parametrize("size", [7, 100_000])
def test_trailers_limit(size):
    for surplus, expected in ((0, "reusable"), (1, "Garbled")):
        trailers = b"X: 1\r\n" * 10 + b"Y: " + b"a" * (http1.MAX_HEAD - 67 + surplus) + b"\r\n\r\n"
        wire = CHUNKED + b"0\r\n" + trailers
        assert len(trailers) == http1.MAX_HEAD + surplus
        assert Reading([wire[i : i + size] for i in range(0, len(wire), size)]).outcome == expected


def test_all_chunks_of_a_read_are_one_piece():
    reading = Reading([CHUNKED, b"3\r\none\r\n3\r\ntwo\r\n5\r\nth", b"ree\r\n0\r\n\r\n"])
    assert reading.payload == [b"onetwoth", b"ree"]


@pytest.mark.parametrize("cut", range(9))
def test_many_chunks_of_a_read_take_no_call_each(cut):
    """Wherever in a chunk the read begins and ends."""
    chunk = b"5\r\nhello\r\n"
    wire = chunk * 1000
    body = http1.Chunked()
    before = body.feed(chunk + wire[:cut])
    payload, calls = counted(lambda: body.feed(wire[cut:] + wire[:cut]))
    assert before + payload + body.feed(wire[cut:] + b"0\r\n\r\n") == b"hello" * 2001
    assert body.ended
    assert calls < 50


@pytest.mark.parametrize("line", [b"5\r", b"5\r5", b"5x", b"5", b"\r", b"0x5\r\n", b"+5\r\n", b"5 ;a\r\n", b"00005\r\n", b"000000005\r\n"])
def test_a_chunks_line_is_read_alike_when_its_length_is_known(line):
    wire = b"5\r\nhello\r\n" * 2 + line + b"world\r\n0\r\n\r\n"
    seen = []
    for pieces in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        body = http1.Chunked()
        payload = b"".join(body.feed(piece) for piece in pieces if not body.ended)
        seen.append((payload, body.ended, repr(body.fault)))
    assert seen[0] == seen[1]
    assert seen[0][0].startswith(b"hellohello")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"1\r\nx\r\n", b"3\r\nx", b"\na\r\n1f"],  # the line that has come in part starts like a known one
        [b"2a\r\n" + b"a" * 42 + b"\r\n2\r\n\r", b"\n\r\n2a"],
        [b"a\r\n" + b"a" * 10 + b"\r\n2\r\n\r", b"\n\r\na"],
    ],
)
def test_a_read_that_ends_in_a_size_line(pieces):
    body, bytewise = http1.Chunked(), http1.Chunked()
    payload = b"".join(map(body.feed, pieces))
    assert payload == b"".join(bytewise.feed(bytes([byte])) for byte in b"".join(pieces))
    assert not body.ended


# bytes, and what looks like the lines around chunks
PAYLOAD = st.binary(max_size=40) | st.lists(st.sampled_from([b"\r", b"\n", b"1", b"a", b"1f", b"1\r\nx\r\n"]), max_size=12).map(b"".join)


@given(st.lists(PAYLOAD), st.data())
def test_chunked_round_trip(chunks, data):
    extension = st.sampled_from([b"", b";a", b" ; b=c", b';d="e"'])
    wire = b"".join(b"%x%b\r\n%b\r\n" % (len(c), data.draw(extension), c) for c in chunks if c) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire)))) | {0, len(wire)})
    body = http1.Chunked()
    pieces = [body.feed(wire[a:b]) for a, b in itertools.pairwise(cuts)]
    assert b"".join(pieces) == b"".join(chunks)
    assert (body.ended, body.fault, body.reusable) == (True, None, True)


@given(st.binary(), st.data())
def test_any_bytes_are_read_alike_however_cut(noise, data):
    start = data.draw(st.sampled_from([b"", OK, CHUNKED, CHUNKED + b"5\r\nhello\r\n", CHUNKED + b"0\r\n"]))
    wire = start + noise
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)))) | {0, len(wire)})
    pieces = [wire[a:b] for a, b in itertools.pairwise(cuts)]
    assert Reading(pieces, "eof").seen == Reading([wire], "eof").seen


# ---- codings ----

TEXT = b"".join(b"data: {%d}\n\n" % i for i in range(200))
RAW = zlib.compressobj(wbits=-15)
CODED = {
    "gzip": gzip.compress(TEXT, mtime=0),
    "x-gzip": gzip.compress(TEXT[:50], mtime=0) + gzip.compress(TEXT[50:], mtime=0),
    "deflate": zlib.compress(TEXT),
    "Deflate": RAW.compress(TEXT) + RAW.flush(),
}


def head_with(**headers):
    return http1.Head(200, "OK", HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()}), 1)


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_inflates(coding, size):
    data = CODED[coding]
    head = head_with(content_encoding=coding, content_length=str(len(data)), content_type="text/plain")
    inflater = http1.inflater("POST", head)
    pieces = [piece for i in range(0, len(data), size) for piece in inflater.feed(data[i : i + size])]
    inflater.finish()
    assert b"".join(pieces) == TEXT
    assert b"" not in pieces
    assert list(head.headers) == ["Content-Type"]


def test_inflates_each_flush_at_once():
    compressor = zlib.compressobj(wbits=31)
    inflater = codings.Inflater("gzip")
    for i in range(5):
        event = b"data: %d\n\n" % i
        wire = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(inflater.feed(wire)) == event


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "deflate"]), st.data())
def test_inflate_round_trip(text, coding, data):
    wire = gzip.compress(text, mtime=0) if coding == "gzip" else zlib.compress(text)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire)))) | {0, len(wire)})
    inflater = codings.Inflater(coding)
    assert b"".join(piece for a, b in itertools.pairwise(cuts) for piece in inflater.feed(wire[a:b])) == text
    inflater.finish()


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "utf-8"])
def test_unknown_coding(coding):
    with pytest.raises(errors.Garbled):
        http1.inflater("GET", head_with(content_encoding=coding))


@pytest.mark.parametrize("coding", ["", "identity", "identity, "])
def test_no_coding(coding):
    assert http1.inflater("GET", head_with(content_encoding=coding, content_length="5")) is None


# ---- requests ----


def test_request_head():
    fields = HTTPHeaders({"x-api-key": "k", "content-type": "application/json"})
    fields.add("X-Two", "1")
    fields.add("X-Two", "2")
    assert http1.request_head("POST", "/v1/messages?beta=true", "api.example:8443", fields.get_all(), 12) == (
        b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: api.example:8443\r\nX-Api-Key: k\r\nContent-Type: application/json\r\n"
        b"X-Two: 1\r\nX-Two: 2\r\nContent-Length: 12\r\n\r\n"
    )
    assert http1.request_head("GET", "/", "h", [], None) == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert http1.request_head("GET", "/", "h", [("X", "caf\xe9")], None) == b"GET / HTTP/1.1\r\nHost: h\r\nX: caf\xe9\r\n\r\n"


def test_request_host_is_replaced():
    assert http1.request_head("GET", "/", "h", [("Host", "other")], None) == b"GET / HTTP/1.1\r\nHost: other\r\n\r\n"


def test_request_leaves_out_what_belongs_to_a_connection():
    names = "Keep-Alive Proxy-Connection Proxy-Authorization TE Trailer Transfer-Encoding Upgrade Content-Length Expect X-Private"
    fields = [("Connection", "close, x-private"), *((name, "1") for name in names.split()), ("X-Kept", "1")]
    assert http1.request_head("POST", "/", "h", fields, 0) == (b"POST / HTTP/1.1\r\nHost: h\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "target", "host", "fields"),
    [
        ("GE T", "/", "h", []),
        ("GET", "/ HTTP/1.1\r\nX: 1", "h", []),
        ("GET", "/caf\xe9", "h", []),
        ("GET", "/", "h\r\nX: 1", []),
        ("GET", "/", "", []),
        ("GET", "/", "h", [("Host", "a b")]),
        ("GET", "/", "h", [("X: 1\r\nY", "secret")]),
        ("GET", "/", "h", [("", "secret")]),
        ("GET", "/", "h", [("X", "secret\r\nY: 1")]),
        ("GET", "/", "h", [("X", "secret\nY: 1")]),
        ("GET", "/", "h", [("X", "secret\x00")]),
        ("GET", "/", "h", [("X", "secret \u2028")]),
    ],
)
def test_request_injection(method, target, host, fields):
    with pytest.raises(ValueError) as caught:
        http1.request_head(method, target, host, fields, None)
    assert "secret" not in repr(caught.value)
