"""What a user can type, configure, send, measure or read in the log is in the documentation; and what is written there is so."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from marshmallow import fields

from dragoman import conf
from dragoman.codecs import bulk, multipart
from dragoman.codecs import schema as json_schema
from dragoman.conf import flags, loader, providers, schema
from dragoman.handlers import base
from dragoman.proxy import cli
from dragoman.proxy.credentials import program, source
from dragoman.proxy.exchange import attempt, hooks, resuming
from dragoman.proxy.inspector import ring, taps
from dragoman.proxy.keys import quota, quota_redis
from dragoman.proxy.memory import background, conversations, records, resumable
from dragoman.proxy.memory.stores import memory, postgres
from dragoman.proxy.process import server, worker
from dragoman.proxy.routing import ejection, health
from dragoman.proxy.telemetry import metrics, stderr, tracing
from dragoman.proxy.websocket import session
from dragoman.proxy.wire import bodies, codings, connect, http1, inbound, pool, resolver

HOUSE = Path(__file__).resolve().parent.parent
GUIDE = {page.stem: page.read_text() for page in (HOUSE / "docs").glob("*.md")}
PAGES = sorted([*HOUSE.glob("*.md"), *(HOUSE / "docs").glob("*.md")])


def rows(text: str) -> set[str]:
    """What is named in code marks in the first cell of a table's row."""
    return {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", line.split(" | ")[0])}


def section(page: str, heading: str) -> str:
    """The text under one of a page's headings of the second level."""
    _, found, rest = GUIDE[page].partition(f"\n## {heading}\n")
    assert found, f"{page} has no heading {heading}"
    return rest.partition("\n## ")[0]


# ---- the configuration ----


def keys(part: schema.Section, path: str = "") -> Iterator[str]:
    for name, field in part.fields.items():
        own = f"{path}{name}"
        inner, below = field, own
        if isinstance(field, fields.List):
            inner, below = field.inner, f"{own}[]"
        elif isinstance(field, schema.Table) and isinstance(field.inner, fields.Nested):
            inner, below = field.inner, f"{own}.{'PATTERN' if name == 'prices' else 'NAME'}"
        yield own
        if isinstance(inner, fields.Nested) and isinstance(inner.schema, schema.Section):
            yield from keys(inner.schema, f"{below}.")


def documented_keys() -> set[str]:
    operations = [rows(section("operations", heading)) for heading in ("Limits", "Drain", "Keep-alives")]
    return rows(GUIDE["configuration"]).union(rows(GUIDE["capabilities"]), *operations)


def test_every_key_of_the_configuration():
    assert not set(keys(schema.Root())) - documented_keys()


def test_no_other_key():
    """A row of the guide that no schema knows."""
    known = set(keys(schema.Root())) | set(flags.FLAGS)
    assert not documented_keys() - known


def test_every_capability_with_its_default():
    assert set(flags.FLAGS) == rows(section("capabilities", "Capabilities"))


def test_every_provider():
    assert not {name for name in providers.known() if f"`{name}`" not in section("configuration", "Models and providers")}


def test_every_key_of_the_environment():
    named = GUIDE["commands"]
    assert not [providers.known()[name].key for name in loader.ZERO_PROVIDERS if f"`{providers.known()[name].key}`" not in named]


# ---- bounds ----


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def bounds() -> list[list[str]]:
    """Bound, default and key of each row."""
    table = [line for line in section("operations", "Bounds").splitlines() if line.startswith("| ")]
    lines = [line for line in table if not line.startswith(("| **", "| bound "))]
    return [[cell.strip("`") for cell in cells(line)[:3]] for line in lines]


def kb(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} kB"


HEAD = f"{kb(http1.MAX_HEAD)}, {http1.MAX_FIELDS:,} header lines with names of {kb(http1.MAX_NAME)}"
FIXED = {
    "a request's head": HEAD,
    "nesting of JSON": f"{bulk.DEEPEST:,} levels",
    "one key, number or run of blanks in a large JSON body": kb(bulk.LONGEST_KEY),
    "a multipart form": f"{multipart.MOST_PARTS} parts with heads of {multipart.MOST_HEAD >> 10} kB,"
    f" a model's name of {multipart.MOST_NAME} bytes",
    "a compressed body, besides": f"{bodies.MEMBERS:,} gzip members (from Python 3.14 on also zstd frames),"
    f" a zstd window of {kb(1 << codings.WINDOW)}",
    "JSON Schemas that must be translated": f"{json_schema.DEPTH} levels, {json_schema.SIZE:,} schemas",
    "what their references add to them, where the upstream takes none": f"{kb(json_schema.ROOM)}, of all tools together",
    "a body on a path that reads none, or on an admin listener": kb(base.IGNORED),
    "connections": f"{server.MOST_CONNECTIONS:,}, or half of the descriptors",
    "a TLS handshake with the first request; any request's head, from its first byte": f"{inbound.HEAD_PATIENCE:g} s",
    "a body without a further byte": f"{inbound.HEAD_PATIENCE:g} s",
    "a whole body": f"{inbound.PATIENCE:g} s, of stored objects none",
    "a connection between two requests": f"{inbound.PATIENCE:g} s",
    "requests sent ahead on one connection": kb(inbound.AHEAD + inbound.LITTLE),
    "a caller that still sends when it is answered, as one whose body is refused": f"{inbound.LINGER:g} s,"
    " in which what it sends is thrown away",
    "a Close that is not answered": f"{session.CLOSING:g} s",
    "look-ups of names": f"{resolver.MOST_LOOKUPS} at once, one of a name",
    "a look-up": f"{resolver.PATIENCE:g} s",
    "an address that does not answer": f"{connect.DELAY * 1000:g} ms",
    "a proxy's answer to CONNECT": kb(connect.MAX_PROXY_HEAD),
    "connections that are being opened": f"{pool.MOST_OPENING} to one upstream",
    "connections that are kept unused": "1,024 to one upstream, each for 50 s",
    "the age of a connection": f"{pool.OLDEST / 60:g} minutes",
    "bytes that the other side does not acknowledge": f"{pool.UNACKNOWLEDGED:g} s",
    "what a `token_command` prints": kb(program.MOST),
    "a credential that could not be had": f"{source.NEGATIVE:g} s",
    "an upstream that failed is passed over": f"{ejection.FIRST:g} to {ejection.LONGEST:g} s",
    "probes of upstreams that failed": f"{health.MOST} at once, each {health.PATIENCE:g} s",
    "an answer's head": f"{HEAD}, {http1.MAX_INFORMATIONAL} informational ones before it",
    "what is held of a stream before its first content": kb(attempt.HELD_LIMIT),
    "a memory store's bytes": kb(memory.MAX_BYTES),
    "a conversation": f"{records.CHAIN_LIMIT:,} responses, {kb(records.WEIGHT_LIMIT)} of items",
    "names of stored items, or of an upstream's things, in one request": f"{records.NAMES_LIMIT:,}",
    "events of one background response that can be read again": f"{kb(background.RING)}, and for {background.AFTER_END / 60:g} minutes"
    " after its end",
    "events of one stream that can be resumed": f"{kb(resumable.RING)}, and for {resumable.STORED / 60:g} minutes after its end",
    "streams that can be resumed, those that are over included": f"{resumable.MOST:,}, with {kb(resumable.MOST_BYTES)} of events",
    "an answer whose caller has left, and may come back": f"{resuming.GOES_ON:g} s, and as long as somebody reads on",
    "a response or a conversation whose gateway has died": f"{background.LEASE:g} s, {conversations.LEASE:g} s",
    "connections to PostgreSQL": f"{postgres.CONNECTIONS}",
    "Redis' answer to an admission": f"{quota_redis.PATIENCE:g} s",
    "access keys whose use is counted in shared memory": f"{quota.ROOM:,}",
    "its end when nothing is served any more": f"{worker.CLOSING:g} s, after a second signal {worker.CUT_CLOSING:g} s",
    "lines of the log that nobody reads": kb(stderr.MOST),
    "the last traces": f"{tracing.CLOSE_SECONDS:g} s",
    "names of dropped fields in metrics": f"{metrics.FIELDS}",
    "calls to hooks of answers": f"{hooks.CALLS} at once, {hooks.WAITING:,} waiting, with {kb(hooks.HELD)} of answers",
    "a hook's answer; what it is told of an answer": f"{kb(hooks.LARGEST)}; {kb(hooks.CONTENT)}",
    "what the inspector keeps": f"{ring.EXCHANGES} exchanges, {kb(ring.CHARACTERS)};"
    f" of each {taps.RECORDS:,} records, {kb(taps.CHARACTERS)}",
}


def test_every_fixed_bound_is_as_in_the_code():
    assert {bound: default for bound, default, key in bounds() if not key} == FIXED


def test_every_bound_that_is_set_has_its_keys_default():
    lines = (GUIDE["operations"] + GUIDE["configuration"]).splitlines()
    defaults = {cells(line)[0].strip("`"): cells(line)[1] for line in lines if line.startswith("| `")}
    found = {key: default for _, default, key in bounds() if key}
    assert found == {key: defaults[key] for key in found}
    assert {key for key in defaults if key.startswith("limits.")} <= found.keys()


# ---- the command line ----


def test_every_command_and_option():
    commands = next(a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    for name, parser in commands.items():
        heading = next(line for line in GUIDE["commands"].splitlines() if line.startswith(f"## `dragoman {name}")).removeprefix("## ")
        text = section("commands", heading)
        options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")} - {"--help"}
        assert options == {option for option in rows(text) if option.startswith("--")}, name
        for action in parser._actions:
            if not action.option_strings:
                assert (action.metavar or action.dest).upper() in heading + text, name
    assert "`dragoman --version`" in GUIDE["commands"]


# ---- what is measured, sent and logged ----


def test_every_metric_with_its_labels():
    documented = {line.split("`")[1]: set(re.findall(r"`([^`]+)`", line.split(" | ")[1])) for line in table_lines("operations", "Metrics")}
    documented.pop("process_…")
    found = {}
    for counter in vars(metrics.Metrics()).values():
        if hasattr(counter, "_labelnames"):
            suffix = "_total" if counter._type == "counter" else ""
            found[counter._name + suffix] = set(counter._labelnames)
    assert documented == found


def table_lines(page: str, heading: str) -> list[str]:
    return [line for line in section(page, heading).splitlines() if line.startswith("| `")]


def test_every_field_of_the_log():
    """Whatever the journal writes under a name: keys of its dicts, and what is put into them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((HOUSE / "proxy" / "telemetry" / "log.py").read_text())):
        names: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            names = list(node.keys)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            names = [node.slice]
        for name in names:
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.add(name.value)
            elif isinstance(name, ast.JoinedStr):
                assert ast.unparse(name) == "f'ms_{name}'", "a name of the log that this test does not know how to read"
                found |= {"ms_headers", "ms_first"}
    documented = set(re.findall(r"`([a-z_]+)`", section("operations", "Log")))
    assert not found - documented


def test_every_header_of_ours():
    code = "\n".join(path.read_text() for package in ("codecs", "proxy", "handlers") for path in (HOUSE / package).rglob("*.py"))
    found = {name.lower() for name in re.findall(r"x-dragoman-[a-z-]*[a-z]", code, re.IGNORECASE)}
    assert found == {name for name in rows(section("endpoints", "Headers")) if name.startswith("x-dragoman-")}
    assert {"server-timing", "x-request-id", "request-id", "x-should-retry", "retry-after"} <= rows(section("endpoints", "Headers"))


# ---- the pages themselves ----


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    anchors = {heading(line) for line in text.splitlines() if line.startswith("#")}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        if anchor and other.suffix == ".md":
            names = anchors if other == page else {heading(line) for line in other.read_text().splitlines() if line.startswith("#")}
            assert anchor in names, target


def heading(line: str) -> str:
    """The anchor that a heading has on the web pages of code hosts."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")


def examples() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL), 1):
            yield f"{page.name}-{number}", block


@pytest.mark.parametrize(("name", "block"), [pytest.param(*example, id=example[0]) for example in examples()])
def test_examples_of_configurations_are_valid(name, block):
    data, *more = yaml.safe_load_all(block)
    if "apiVersion" in data:
        return  # of Kubernetes
    assert not more
    if "model_providers" not in data:
        block += "\nmodel_providers: [{model: demo/*}]\n"
    environ = dict.fromkeys(re.findall(r"\$\{?([A-Z_0-9]+)", block), "k")
    assert conf.loads(block, environ=environ).model_providers
