"""The command line: serve, check, probe, keys, usage, translate, import, load.

Exit codes: 0, 1 failure at run time, 2 usage or configuration.

Commands import their modules when they run: `serve` must block SIGHUP before anything else, and `--version` needs none of them.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..conf.model import Config

DEFAULT_FILE = "dragoman.yaml"
LOG_FORMATS = ("json", "text")


class _Shapes:
    """The names of the callers' shapes, imported when they are looked at: most commands need none of them."""

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        from ..codecs.registry import SHAPES

        return iter(SHAPES)


SHAPES = _Shapes()


class _Version(argparse.Action):
    """Prints the version, whose look-up imports much."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"dragoman {version('dragoman')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="dragoman", description="A gateway for language-model APIs: any client to any model.")
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the gateway in the foreground")
    _add_place(serve, "to listen on")
    serve.add_argument("--workers", type=_whole(1, 1024), default=1, metavar="N", help="processes that share the port (1)")
    serve.add_argument("--log-format", choices=LOG_FORMATS, default="json", help="json (default), or text for people")
    check = commands.add_parser("check", help="validate a configuration and show where each model goes")
    check.add_argument("config", metavar="CONFIG")
    check.add_argument(
        "--credentials", action="store_true", help="also ask for each credential that ends, once; exit code 1 when one is not given"
    )
    probe = commands.add_parser("probe", help="check that a gateway on this machine is alive; exit code 1 when it is not")
    _add_place(probe, "to ask")
    probe.add_argument("--pid", type=_whole(1, 2**31), help="of a running `dragoman serve`, whose arguments are used")
    probe.add_argument("--ready", action="store_true", help="check that it accepts new requests")
    translate = commands.add_parser("translate", help="turn a request, a response or a recorded stream into another shape, offline")
    translate.add_argument("--from", dest="source", required=True, choices=SHAPES, metavar="SHAPE", help="%(choices)s")
    translate.add_argument("--to", dest="target", required=True, choices=SHAPES, metavar="SHAPE", help="the same")
    translate.add_argument("file", nargs="?", metavar="FILE", help="default: standard input")
    _add_keys(commands.add_parser("keys", help="create, list, rotate or revoke keys of the control store"))
    _add_usage(commands.add_parser("usage", help="what was used, from the control store"))
    other = commands.add_parser("import", help="turn another gateway's configuration into a Dragoman one, on standard output")
    other.add_argument("kind", choices=("litellm",), metavar="KIND", help="litellm: a configuration of the LiteLLM proxy")
    other.add_argument("file", metavar="FILE")
    _add_load(commands.add_parser("load", help="load test of any endpoint that callers use"))
    return top


def _add_place(command: argparse.ArgumentParser, what: str) -> None:
    """Add the arguments that say where a gateway listens."""
    otherwise = f"default: ./{DEFAULT_FILE} when it exists, else the keys in the environment"
    command.add_argument("config", nargs="?", metavar="CONFIG", help=otherwise)
    command.add_argument("--host", help=f"address {what}, instead of the file's; without a file: 127.0.0.1")
    command.add_argument("--port", type=_whole(0, 65535), help=f"port {what}, instead of the file's")


def _add_keys(keys: argparse.ArgumentParser) -> None:
    keys.add_argument("action", choices=("create", "list", "rotate", "revoke"), metavar="ACTION", help="create, list, rotate or revoke")
    keys.add_argument("name", nargs="?", metavar="NAME", help="of the key")
    _add_store(keys)
    keys.add_argument("--team", help="whose limits count, too; made when there is none of this name")
    keys.add_argument("--user", help="whose key it is; else requests say who their user is")
    keys.add_argument("--models", metavar="PATTERN,…", help="that it may use; default: all")
    keys.add_argument("--requests-per-minute", type=_whole(1, 2**53), metavar="N")
    keys.add_argument("--tokens-per-minute", type=_whole(1, 2**53), metavar="N")
    keys.add_argument("--budget", type=_positive, metavar="USD", help="that it may spend in a period")
    keys.add_argument("--per", choices=("hour", "day", "week", "month"), default="month", help="the budget's period (month)")
    keys.add_argument("--unpriced", choices=("allow", "refuse"), default="allow", help="models without a price, with a budget (allow)")
    keys.add_argument("--allow-from", metavar="NETWORK,…", help="where it may be used; default: everywhere")
    keys.add_argument("--expires", metavar="TIME", help="after which it is refused, such as 90d; default: never")
    keys.add_argument("--tags", metavar="TAG,…", help="for people")
    keys.add_argument("--overlap", default="1d", metavar="TIME", help="of rotate: how long the old key is valid beside the new one (1d)")
    keys.add_argument("--json", action="store_true", help="JSON on standard output")


def _add_usage(usage: argparse.ArgumentParser) -> None:
    _add_store(usage)
    usage.add_argument("--since", default="30d", metavar="TIME", help="a date, a time, or how long ago (30d)")
    usage.add_argument("--until", default="now", metavar="TIME", help="the same (now)")
    usage.add_argument("--by", default="", metavar="WHAT,…", help="key, team, user, model, provider, day or hour; several at once")
    usage.add_argument("--csv", action="store_true", help="CSV on standard output")
    usage.add_argument("--json", action="store_true", help="JSON on standard output")


def _add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", metavar="CONFIG", default=DEFAULT_FILE, help=f"whose `control` names the store (./{DEFAULT_FILE})")


def _add_load(load: argparse.ArgumentParser) -> None:
    load.description = "Keeps N streams open for a while and reports the results. Exit code 1 when an answer was incomplete."
    load.add_argument("url", metavar="URL", help="of the server, as http://localhost:12000; its /v1; or the path itself")
    load.add_argument(
        "--shape", choices=SHAPES, metavar="SHAPE", help="of the requests: %(choices)s (what the URL's path says, else the first)"
    )
    load.add_argument("--model", default="demo/echo", help="demo/echo")
    load.add_argument("--streams", type=_whole(1, 10**8), default=10, metavar="N", help="kept open at once (10)")
    load.add_argument("--rate", type=_positive, metavar="EVENTS/S", help="of each stream, on average; default: as fast as possible")
    load.add_argument("--seconds", type=_positive, default=10.0, metavar="S", help="how long (10)")
    load.add_argument("--key", help="credential, sent as the shape's own SDK sends it; $VARIABLE is taken from the environment")
    load.add_argument("--words", type=_whole(1, 10**8), metavar="N", help="requested per answer (50; with --rate as many as take 5 s)")
    load.add_argument("--exact", action="store_true", help="another number of words is an error, as it always is with demo/echo")
    load.add_argument(
        "--size", type=_whole(1, 10**8), default=0, metavar="BYTES", help="of conversation in each request, before its prompt"
    )
    load.add_argument("--whole", action="store_true", help="ask for answers that are not streamed")
    load.add_argument("--json", action="store_true", help="the figures as JSON on standard output")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `dragoman`; returns its exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # delivered when `serve` can handle it
    parsed = parser().parse_args(arguments)
    if parsed.command != "serve":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    run: dict[str, Callable[[argparse.Namespace], int]] = {
        "serve": _serve,
        "check": _check,
        "probe": _probe,
        "translate": _translate,
        "keys": _control,
        "usage": _control,
        "import": _import,
        "load": _load,
    }
    try:
        code = run[parsed.command](parsed)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:  # the reader has closed the pipe (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the exit flushes stdout again
        return 1


def _whole(least: int, most: int) -> Callable[[str], int]:
    """An argument type: a whole number within bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return read


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return number


