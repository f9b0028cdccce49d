"""`dragoman serve`: starts one worker process, or a supervisor with several."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ...conf import ConfigError
from ...conf.model import Config, Listener
from ..keys import quota
from ..routing.router import Router
from ..telemetry import metrics, stderr
from ..wire.headers import is_loopback
from . import folder, loops, start
from .admin import AdminProcess
from .supervisor import Supervisor
from .worker import Process, Worker

log = logging.getLogger("dragoman")


def serve(read: Callable[[], Config], again: bool, workers: int, log_format: str) -> int:
    """Serve until a signal and return the exit code. again: SIGHUP reloads the configuration.

    Raises ConfigError, and Taken (an OSError) when another process has the port of a listener.
    """
    loops.raise_file_limit()
    plan, sockets = start.claim(start.plan(read()))
    held = start.hold(sockets) if workers > 1 else []  # the workers' own sockets share the ports
    announce(plan.config)
    reading = read if again else None
    counters = quota.LocalCounters()
    if workers == 1:
        return loops.run_loop(Worker(plan, sockets, reading, log_format, counters).run)
    output = stderr.own()
    if output is not None:
        output.share()
    with _admin_folder(plan.config) as path:
        code = Supervisor(_Crew(plan, reading, log_format, counters, path), range(0 if path else 1, workers + 1)).run()
    for sock in held:
        sock.close()
    return code


@contextmanager
def _admin_folder(config: Config) -> Iterator[str | None]:
    """The folder shared with the process of the admin listeners; None without admin listeners."""
    if not any(one.type == "admin" for one in config.listeners):
        yield None
        return
    with folder.common() as path:
        metrics.share(path)
        try:
            yield path
        finally:
            metrics.unshare()


class _Crew:
    """The processes of a supervisor: number 0 serves the admin listeners, the others are workers."""

    def __init__(
        self, plan: start.Plan, read: Callable[[], Config] | None, log_format: str, counters: quota.LocalCounters, path: str | None
    ) -> None:
        self._plan, self._read, self._log_format, self._counters, self._path = plan, read, log_format, counters, path

    def open(self, number: int) -> start.Sockets:
        kind = "model" if number else "admin"
        listeners = enumerate(self._plan.config.listeners)
        return {index: start.bind(listener, shared=True) for index, listener in listeners if listener.type == kind}

    def work(self, number: int, sockets: start.Sockets, orders: socket.socket) -> int:
        process: Process
        if number:
            process = Worker(self._plan, sockets, self._read, self._log_format, self._counters, orders, number, self._path)
        else:
            assert self._path is not None
            process = AdminProcess(self._plan, sockets, self._read, orders, self._path)
        try:
            return loops.run_loop(process.run)
        except ConfigError as error:
            log.error("%s", error)
            return 2

    def renew(self) -> None:
        """Reload the plan. Mistakes in the configuration are ignored here, as the running processes log them."""
        try:
            if self._read is not None:
                self._plan, _ = start.renewed(self._plan, self._read())
        except (ConfigError, OSError):
            pass
        except Exception:
            log.exception("workers that start from now on have the configuration from before")


# ---- messages at the start ----


def announce(config: Config) -> None:
    """Print a line for each listener and one with the models; log warnings."""
    if alone := quota.note(config):
        log.warning("%s", alone)
    for warning in config.warnings:
        log.warning("%s", warning)
    names = [model.id for model in Router(config).models()] + [p.model for p in config.model_providers if p.wildcard]
    for listener in config.listeners:
        scheme = "https" if listener.tls else "http"
        print(f"{listener.type} {scheme}://{listener.address}:{listener.port}", file=sys.stderr)
        if not is_loopback(listener.address):
            _warn_of_strangers(config, listener)
    print(f"models {', '.join(dict.fromkeys(names))}", file=sys.stderr, flush=True)


def _warn_of_strangers(config: Config, listener: Listener) -> None:
    place = f"{listener.address}:{listener.port}"
    anyone = "anyone whom allow_from lists" if listener.allow_from or config.allow_from else "anyone"
    if listener.type == "admin" and config.control is not None:
        return  # it asks for a login
    if listener.type == "admin":
        log.warning(
            "the admin listener on %s has no authentication: %s can see metrics and, when switched on, contents",
            place,
            anyone,
        )
    elif not (config.access_keys or config.control or config.jwt):
        log.warning("no access_keys: %s who can connect to %s is accepted", anyone, place)


def at_home(config: Config) -> Config:
    """The configuration with its model listeners on 127.0.0.1."""
    listeners = (replace(one, address="127.0.0.1") if one.type == "model" else one for one in config.listeners)
    return replace(config, listeners=tuple(listeners))
