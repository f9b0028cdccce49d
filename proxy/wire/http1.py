"""HTTP/1.1 without I/O, in both roles: as a client towards upstreams, as a server towards callers (RFC 9110, RFC 9112).

The client role. HeadReader reads up to the blank line and skips informational responses; body_reader() returns the reader for the
body's framing. A body reader returns the payload of the bytes it is fed as ONE bytes object, however many chunks they hold, so that
the output of one read stays together. It never raises: it returns the valid payload, sets `ended` and stores the `fault`, so the
result does not depend on where the network splits the bytes.
inflater() returns the decoder of a compressed body (codings.py).

It accepts harmless deviations that are in use: bare LF in heads, chunk extensions, trailers (skipped), a body until close,
Transfer-Encoding together with Content-Length (the length is ignored and the connection is not reused). It rejects folded header
lines, transfer codings other than chunked, upgrades, and content codings that the standard library cannot decode.

The server role. RequestReader reads the heads of one connection's requests and determines the framing of each body; Response
produces the bytes of a response. It is strict about everything that decides where a message ends, because a proxy in front of the
gateway may decide differently: one framing, plain numbers, only `chunked`, no Transfer-Encoding in HTTP/1.0, no bare CR. It is
lenient elsewhere: bare LF in heads, chunk extensions, trailers, empty lines before a request.

Tornado's HTTPHeaders.parse validates header lines; parse_headers has a fast path for the usual ones. At each upgrade of Tornado
read its advisories for http1connection and httputil. Their subjects so far, and the place of each here: the syntax of lengths and
chunk sizes (_LENGTH, _CHUNK_LINE), Host (_HOST), Transfer-Encoding (_request_body), whitespace and folding in header lines
(parse_headers), the cost of repeated and malformed headers (MAX_FIELDS, MAX_NAME), line breaks in a response's head (Response.head).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
    _normalize_header,
    format_timestamp,
    parse_request_start_line,
)

from ...codecs import errors
from . import codings

MAX_HEAD = 64 * 1024  # bytes of one head, and of a body's trailers
MAX_FIELDS = 1000  # header lines of one head
MAX_NAME = 4096  # characters of a header's name: caches hold a thousand of them, here and in Tornado
MAX_HOST = 300  # characters of a Host field; a name has at most 253
MAX_INFORMATIONAL = 100  # 1xx responses before the final one
CHUNKED = -1  # instead of a body's length
MAX_CHUNK_LINE = 4096  # bytes of a chunk's size line, with its extensions

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LONG_NAME = re.compile(rf"^[^:\r\n]{{{MAX_NAME + 1}}}", re.MULTILINE)
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FIELD_BYTES = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_TARGET = re.compile(r"[\x21-\x7e]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9]{2})(?: ([^\x00\r\n]*))?\r?")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
_HOST = re.compile(r"(?:[0-9A-Za-z.\-_~!$&'()*+;=%]*+|\[[0-9A-Fa-f:.]++\])(?::[0-9]*+)?")
# int(x, 16) alone would also accept 0x5, +5 and 5_0
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")

# hop-by-hop fields, which this module writes itself (RFC 9110, section 7.6.1); and Expect, as no caller waits for a 100 here
_CONNECTION_FIELDS = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "http2-settings", "content-length", "expect", "host"),
    )
)


def request_head(method: str, target: str, host: str, fields: Iterable[tuple[str, str]], length: int | None) -> bytes:
    """The bytes of a request's head. A Host among the fields replaces `host`; hop-by-hop fields are omitted.

    length: the body's bytes; None for no body, which omits Content-Length; CHUNKED for a body of unknown length. Raises ValueError for
    characters that HTTP does not allow (above all a line break in a value); its message never contains a value.
    """
    lines = []
    named: list[str] = []  # options of the Connection field: such fields are hop-by-hop too
    for name, value in fields:
        lower = _lowered(name)
        if lower not in _CONNECTION_FIELDS:
            lines.append(f"{name}: {value}")
        elif lower == "host":
            host = value
        elif lower == "connection":
            named += [option.strip().lower() for option in value.split(",")]
    if named:
        lines = [line for line in lines if line.partition(":")[0].lower() not in named]
    try:
        head = "\r\n".join(lines).encode("latin-1")
    except UnicodeEncodeError:
        raise _disallowed(lines) from None
    if head.translate(None, _FIELD_BYTES) != b"\r\n" * (len(lines) - 1):  # one pass over all fields is cheaper than one for each
        raise _disallowed(lines)
    framing = "" if length is None else "Transfer-Encoding: chunked\r\n" if length == CHUNKED else f"Content-Length: {length}\r\n"
    return b"".join((_start_line(method, target, host), head, b"\r\n" if lines else b"", framing.encode(), b"\r\n"))


def connect_head(host: str, port: int, login: str | None) -> bytes:
    """The head of a CONNECT request (RFC 9110, section 9.3.6). login: the proxy's, `user:password`. Raises ValueError."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return to_proxy(request_head("CONNECT", place, place, (("User-Agent", "dragoman"),), None), login)