# ---- serve, check, probe ----


def _reader(arguments: argparse.Namespace) -> tuple[Callable[[], Config], bool]:
    """A function that loads the configuration on each call and may raise ConfigError; and whether there is a file."""
    from .. import conf
    from .process import serve

    path = arguments.config or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)

    def read() -> Config:
        return _overridden(conf.load(path, os.environ) if path else serve.at_home(conf.zero(os.environ)), arguments)

    return read, path is not None


def _overridden(config: Config, arguments: argparse.Namespace) -> Config:
    changes = {k: v for k, v in {"address": arguments.host, "port": arguments.port}.items() if v is not None}
    first = next(one for one in config.listeners if one.type == "model")
    return replace(config, listeners=tuple(replace(one, **changes) if one is first else one for one in config.listeners))


def _serve(arguments: argparse.Namespace) -> int:
    from ..conf import ConfigError
    from .process import serve
    from .telemetry import log as journal

    journal.set_up(arguments.log_format)
    try:
        read, again = _reader(arguments)
        return serve.serve(read, again, arguments.workers, arguments.log_format)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"dragoman: {error}", file=sys.stderr)
        return 1


def _check(arguments: argparse.Namespace) -> int:
    from .. import conf
    from .process import start
    from .routing.check import check_lines

    try:
        config = conf.load(arguments.config, os.environ)
    except conf.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    wrong, busy = start.faults(config)
    for warning in (*config.warnings, *conf.placed(arguments.config, busy).problems):
        print(f"warning: {warning}", file=sys.stderr)
    if wrong:
        print(conf.placed(arguments.config, wrong), file=sys.stderr)
        return 2
    for line in check_lines(config):
        print(line)
    return _credentials(config) if arguments.credentials else 0


