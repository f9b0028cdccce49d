"""Gateways for the attacks on a process: in a process group of their own, with certificates, with a log that nobody reads."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Running, free_port

Serve = Callable[..., Running]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """serve(config_text, *arguments, **how) runs a gateway in a process group of its own; how: for Popen. `PORT` in it is replaced."""
    started: list[Running] = []

    def run(config: str, *arguments: str, port: int | None = None, environ: dict[str, str] | None = None, **how: Any) -> Running:
        port = port or free_port()
        file = tmp_path / f"attacked-{len(started)}.yaml"
        file.write_text(config.replace("PORT", str(port)))
        gateway = Running([str(file), *arguments], port, environ, start_new_session=True, **how)
        started.append(gateway)
        return gateway

    try:
        yield run
    finally:
        for gateway in started:
            gateway.close()


def certify(folder: Path, name: str) -> tuple[Path, Path]:
    """A new certificate of localhost and its key, self-signed, in files of this name."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
