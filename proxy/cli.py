"""The command line: serve, check, translate, load. Exit codes: 0, 1 failure at run time, 2 usage or configuration."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import orjson

from .. import conf
from ..codecs.registry import SHAPES, USUAL
from ..codecs.shape import names
from ..conf.model import Config
from .telemetry import log as journal
from .wire.headers import is_loopback

log = logging.getLogger("dragoman")

DEFAULT_FILE = "dragoman.yaml"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="dragoman", description="A gateway for language-model APIs: any client to any model.")
    top.add_argument("--version", action="version", version=f"dragoman {version('dragoman')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the gateway in the foreground")
    serve.add_argument("config", nargs="?", help=f"default: ./{DEFAULT_FILE} when it exists, else the keys in the environment")
    serve.add_argument("--host", help="address to listen on, instead of the file's")
    serve.add_argument("--port", type=_port, help="port to listen on, instead of the file's")
    serve.add_argument("--workers", type=_count, default=1, metavar="N", help="processes that share the port (1)")
    serve.add_argument("--log-format", choices=journal.FORMATS, default="json", help="json (default), or text for people")
    check = commands.add_parser("check", help="validate a configuration and show where each model goes")
    check.add_argument("config")
    translate = commands.add_parser("translate", help="turn a request, a response or a recorded stream into another shape, offline")
    translate.add_argument("--from", dest="source", required=True, choices=SHAPES, metavar="SHAPE")
    translate.add_argument("--to", dest="target", required=True, choices=SHAPES, metavar="SHAPE")
    translate.add_argument("file", nargs="?", help="default: standard input")
    _add_load(commands.add_parser("load", help=f"load test of any endpoint of the shapes {names(SHAPES.values())}"))
    return top


def _add_load(load: argparse.ArgumentParser) -> None:
    load.description = "Keeps N streams open for a while and tells what came of them. Exit code 1 when an answer was not whole."
    load.add_argument("url", metavar="URL", help="of the server, as http://localhost:12000; its /v1; or the path itself")
    load.add_argument("--shape", choices=SHAPES, help=f"of the requests ({USUAL.name}, or what the URL's path says)")
    load.add_argument("--model", default="demo/echo", help="demo/echo")
    load.add_argument("--streams", type=_many, default=10, metavar="N", help="kept open at once (10)")
    load.add_argument("--rate", type=_positive, metavar="EVENTS/S", help="of each stream, on average; default: as fast as they come")
    load.add_argument("--seconds", type=_positive, default=10.0, metavar="S", help="how long (10)")
    load.add_argument("--key", help="credential, sent as the shape's own SDK sends it; $VARIABLE is taken from the environment")
    load.add_argument("--words", type=_many, metavar="N", help="asked for in each answer (50; with --rate what takes 5 s)")
    load.add_argument("--exact", action="store_true", help="another number of words is an error, as it always is with demo/echo")
    load.add_argument("--size", type=_many, default=0, metavar="BYTES", help="of conversation in each request, before its prompt")
    load.add_argument("--whole", action="store_true", help="ask for answers that are not streamed")
    load.add_argument("--json", action="store_true", help="the figures as JSON on standard output")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1024:
        raise ValueError(text)
    return number


def _many(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10**8:
        raise ValueError(text)
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `dragoman`; returns its exit code."""
    given = parser().parse_args(arguments)
    run: dict[str, Callable[[argparse.Namespace], int]] = {"serve": _serve, "check": _check, "translate": _translate, "load": _load}
    try:
        code = run[given.command](given)
        sys.stdout.flush()
        return code
    except conf.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:  # whoever read it has enough (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still kept is written at exit, once more
        return 1


# ---- serve ----


def _configuration(given: argparse.Namespace) -> tuple[Config, Callable[[], Config] | None]:
    """The configuration, and how to read it anew."""
    path = given.config or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)

    def read() -> Config:
        return _overridden(conf.load(path, os.environ) if path else conf.zero(os.environ), given)

    return read(), read if path else None


def _overridden(config: Config, given: argparse.Namespace) -> Config:
    if given.host is None and given.port is None:
        return config
    changes = {k: v for k, v in {"address": given.host, "port": given.port}.items() if v is not None}
    first = next(one for one in config.listeners if one.type == "model")
    return replace(config, listeners=tuple(replace(one, **changes) if one is first else one for one in config.listeners))