def to_proxy(head: bytes, login: str | None) -> bytes:
    """A request's head with the proxy's credential, which no field of the request can set."""
    if login is None:
        return head
    line, _, rest = head.partition(b"\r\n")
    return b"".join((line, b"\r\nProxy-Authorization: Basic ", b64encode(login.encode()), b"\r\n", rest))


def _disallowed(lines: Iterable[str]) -> ValueError:
    name = next(line.partition(":")[0] for line in lines if not _FIELD_VALUE.fullmatch(line))
    return ValueError(f"the value of header {name} holds characters that HTTP does not allow")


@lru_cache(128)  # small: the target includes the caller's query, of any length
def _start_line(method: str, target: str, host: str) -> bytes:
    """The request line and the Host field. Raises ValueError."""
    if not (_TOKEN.fullmatch(method) and _TARGET.fullmatch(target)):
        raise ValueError("the method or the target of the request holds characters that HTTP does not allow")
    if not _TARGET.fullmatch(host):
        raise ValueError("the host of the request holds characters that HTTP does not allow")
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n".encode()


@lru_cache(1024)
def _lowered(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"not a header name: {name!r}")
    return name.lower()


@lru_cache(1024)
def _capitalized(name: str) -> str:
    """The name as HTTPHeaders writes it."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("not a header name")
    return _normalize_header(name)


class Fields(HTTPHeaders):
    """HTTPHeaders that are cheap to create and to look into: a request asks for some forty fields, most of them absent."""

    def __init__(self) -> None:
        self._as_list = {}
        self._combined_cache = {}

    def __contains__(self, name: object) -> bool:
        return _normalize_header(name) in self._as_list

    def get(self, name: str, default: Any = None) -> Any:
        values = self._as_list.get(_normalize_header(name))
        if values is None:
            return default
        return values[0] if len(values) == 1 else ",".join(values)

    def get_all(self) -> list[tuple[str, str]]:
        return [(name, value) for name, values in self._as_list.items() for value in values]


def parse_headers(lines: str) -> HTTPHeaders:
    """The same as HTTPHeaders.parse, faster for the usual lines. Raises HTTPInputError, also above MAX_FIELDS and MAX_NAME."""
    if lines.count("\n") >= MAX_FIELDS:
        raise HTTPInputError("too many header lines")
    if len(lines) > MAX_NAME and _LONG_NAME.search(lines):
        raise HTTPInputError("too long a header name")
    listed = lines.split("\r\n")
    if lines.encode("latin-1").translate(None, _FIELD_BYTES) != b"\r\n" * (len(listed) - 1):
        return HTTPHeaders.parse(lines)
    try:
        plain = [line.split(":", 1) for line in listed]
        by_name = {_capitalized(name): [value.strip(" \t")] for name, value in plain}
    except ValueError:
        return HTTPHeaders.parse(lines)
    headers = Fields()
    if len(by_name) < len(plain):  # some are repeated
        by_name = {}
        for name, value in plain:
            by_name.setdefault(_capitalized(name), []).append(value.strip(" \t"))
    headers._as_list = by_name
    return headers


# ---- the head ----


class Head(NamedTuple):
    """The head of a final response. minor: the x of HTTP/1.x."""

    status: int
    reason: str
    headers: HTTPHeaders
    minor: int

    def keeps_alive(self) -> bool:
        """Whether the head allows another request on the connection."""
        if (options := self.headers.get("Connection")) and "close" in [option.strip() for option in options.lower().split(",")]:
            return False
        # both framings at once: an intermediary may have seen another end of the body
        doubtful = "Transfer-Encoding" in self.headers and "Content-Length" in self.headers
        return self.minor >= 1 and not doubtful


class HeadReader:
    """Reads one response's head. Once feed() has returned it, `rest` holds the bytes after it."""

    def __init__(self) -> None:
        self.rest = b""
        self._buffer = bytearray()
        self._searched = 0
        self._informational = 0

    def feed(self, data: bytes) -> Head | None:
        """The final head once it is complete, until then None. Raises Garbled."""
        end = data.find(b"\n\r\n") - 1
        plain = 0 < end <= MAX_HEAD - 4 and data[end] == 13 and data.find(b"\n\n", 0, end) < 0
        if plain and data.startswith(b"HTTP/1.1 200 ") and not self._buffer:  # the usual case: a complete final head
            self.rest = data[end + 4 :]
            return _parse_head(data[:end])
        self._buffer += data
        while (raw := self._next_head()) is not None:
            head = _parse_head(raw)
            if head.status >= 200:
                self.rest = bytes(self._buffer)
                return head
            self._informational += 1
            if head.status == 101 or self._informational > MAX_INFORMATIONAL:
                raise _garbled("101, or too many informational responses")
        return None

    def _next_head(self) -> bytes | None:
        buffer = self._buffer
        if not b"HTTP/1.".startswith(bytes(buffer[:7])):
            raise _garbled("no HTTP/1 status line")
        blank = _BLANK_LINE.search(buffer, self._searched)
        size = blank.end() if blank else len(buffer) + 1
        if size > MAX_HEAD:
            raise _garbled("response head too large")
        if not blank:
            self._searched = max(0, len(buffer) - 3)
            return None
        raw = bytes(buffer[: blank.start()])
        del buffer[: blank.end()]
        self._searched = 0
        return raw


