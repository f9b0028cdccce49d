"""What stands between a gateway and its upstreams: a proxy whose answers a test decides, and a private certificate authority.

A proxy is a Provider (scripted.py) that answers CONNECT requests; `tunnel` makes its script.
"""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from dragoman.conf.model import Certificates, ClientCert

from .scripted import Connection, PeerGone, Request, Step

HOST = "up.test"  # no machine: only a proxy knows where it is
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 double\r\n\r\n"


def relay(port: int) -> Step:
    """Carry bytes to a port of this machine and back until one side closes."""

    def step(connection: Connection) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as target:
            ways = {connection.sock: target, target: connection.sock}
            while ways:
                for ready in select.select(list(ways), [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        raise PeerGone
                    try:
                        ways[ready].sendall(data)
                    except OSError:  # what the other side said before it closed is still carried
                        del ways[ready]
        raise PeerGone

    return step


def basic(login: str) -> str:
    return "Basic " + b64encode(login.encode()).decode()


def tunnel(port: int, login: str | None = None, every: int = 1 << 16) -> Callable[[Request], list[Step]]:
    """A proxy that leads to a port, for who has the login. every: bytes of its answer in one write."""

    def script(request: Request) -> list[Step]:
        assert request.method == "CONNECT"
        if login is not None and request.headers.get("proxy-authorization") != basic(login):
            return [b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"]
        return [lambda connection: connection.send(ESTABLISHED, every), relay(port)]

    return script


class Authority:
    """A certificate authority with a server's certificate for HOST and a client's. Skips the test if there is no openssl."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        command = shutil.which("openssl")
        if command is None:
            pytest.skip("needs the openssl command to make certificates")
        self._openssl = command
        self.ca_file = str(self.folder / "ca.pem")
        key = str(self.folder / "ca.key")
        self._run("req", "-x509", *_EC, "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", self.ca_file)
        self.client = self.issue("client", "client", "extendedKeyUsage=clientAuth")
        cert, key = self.issue("server", HOST, f"subjectAltName=DNS:{HOST},DNS:localhost")
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(cert, key)
        self.demanding = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.demanding.load_cert_chain(cert, key)
        self.demanding.load_verify_locations(self.ca_file)
        self.demanding.verify_mode = ssl.CERT_REQUIRED

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)

    def issue(self, file: str, name: str, extension: str) -> tuple[str, str]:
        """Paths of a certificate and its key."""
        cert, key, asked, extra = (str(self.folder / f"{file}.{end}") for end in ("crt", "key", "csr", "ext"))
        Path(extra).write_text(f"{extension}\n")
        self._run("req", "-new", *_EC, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
        authority = ("-CA", self.ca_file, "-CAkey", str(self.folder / "ca.key"), "-CAcreateserial")
        self._run("x509", "-req", "-in", asked, *authority, "-days", "2", "-extfile", extra, "-out", cert)
        return cert, key

    def locked(self, password: str) -> str:
        """The path of the client's key, encrypted."""
        found = str(self.folder / "locked.key")
        self._run("pkcs8", "-topk8", "-in", self.client[1], "-passout", f"pass:{password}", "-out", found)
        return found

    def trusted(self, *, proves: bool = False, only: bool = True) -> Certificates:
        """What a client needs that trusts this authority. proves: it has the client's certificate."""
        return Certificates(self.ca_file, only, ClientCert(*self.client) if proves else None)


_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