def _serve(given: argparse.Namespace) -> int:
    from .keys import quota
    from .memory import stores
    from .process import loops, server
    from .telemetry import metrics

    journal.set_up(given.log_format)
    try:
        config, reload = _configuration(given)
    except OSError as error:
        print(f"{given.config}: {error.strerror}", file=sys.stderr)
        return 2
    stores.check(config.state_storage)
    _announce(config)
    loops.raise_file_limit()
    counters = quota.LocalCounters()
    folder = metrics.share() if given.workers > 1 and any(one.type == "admin" for one in config.listeners) else None

    def work(number: int) -> int:
        """number: 0 for the only worker, or for the process of the admin listeners."""
        process: server.Process
        if number or folder is None:
            process = server.Worker(config, given.log_format, reload, counters, number, folder)
        else:
            process = server.AdminProcess(config, reload, folder)
        try:
            loops.run_loop(process.run)
        except OSError as error:
            print(f"dragoman: {error}", file=sys.stderr)
            return 1
        return 0

    if given.workers == 1:
        return work(0)
    from .process.supervisor import Supervisor

    def renew() -> None:
        """For the workers that replace others; those that run read it themselves, and tell what is wrong with it."""
        nonlocal config
        with suppress(conf.ConfigError, OSError):
            config = reload() if reload else config

    try:
        return Supervisor(work, range(0 if folder else 1, given.workers + 1), renew).run()
    finally:
        if folder is not None:
            metrics.unshare(folder)


def _announce(config: Config) -> None:
    from .keys import quota
    from .routing.router import Router

    if alone := quota.note(config):
        log.warning("%s", alone)
    for warning in config.warnings:
        log.warning("%s", warning)
    names = [model.id for model in Router(config).models()] + [p.model for p in config.model_providers if p.wildcard]
    for listener in config.listeners:
        scheme = "https" if listener.tls else "http"
        print(f"{listener.type} {scheme}://{listener.address}:{listener.port}", file=sys.stderr)
        if not config.access_keys and listener.type == "model" and not is_loopback(listener.address):
            log.warning("no access_keys: every caller that reaches %s:%d is let in", listener.address, listener.port)
    print(f"models {', '.join(dict.fromkeys(names))}", file=sys.stderr, flush=True)


# ---- check, translate ----


def _check(given: argparse.Namespace) -> int:
    from .routing.router import check_lines

    try:
        config = conf.load(given.config, os.environ)
    except OSError as error:
        print(f"{given.config}: {error.strerror}", file=sys.stderr)
        return 2
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for line in check_lines(config):
        print(line)
    return 0


def _translate(given: argparse.Namespace) -> int:
    from . import translate as offline

    try:
        data = Path(given.file).read_bytes() if given.file else sys.stdin.buffer.read()
    except OSError as error:
        print(f"{given.file}: {error.strerror}", file=sys.stderr)
        return 2
    out, report, code = offline.translate(data, given.source, given.target)
    sys.stdout.buffer.write(out)
    sys.stdout.buffer.flush()
    for line in report:
        print(line, file=sys.stderr)
    return code


# ---- load ----


def _load(given: argparse.Namespace) -> int:
    from .load import report as load_report
    from .load import run as load
    from .process import loops

    shape = given.shape or load.shape_of(given.url) or USUAL.name
    key = os.environ.get(given.key[1:]) if given.key and given.key.startswith("$") else given.key
    plan = load.Plan(
        given.url,
        shape,
        given.model,
        given.streams,
        given.rate,
        given.seconds,
        key,
        words=given.words,
        exact=given.exact,
        size=given.size,
        whole=given.whole,
    )
    loops.raise_file_limit()
    try:
        result = loops.run_loop(lambda: load.measure(plan))
    except ValueError as error:
        print(f"dragoman load: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(orjson.dumps({"plan": plan.told(), **result}, option=orjson.OPT_INDENT_2).decode())
    else:
        print(load_report.text(plan.told(), result))
    return 1 if result["errors"] or not result["total"]["requests"] else 0