def _parse_head(raw: bytes) -> Head:
    line, _, lines = raw.partition(b"\n")
    status = _STATUS_LINE.fullmatch(line)
    if status is None:
        raise _garbled("malformed status line")
    try:
        headers = parse_headers(lines.decode("latin-1"))
    except HTTPInputError:
        raise _garbled("malformed header line") from None
    return Head(int(status[2]), (status[3] or b"").decode("latin-1"), headers, int(status[1]))


# ---- the body's framing ----


class BodyReader:
    """Extracts the payload from the bytes that follow a head.

    ended: the body has ended, or is malformed. fault: the error, if any. reusable: whether the connection is at the start of a
    next message. rest: the bytes after the end.
    """

    ended = False
    reusable = True
    rest = b""
    fault: errors.UpstreamFault | None = None

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`, joined. Bytes after the end are not payload and clear `reusable`."""
        raise NotImplementedError

    def eof(self, in_order: bool) -> None:
        """The connection has ended. in_order: by a FIN, not by a reset."""
        self._end(errors.Truncated("The upstream closed the connection before the end of its answer."))

    def _end(self, fault: errors.UpstreamFault | None = None) -> None:
        self.ended = True
        self.fault = fault


class Counted(BodyReader):
    """A body of known length."""

    def __init__(self, length: int) -> None:
        self.left = length  # bytes still to come
        self.ended = length == 0

    def feed(self, data: bytes) -> bytes:
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data
        if left < 0:
            data, self.rest = data[:left], data[left:]
            self.reusable = False
        self.left = 0
        self._end()
        return data


class UntilClose(BodyReader):
    """A body that ends with the connection."""

    reusable = False

    def feed(self, data: bytes) -> bytes:
        return data

    def eof(self, in_order: bool) -> None:
        if in_order:
            self._end()
        else:
            super().eof(in_order)


_sizes: dict[bytes, int] = {}  # the size by the digits of a chunk's size line: nearly all chunks have one of a few hundred sizes
_MOST_SIZES = 4096
_END = b"0\r\n\r\n"  # the last chunk, without trailers


def _size(data: bytes, at: int, end: int) -> int:
    """The size of the chunk at `at` whose size line ends at `end`; 0 for the last chunk and for a line that is not just digits."""
    line = _CHUNK_LINE.match(data, at)
    if line is None or line.end() != end + 2 or line.end(1) != end:
        return 0
    size = int(line[1], 16)
    if size and len(_sizes) < _MOST_SIZES:
        _sizes[line[1]] = size
    return size


def _joined(data: bytes) -> tuple[bytes, int]:
    """The payload of the complete chunks that `data` starts with, and their length, if none has CRLF in its payload; else nothing."""
    parts = data.split(b"\r\n")
    lines = len(parts) - 1
    if lines % 2:
        lines -= 1  # of a chunk that has come in part, its size line is complete
    if lines and parts[lines - 2] == b"0":
        lines -= 2  # the end
    payload = parts[1:lines:2]
    # an unknown size line yields None, which equals no length
    if [*map(_sizes.get, parts[:lines:2])] != [*map(len, payload)]:
        return b"", 0
    rest = parts[lines:]
    return b"".join(payload), len(data) - sum(map(len, rest)) - 2 * (len(rest) - 1)


class Chunked(BodyReader):
    """A chunked body; extensions and trailers are skipped."""

    def __init__(self) -> None:
        self._ready = True  # at the beginning of a chunk, with nothing held
        self._left = 0  # bytes of the current chunk still to come
        self._held = b""  # an incomplete line
        self._trailers = 0  # bytes of trailers so far
        self._in_trailer = False  # of a line of them the beginning has come
        # unbound: a bound method would be a reference cycle in each response
        self._step: Callable[[Chunked, bytes, int, list[bytes]], int] = Chunked._read_size

    def feed(self, data: bytes) -> bytes:
        if self._ready:
            end = data.find(b"\r\n", 0, 9)
            if _sizes.get(data[:end]) == len(data) - end - 4 and data[-2:] == b"\r\n":  # the usual read: one complete chunk
                return data[end + 2 : -2]
        if self._held:
            data = self._held + data
            self._held = b""
        payload: list[bytes] = []
        at = 0
        joined = False
        while at < len(data) and not self.ended:
            if self._step is Chunked._read_size:
                if not joined:
                    joined = True  # once: it looks at all that is left
                    run, length = _joined(data[at:])
                    payload.append(run)
                    at += length
                at = self._known(data, at, payload)
                if at == len(data):
                    break
            at = self._step(self, data, at, payload)
        self._ready = self._step is Chunked._read_size and not (self._held or self.ended)
        self.reusable = at == len(data)
        if not self.reusable:
            self.rest = data[at:]
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _known(self, data: bytes, at: int, payload: list[bytes]) -> int:
        """Read the complete chunks at `at` whose size lines are just digits. Returns the offset behind them."""
        known = _sizes.get
        while (end := data.find(b"\r", at, at + 8)) > 0 and (size := known(data[at:end]) or _size(data, at, end)):
            start = end + 2
            stop = start + size
            if data[stop : stop + 2] != b"\r\n" or data[start - 1] != 10:
                break
            payload.append(data[start:stop])
            at = stop + 2
        return at

    # Each step reads one element at `at`, appends payload, sets the next step and returns the offset of the next element.

    def _read_size(self, data: bytes, at: int, payload: list[bytes]) -> int:
        line = _CHUNK_LINE.match(data, at)
        if line is None or line.end() - at > MAX_CHUNK_LINE:
            whole = line is not None or data[at] not in _HEX_DIGITS or data.find(b"\n", at) >= 0
            return self._hold(data, at, whole, MAX_CHUNK_LINE)
        self._left = int(line[1], 16)
        self._step = Chunked._read_payload if self._left else Chunked._read_trailer
        return line.end()

    def _read_payload(self, data: bytes, at: int, payload: list[bytes]) -> int:
        piece = data[at : at + self._left]
        payload.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._step = Chunked._read_break
        return at + len(piece)

    def _read_break(self, data: bytes, at: int, payload: list[bytes]) -> int:
        if data.startswith(b"\r\n", at):
            self._step = Chunked._read_size
            return at + 2
        return self._hold(data, at, data[at:] != b"\r", 2)

    def _read_trailer(self, data: bytes, at: int, payload: list[bytes]) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            full = len(data) - at >= MAX_HEAD - self._trailers
            skipped = len(data) - data.endswith(b"\r")
            self._trailers += skipped - at
            self._in_trailer = self._in_trailer or skipped > at
            return self._hold(data, skipped, full, 2)
        self._trailers += end + 2 - at
        if self._trailers > MAX_HEAD:
            return self._hold(data, at, True, 0)
        if end == at and not self._in_trailer:
            self._end()
        self._in_trailer = False
        return end + 2

    def _hold(self, data: bytes, at: int, broken: bool, limit: int) -> int:
        """Buffer the incomplete line at `at`; end the body with a fault if it is malformed or reaches `limit` bytes."""
        if broken or len(data) - at >= limit:
            self._end(_garbled("malformed chunk"))
            return at
        self._held = data[at:]
        return len(data)


def _has_body(method: str, head: Head) -> bool:
    return method != "HEAD" and head.status not in (204, 304)


def body_reader(method: str, head: Head) -> BodyReader:
    """The reader for the body of the response to a `method` request (RFC 9112, section 6.3). Raises Garbled."""
    if not _has_body(method, head):
        return Counted(0)
    coding = head.headers.get("Transfer-Encoding")
    if coding is not None:
        coding = coding.strip().lower()
        if coding == "chunked":
            return Chunked()
        if coding != "identity":
            raise _garbled("unknown transfer coding")
    length = head.headers.get("Content-Length", "")
    if not _LENGTH.fullmatch(length):
        lengths = {one.strip() for one in length.split(",")}
        length = lengths.pop()
        if not (lengths or length):
            return UntilClose()
        if lengths or not _LENGTH.fullmatch(length):
            raise _garbled("malformed Content-Length")
    return Counted(int(length))


# ---- the server role: requests ----


class RequestHead(NamedTuple):
    """body: its reader; None when the request has no body. persists: the caller allows another request on the connection."""

    line: RequestStartLine
    headers: HTTPHeaders
    body: BodyReader | None
    persists: bool

    @property
    def awaits_continue(self) -> bool:
        """Whether the caller waits for a 100 (Continue) before it sends the body."""
        return self.line.version != "HTTP/1.0" and self.headers.get("Expect", "").lower() == "100-continue"


class RequestReader:
    """Reads the heads of one connection's requests. The bytes after a head stay in `buffer` until take() or next()."""

    __slots__ = ("_searched", "buffer")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._searched = 0  # bytes of the buffer that hold no end of a head

    def feed(self, data: bytes) -> None:
        self.buffer += data

    def next(self) -> RequestHead | None:
        """The next request's head, or None while it is incomplete. Raises HTTPInputError; the connection is then unusable."""
        buffer = self.buffer
        if buffer.startswith((b"\r", b"\n")):
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]  # some callers send an empty line after a body
        blank = _BLANK_LINE.search(buffer, self._searched)
        if (blank.end() if blank else len(buffer)) > MAX_HEAD:
            raise HTTPInputError("request head too large")
        if blank is None:
            self._searched = max(0, len(buffer) - 3)
            return None
        raw = bytes(buffer[: blank.start()])
        del buffer[: blank.end()]
        self._searched = 0
        return _request_head(raw)

    def take(self) -> bytes:
        """Remove and return the buffered bytes, which belong to the body or are discarded."""
        data, self.buffer = bytes(self.buffer), bytearray()
        return data


def _request_head(raw: bytes) -> RequestHead:
    first, _, lines = raw.decode("latin-1").partition("\n")
    line = parse_request_start_line(first.removesuffix("\r"))
    headers = parse_headers(lines)
    if "Host" in headers:
        host = headers["Host"]
        if len(host) > MAX_HOST or not _is_host(host):
            raise HTTPInputError("malformed Host")
    elif line.version != "HTTP/1.0":
        raise HTTPInputError("no Host")
    return RequestHead(line, headers, _request_body(line, headers), _persists(line, headers))


@lru_cache(128)
def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def _request_body(line: RequestStartLine, headers: HTTPHeaders) -> BodyReader | None:
    """The reader for the request's body (RFC 9112, section 6.3). Raises HTTPInputError for ambiguous framing."""
    length = headers.get("Content-Length")
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        if length is not None or coding.lower() != "chunked" or line.version == "HTTP/1.0":
            raise HTTPInputError("conflicting or unknown message framing")
        return Chunked()
    if length is None:
        return None
    if not _LENGTH.fullmatch(length):
        lengths = {one.strip(" \t") for one in length.split(",")}
        length = lengths.pop()
        if lengths or not _LENGTH.fullmatch(length):
            raise HTTPInputError("malformed Content-Length")
        headers["Content-Length"] = length
    return Counted(int(length))


def _persists(line: RequestStartLine, headers: HTTPHeaders) -> bool:
    wish = headers.get("Connection", "").lower()
    if line.version == "HTTP/1.1" and wish in ("", "keep-alive"):
        return True
    options = [option.strip(" \t") for option in wish.split(",")]
    return "close" not in options and (line.version == "HTTP/1.1" or "keep-alive" in options)


# ---- the server role: responses ----

FRAME = b"%x\r\n%b\r\n"  # one chunk: its length and its bytes, never empty
LAST_FRAME = b"0\r\n\r\n"


class Response:
    """The response to one request, as bytes.

    persists: whether the connection stays open afterwards; final once head() has been called. left: bytes of the Content-Length
    not written yet; None without Content-Length.
    """

    __slots__ = ("_line", "chunked", "left", "persists")

    def __init__(self, line: RequestStartLine, persists: bool) -> None:
        """line: the request line. persists: whether the request allows another one."""
        self._line, self.persists = line, persists
        self.chunked = False
        self.left: int | None = None

    def head(self, start_line: ResponseStartLine, headers: HTTPHeaders, also: Mapping[str, str], seconds: int) -> bytes:
        """also: further headers. seconds: the time since the epoch. Raises ValueError for a line break in a header."""
        code, version, method = start_line.code, self._line.version, self._line.method
        length = headers.get("Content-Length")
        bodiless = method == "HEAD" or code in (204, 304) or 100 <= code < 200
        unframed = length is None and not bodiless
        self.chunked = unframed and version == "HTTP/1.1"
        # without a length and without chunks the body ends with the connection
        if headers.get("Connection") == "close" or (unframed and not self.chunked):
            self.persists = False
        self.left = 0 if method == "HEAD" or code == 304 else None if length is None else int(length)
        lines = [f"HTTP/1.1 {code} {start_line.reason}"]
        if "Date" not in headers:
            lines.append(_date(seconds))
        if not self.persists:
            headers["Connection"] = "close"
        elif version == "HTTP/1.0":
            headers["Connection"] = "Keep-Alive"
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        if also:
            lines += [f"{name}: {value}" for name, value in also.items()]
        text = "\r\n".join(lines)
        if not (text.count("\r") == text.count("\n") == len(lines) - 1):
            raise ValueError("a line break in a header")
        return text.encode("latin-1", "replace") + b"\r\n\r\n"

    def frame(self, payload: bytes) -> bytes:
        """The framed payload. Raises HTTPOutputError when the body exceeds its Content-Length."""
        if self.left is not None:
            self.left -= len(payload)
            if self.left < 0:
                raise HTTPOutputError("more was written than Content-Length promised")
        return FRAME % (len(payload), payload) if self.chunked and payload else payload

    def end(self, payload: bytes) -> bytes:
        """The last payload, framed, and the end of the body. Raises HTTPOutputError when the Content-Length does not match."""
        rest = self.frame(payload) if payload else b""
        if self.left:
            raise HTTPOutputError("less was written than Content-Length promised")
        return rest + LAST_FRAME if self.chunked else rest


@lru_cache(1)
def _date(seconds: int) -> str:
    """The Date header line."""
    return f"Date: {format_timestamp(seconds)}"


# ---- content codings ----


def inflater(method: str, head: Head) -> codings.Inflater | None:
    """The decoder for the body, or None. Removes Content-Encoding and Content-Length from the headers, as they no longer apply.

    Raises Garbled for an unsupported coding.
    """
    coding = head.headers.get("Content-Encoding")
    named = codings.named(coding) if coding else ()
    if not named or not _has_body(method, head):
        return None
    if len(named) > 1 or named[0] not in codings.ZLIB:
        raise _garbled("unknown content coding")
    for name in ("Content-Encoding", "Content-Length"):
        head.headers.pop(name, None)
    return codings.Inflater(named[0])


def _garbled(detail: str) -> errors.Garbled:
    return errors.Garbled("The upstream's answer is not valid HTTP.", detail)
