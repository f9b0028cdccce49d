"""`dragoman probe`: checks a gateway on this machine, for the health checks of containers."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Sequence
from pathlib import Path

from ...conf.model import Listener

SECONDS = 2.0  # for an answer

_ANY = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


def arguments_of(pid: int) -> list[str]:
    """The arguments after `serve` in the command line of a process. Raises OSError, or ValueError if there is no `serve`."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
    if "serve" not in words:
        raise ValueError(f"process {pid} is not a dragoman serve process")
    return words[words.index("serve") + 1 :]


def probe(listeners: Sequence[Listener], path: str) -> str | None:
    """Request `path` from the first model listener: None if it answers 200, else the fault as text."""
    listener = next(one for one in listeners if one.type == "model")
    host = _ANY.get(listener.address, listener.address)
    connection: http.client.HTTPConnection
    if listener.tls is None:
        connection = http.client.HTTPConnection(host, listener.port, timeout=SECONDS)
    else:
        context = ssl._create_unverified_context()  # its identity does not matter, and nothing secret is sent
        connection = http.client.HTTPSConnection(host, listener.port, timeout=SECONDS, context=context)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{host}:{listener.port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"{host}:{listener.port}: {path} answers {status}"
