"""Probes: /healthz, /readyz, and the start probes of coding agents."""

from __future__ import annotations

from .base import Handler


class _Probe(Handler):
    """Whoever asks, by whatever name of the host: a balancer, an orchestrator. There is nothing to read."""

    def guard(self) -> None:
        pass


class Health(_Probe):
    """Alive: the loop turns."""

    def get(self) -> None:
        self.write({"status": "ok"})

    head = get


class Ready(_Probe):
    """Ready for more: 503 from the moment when the process is told to end."""

    def get(self) -> None:
        if not self.gateway.ready:
            self.set_status(503)
        self.write({"status": "ok" if self.gateway.ready else "draining"})

    head = get


class Hello(Handler):
    """HEAD / and /api/hello, which coding agents ask before they have credentials."""

    def get(self) -> None:
        self.write({"message": "hello"})

    head = get
