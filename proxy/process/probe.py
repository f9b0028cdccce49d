"""`dragoman probe`: asks a gateway on this machine whether it is alive, for health checks of containers."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Sequence
from pathlib import Path

from ...conf.model import Listener

SECONDS = 2.0  # for an answer

_ANY = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


def arguments_of(pid: int) -> list[str]:
    """What stands behind `serve` in the command line of a process. Raises OSError, and ValueError where it is no `dragoman serve`."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
    if "serve" not in words:
        raise ValueError(f"process {pid} is no dragoman serve")
    return words[words.index("serve") + 1 :]


def probe(listeners: Sequence[Listener], path: str) -> str | None:
    """What is wrong with the first model listener; None when it answers 200."""
    listener = next(one for one in listeners if one.type == "model")
    host = _ANY.get(listener.address, listener.address)
    connection: http.client.HTTPConnection
    if listener.tls is None:
        connection = http.client.HTTPConnection(host, listener.port, timeout=SECONDS)
    else:
        context = ssl._create_unverified_context()  # it is asked whether it lives, not who it is
        connection = http.client.HTTPSConnection(host, listener.port, timeout=SECONDS, context=context)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{host}:{listener.port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"{host}:{listener.port}: {path} answers {status}"
