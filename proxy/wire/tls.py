"""TLS over a socket that does not block. The records are opened and sealed in memory, so that one read brings all that have come.

An ssl.SSLSocket asks the kernel twice for each record, and providers send each event in one.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

RECORD = 16 * 1024  # bytes that a record carries, at most
RAW = RECORD + 22  # bytes of one read from the kernel: a full record of TLS 1.3. What OpenSSL holds for a connection grows with it
SEALED = 2 * RECORD  # bytes that are sealed for one call of the kernel; OpenSSL's memory grows with them, too
MOST_READS = 20  # from the kernel, until others get their turn: records may come without end that carry nothing
FITS = 2 * RECORD  # bytes of a buffer that holds all that one more read can bring, behind a record that has come in part

# not errors: the socket is not ready (TLS may need the other direction)
NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Receive = Callable[[memoryview], int]
Send = Callable[[bytes | memoryview], int]


class Tls:
    """One connection. It does not own the socket.

    behind: whether bytes have come that the last buffer had no room for. The kernel does not report these: read again.
    """

    __slots__ = ("_ended", "_error", "_incoming", "_object", "_outgoing", "_owed", "_sealed", "_socket", "behind")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str | None = None) -> None:
        """host: the peer's name, which its certificate must have; None for the server's side. Raises OSError, ValueError."""
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=host is None, server_hostname=host)
        self._sealed: bytes | memoryview = b""  # what the kernel has not accepted yet
        self._owed = 0  # bytes of `send` that are in it, and that it has not taken yet
        self._error: OSError | None = None  # what came behind the bytes that were given out
        self._ended = False
        self.behind = False

    def shake_hands(self) -> None:
        """Go on with the handshake. Raises SSLWantReadError or SSLWantWriteError if the socket is not ready, OSError if it fails."""
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                self._flush_all()
                try:
                    data = self._socket.recv(RAW)
                except BlockingIOError:
                    raise ssl.SSLWantReadError from None
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except OSError:
                self._tell()  # an alert says why
                raise
            else:
                self._flush_all()
                self.behind = self._incoming.pending > 0
                return

    def _flush_all(self) -> None:
        if not self._flush():
            raise ssl.SSLWantWriteError

    def _flush(self) -> bool:
        """Send what is sealed. Returns whether the kernel accepted all of it. Raises OSError."""
        data = self._sealed or self._outgoing.read()
        while data:
            try:
                count = self._socket.send(data)
            except BlockingIOError:
                count = 0
            if count < len(data):
                self._sealed = memoryview(data)[count:]
                return False
            self._sealed = data = b""
            if self._outgoing.pending:
                data = self._outgoing.read()
        return True

    def _tell(self) -> None:
        """Send what TLS itself has to say, if that can be done now. If it fails, reads say so."""
        try:
            self._flush()
        except OSError:
            pass

    def receive(self, buffer: memoryview) -> int:
        """As socket.recv_into: all records that are there and fit."""
        count, reads = self._open(buffer, 0) if self.behind else 0, 0
        while not (self.behind or self._ended) and reads < MOST_READS:
            reads += 1
            try:
                data = self._socket.recv(RAW)
            except OSError as error:
                if not count:
                    raise
                if not isinstance(error, BlockingIOError):
                    self._end(error)
                break
            if not data:
                self._ended = True  # without TLS's own end, which many peers leave out
                break
            self._incoming.write(data)
            count = self._open(buffer, count)
            if count and (len(data) < RAW or len(buffer) - count < FITS):
                break
        if not count and self._error is not None:
            raise self._error
        if not (count or self._ended):
            raise ssl.SSLWantReadError
        return count

    def _open(self, buffer: memoryview, count: int) -> int:
        """Read records into the buffer, which has `count` bytes already. Returns how many it has then."""
        read: Callable[[int, Any], Any] = self._object.read  # of a buffer it returns the number of bytes
        incoming, size = self._incoming, len(buffer)
        try:
            while count < size:
                more = read(size - count, buffer[count:])
                if not more:
                    self._end(None)
                    break
                count += more
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except OSError as error:
            self._end(error)
        self.behind = not self._ended and count == size and (incoming.pending or self._object.pending()) > 0
        if self._outgoing.pending and not self._sealed:
            self._tell()
        return count

    def _end(self, error: OSError | None) -> None:
        """Nothing can be read any more. The kernel is made to report it, as what is given out comes before it."""
        self._ended, self._error = True, error and error.with_traceback(None)
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass

    def send(self, data: bytes | memoryview) -> int:
        """As socket.send. The next call must begin with the bytes that this one did not take, as OpenSSL demands it, too."""
        taken = 0
        if self._sealed:
            if not self._flush():
                raise BlockingIOError
            taken, self._owed = self._owed, 0
        while taken < len(data):
            part = data[taken : taken + SEALED]
            self._object.write(part)
            if not self._flush():
                self._owed = len(part)
                if not taken:
                    raise BlockingIOError
                break
            taken += len(part)
        return taken


def ways(sock: socket.socket, tls: Tls | None) -> tuple[Receive, Send]:
    """What reads and what writes, as socket.recv_into and socket.send."""
    return (sock.recv_into, sock.send) if tls is None else (tls.receive, tls.send)
