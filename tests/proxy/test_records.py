"""Reads of a TLS socket, of which each gives one record: several at a time where they come in quick succession."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from dragoman.proxy.wire import socket as module
from dragoman.proxy.wire.socket import RECORD, Records

NOTHING = ssl.SSLWantReadError()
BROKEN = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")


class Sock:
    """A socket of which each read gives the next of these: bytes, or an error. At their end there is nothing to read."""

    def __init__(self, *reads: bytes | OSError) -> None:
        self.reads = list(reads)

    def recv_into(self, buffer: memoryview) -> int:
        found = self.reads.pop(0) if self.reads else NOTHING
        if isinstance(found, OSError):
            raise found
        buffer[: len(found)] = found
        return len(found)


def read(sock: Sock, times: list[float], monkeypatch: pytest.MonkeyPatch, size: int = 4 * RECORD) -> list[Any]:
    """What reads at these times give, in seconds."""
    clock = iter(times)
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    records: Any = Records(sock)  # type: ignore[arg-type]
    buffer, found = memoryview(bytearray(size)), []
    for _ in times:
        try:
            found.append(bytes(buffer[: records.receive(buffer)]))
        except OSError as error:
            found.append(error)
    return found


FULL = bytes(RECORD)


@pytest.mark.parametrize(
    ("reads", "times", "found"),
    [
        ([b"a", b"b"], [10.0, 10.05], [b"a", b"b"]),  # paced: no look for another
        ([b"a", b"b", b"c", NOTHING, b"d"], [10.0, 10.001, 10.002], [b"a", b"bc", b"d"]),
        ([FULL, b"b", NOTHING], [10.0], [FULL + b"b"]),  # a full one has another behind it
        ([FULL] * 5, [10.0, 10.001], [FULL * 4, FULL]),
        ([b"a", b"b", BROKEN], [10.0, 10.001, 10.002, 10.003], [b"a", b"b", BROKEN, BROKEN]),  # told after what came before
        ([b"a", b"b", b""], [10.0, 10.001], [b"a", b"b"]),
        ([BROKEN], [10.0], [BROKEN]),
        ([b""], [10.0], [b""]),
    ],
)
def test_reads(reads: list[bytes | OSError], times: list[float], found: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(Sock(*reads), times, monkeypatch) == found
