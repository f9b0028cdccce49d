"""Probes: /healthz, /readyz, and those that coding agents send at start."""

from __future__ import annotations

from .base import Handler


class _Probe(Handler):
    """Accepts any Host, since load balancers and orchestrators use various names; the answers hold nothing confidential."""

    def guard(self) -> None:
        pass


class Health(_Probe):
    """GET /healthz: 200 while the event loop runs."""

    def get(self) -> None:
        self.write({"status": "ok"})


class Ready(_Probe):
    """GET /readyz: 200, or 503 once the process has been told to end. `control` says that the control store does not answer."""

    def get(self) -> None:
        if not self.gateway.ready:
            self.set_status(503)
        control = self.gateway.control
        note = {"control": control.note} if control is not None and control.stale else {}
        self.write({"status": "ok" if self.gateway.ready else "draining", **note})


class Hello(Handler):
    """HEAD / and /api/hello, which coding agents request before they have credentials."""

    def get(self) -> None:
        self.write({"message": "hello"})