def _credentials(config: Config) -> int:
    """Ask for each credential that ends; return the exit code."""
    from .credentials import sources

    code = 0
    for entry, outcome, good in sources.tried(config):
        print(f"{entry}  {outcome}")
        code |= not good
    return code


def _probe(arguments: argparse.Namespace) -> int:
    from ..conf import ConfigError
    from .process import probe

    try:
        if arguments.pid is not None:
            words = probe.arguments_of(arguments.pid)
            arguments = parser().parse_args(["serve", *words], argparse.Namespace(ready=arguments.ready))
        fault = probe.probe(_reader(arguments)[0]().listeners, "/readyz" if arguments.ready else "/healthz")
    except (ConfigError, ValueError) as error:
        print(f"dragoman probe: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        fault = str(error)
    if fault is not None:
        print(f"dragoman probe: {fault}", file=sys.stderr)
    return int(fault is not None)


# ---- keys, usage ----


def _control(arguments: argparse.Namespace) -> int:
    from .. import conf
    from .control import lacking

    try:
        config = conf.load(arguments.config, os.environ)
    except conf.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    fault = f"{arguments.config} has no section `control`" if config.control is None else lacking()
    if fault:
        print(f"dragoman {arguments.command}: {fault}", file=sys.stderr)
        return 2
    from .control import commands

    return commands.run(arguments, config)


# ---- translate ----


def _translate(arguments: argparse.Namespace) -> int:
    from . import translate as offline

    try:
        data = Path(arguments.file).read_bytes() if arguments.file else sys.stdin.buffer.read()
    except OSError as error:
        print(f"{arguments.file}: {error.strerror}", file=sys.stderr)
        return 2
    out, report, code = offline.translate(data, arguments.source, arguments.target)
    sys.stdout.buffer.write(out)
    sys.stdout.buffer.flush()
    for line in report:
        print(line, file=sys.stderr)
    return code


# ---- import ----


def _import(arguments: argparse.Namespace) -> int:
    from ..conf import ConfigError, litellm

    try:
        text, notes = litellm.converted(Path(arguments.file).read_bytes().decode("utf-8-sig"), arguments.file)
    except OSError as error:
        print(f"{arguments.file}: {error.strerror}", file=sys.stderr)
        return 2
    except UnicodeDecodeError:
        print(f"{arguments.file}: is not UTF-8 text", file=sys.stderr)
        return 2
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    sys.stdout.write(text)
    for note in notes:
        print(note, file=sys.stderr)
    return 0


# ---- load ----


def _load(arguments: argparse.Namespace) -> int:
    import orjson

    from ..codecs.registry import USUAL
    from .load import report as load_report
    from .load import run as load
    from .process import loops

    shape = arguments.shape or load.shape_of(arguments.url) or USUAL.name
    key = os.environ.get(arguments.key[1:]) if arguments.key and arguments.key.startswith("$") else arguments.key
    plan = load.Plan(
        arguments.url,
        shape,
        arguments.model,
        arguments.streams,
        arguments.rate,
        arguments.seconds,
        key,
        words=arguments.words,
        exact=arguments.exact,
        size=arguments.size,
        whole=arguments.whole,
    )
    loops.raise_file_limit()
    try:
        result = loops.run_loop(lambda: load.measure(plan))
    except ValueError as error:
        print(f"dragoman load: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(orjson.dumps({"plan": plan.summary(), **result}, option=orjson.OPT_INDENT_2).decode())
    else:
        print(load_report.text(plan.summary(), result))
    return 1 if result["errors"] or not result["total"]["requests"] else 0
