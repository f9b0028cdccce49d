"""Loads a Config from a file, a text or the environment, or reports every problem with its position."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit

from marshmallow import ValidationError

from ..codecs import continuation, effects
from ..codecs.registry import USUAL
from . import aws, checks, clouds, egress, providers, read, schema
from .catalog import Catalog, Entry
from .document import ConfigError, Document, Path, Problem
from .model import (
    AccessKey,
    Backoff,
    Budget,
    Claims,
    Compaction,
    Config,
    Control,
    ControlAdmin,
    Cors,
    Drain,
    Edits,
    Egress,
    Hook,
    Jwt,
    KeepAlive,
    Limits,
    Listener,
    Networks,
    Oidc,
    Price,
    Provider,
    Responses,
    RetryPolicy,
    Routing,
    StateStorage,
    Timeouts,
    Tls,
    Tracing,
    WebSocket,
)

Loaded = Mapping[str, Any]

OLD_NAMES = {"llm_providers": "model_providers", "state_storage_v1_responses": "state_storage"}
CONTROL_FOLDER = "dragoman-control"  # beside the SQLite file, else in the working directory
OLD_LISTENERS = {"egress_traffic": "model", "ingress_traffic": "prompt"}
ZERO_PROVIDERS = ("openai", "anthropic", "gemini", "groq", "mistral", "deepseek", "xai", "openrouter", "together")


def load(path: str | pathlib.Path, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in a file. environ: where `$VAR` is looked up (default: the process's environment).

    Raises ConfigError with every problem, also when the file cannot be read.
    """
    return loads(_text(path), str(path), environ)


def placed(path: str | pathlib.Path, faults: Iterable[tuple[Path, str]]) -> ConfigError:
    """What was found wrong with a configuration once it was read, at its places in the file."""
    document = Document(_text(path), str(path))
    _rename(document)
    return ConfigError([document.problem(where, message) for where, message in faults])


def _text(path: str | pathlib.Path) -> str:
    """Raises ConfigError."""
    try:
        return pathlib.Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Problem(str(path), 1, 1, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), 1, 1, "", "is not UTF-8 text")]) from None


def loads(text: str, file: str = "<text>", environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in a text. file: the file name in problems. Raises ConfigError."""
    return _read(Document(text, file), os.environ if environ is None else environ)


def zero(environ: Mapping[str, str]) -> Config:
    """The configuration without a file: every provider whose key is in the environment, and the built-in demo."""
    document = Document("", "<environment>")
    keys = {provider: providers.known()[provider].key or "" for provider in ZERO_PROVIDERS}
    entries = [{"model": f"{provider}/*", "access_key": f"${key}"} for provider, key in keys.items() if environ.get(key)]
    document.data = {"model_providers": [*entries, {"model": "demo/*"}]}
    return _read(document, environ)


def _read(document: Document, environ: Mapping[str, str]) -> Config:
    token = read.environ.set(environ)
    try:
        _rename(document)
        ignored = _ignored(document)
        loaded = _validated(document)
    finally:
        read.environ.reset(token)
    for path, message in checks.everything(document.data):
        document.note(path, message)
    for path in document.empty:
        if path[0] in ("access_keys", "allow_from", "listeners") and path[-1] in checks.NEVER_EMPTY:
            document.note(path, checks.NEVER_EMPTY[str(path[-1])])
    if not document.problems:
        entries = tuple(_provider(row, environ) for row in loaded["model_providers"])
        entries = tuple(_mounted(entry, row) for entry, row in zip(entries, document.data["model_providers"], strict=True))
        clouded = clouds.problems(entries, loaded["model_providers"], environ)
        for path, message in (*_same_callers(loaded.get("access_keys", [])), *clouded):
            document.note(path, message)
    if document.problems:
        raise ConfigError(document.problems)
    entries, wrong, unused = egress.applied(entries, loaded, environ)
    entries = tuple(_with_families(entry, row, environ) for entry, row in zip(entries, loaded["model_providers"], strict=False))
    others = Egress()
    if not wrong and ("jwt" in loaded or "hooks" in loaded):
        others, wrong = egress.of_others(loaded, environ)
    for path, message in wrong:
        document.note(path, message)
    if document.problems:
        raise ConfigError(document.problems)
    warnings = [document.collected(ignored, "ignored, not supported by Dragoman")] if ignored else []
    warnings += [document.warning(path, why, at_key=True) for path, why in unused]
    return _config(loaded, entries, warnings, document, others)


def _rename(document: Document) -> None:
    """Replace old forms of keys by the new ones; problems are still reported by the names in the file."""
    data = document.data
    for old, new in OLD_NAMES.items():
        if old not in data:
            continue
        if new in data:
            document.note((old,), f"is the old name of {new}, which is also present", at_key=True)
            del data[old]
            continue
        data[new] = data.pop(old)
        document.move((old,), (new,))
    listeners = data.get("listeners")
    if not isinstance(listeners, dict) or not listeners.keys() & OLD_LISTENERS.keys():
        return
    data["listeners"] = []
    for name, row in listeners.items():
        if name not in OLD_LISTENERS:
            document.note(("listeners", name), "cannot be combined with the old form of listeners", at_key=True)
            continue
        document.move(("listeners", name), ("listeners", len(data["listeners"])))
        data["listeners"].append({"type": OLD_LISTENERS[name], "name": name} | row if isinstance(row, dict) else row)


def _ignored(document: Document) -> list[Path]:
    """The keys of Plano's configuration that have no meaning here. Unknown keys are noted as problems."""
    ignored: list[Path] = []
    for path, near in schema.strangers(schema.Root(), document.data):
        if near is None:
            ignored.append(path)
        else:
            document.note(path, f"unknown key; the nearest known one is {near}", at_key=True)
    listeners = document.data.get("listeners")
    for index, item in enumerate(listeners if isinstance(listeners, list) else []):
        if isinstance(item, dict) and item.get("type") in schema.FOREIGN_LISTENERS:
            ignored.append(("listeners", index))
    return ignored


def _validated(document: Document) -> Loaded:
    try:
        return cast(Loaded, schema.Root().load(document.data))
    except ValidationError as error:
        for path, message in schema.flatten(error.messages):
            document.note(path, message, at_key=isinstance(_value_at(document.data, path), dict | list))
        return {}


def _value_at(data: Any, path: Path) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _config(loaded: Loaded, entries: tuple[Provider, ...], warnings: list[str], document: Document, others: Egress) -> Config:
    keys = tuple(map(_access_key, loaded.get("access_keys", [])))
    aliases = {alias: row["target"] for alias, row in loaded.get("model_aliases", {}).items()}
    prices = tuple(providers.price(pattern, row) for pattern, row in loaded.get("prices", {}).items()) + providers.list_prices()
    trusted = tuple(loaded.get("trusted_proxies", ()))
    tracing = dict(loaded.get("tracing", {}))
    prefixes = tracing.pop("span_attributes", {}).get("header_prefixes", ())
    return Config(
        version=loaded.get("version"),
        listeners=_listeners(loaded.get("listeners", [])),
        model_providers=entries,
        model_aliases=aliases,
        state_storage=StateStorage(**loaded.get("state_storage", {})),
        access_keys=keys,
        control=_control(loaded.get("control")),
        keep_alive=KeepAlive(**loaded.get("keep_alive", {})),
        compaction=Compaction(**loaded.get("compaction", {})),
        websocket=_websocket(loaded.get("websocket", {})),
        egress=replace(others, **_egress(loaded.get("egress", {}))),
        limits=Limits(**loaded.get("limits", {})),
        drain=Drain(**loaded.get("drain", {})),
        tracing=Tracing(**tracing, header_prefixes=tuple(prefix.lower() for prefix in prefixes)),
        responses=Responses(**loaded.get("responses", {})),
        trusted_proxies=trusted,
        allow_from=tuple(loaded.get("allow_from", ())),
        cors=_cors(loaded.get("cors", {})),
        jwt=_jwt(loaded.get("jwt")),
        hooks=tuple(map(_hook, loaded.get("hooks", []))),
        routing=Routing(**loaded.get("routing", {})),
        prices=prices,
        warnings=(
            *warnings,
            *_warnings(entries, document, trusted, guarded=bool(keys or loaded.get("control") or loaded.get("jwt"))),
            *_unpriced(entries, aliases, keys, prices, document),
        ),
    )


def _egress(values: Loaded) -> Loaded:
    """What of the section is not chosen for each entry (egress.py)."""
    return {name: value for name, value in values.items() if name == "credential_timeout"}


def _jwt(row: Loaded | None) -> Jwt | None:
    if row is None:
        return None
    return Jwt(**{**row, "audience": tuple(row["audience"]), "claims": Claims(**row.get("claims", {}))})


def _hook(row: Loaded) -> Hook:
    return Hook(**{**row, "on": tuple(row["on"]), "headers": tuple(row.get("headers", {}).items())})


def _websocket(values: Loaded) -> WebSocket:
    return WebSocket(**{**values, "origins": tuple(values.get("origins", ()))})


def _warnings(entries: tuple[Provider, ...], document: Document, trusted: Networks, *, guarded: bool) -> list[str]:
    warnings = []
    for index, network in enumerate(trusted):
        if network.prefixlen == 0:
            message = "trusts every address: whoever calls can choose the address that allow_from sees"
            warnings.append(document.warning(("trusted_proxies", index), message))
    for index, entry in enumerate(entries):
        place: Path = ("model_providers", index)
        row = providers.known()[entry.interface]
        if entry.access_key_missing and not entry.passthrough_auth:
            message = f"${entry.access_key_missing} is not set; requests for {entry.name} will be refused with 502"
            warnings.append(document.warning((*place, "access_key"), message))
        elif entry.access_key and entry.passthrough_auth:
            warnings.append(document.warning((*place, "access_key"), "is not used: passthrough_auth sends the caller's own credential"))
        elif not (entry.access_key or entry.way or entry.passthrough_auth or entry.own_base_url or entry.headers) and row.key:
            message = f"is missing, and {row.name} requires one (usually ${row.key})"
            warnings.append(document.warning((*place, "access_key"), message))
        if clouds.unknown_model(entry):
            message = f"is missing, and the name {entry.model_id} does not tell what the model can do"
            warnings.append(document.warning((*place, "base_model"), message))
        if (
            not entry.wildcard
            and entry.interface != "demo"
            and providers.opaque(entry.interface, clouds.known_model(entry, entry.model_id))
        ):
            message = f"{entry.model} says nothing of the model: base_model does; the newest of OpenAI's is assumed"
            warnings.append(document.warning(place, message))
        if row.service == "bedrock" and aws.elsewhere(entry.model_id, entry.signing[0]):
            message = f"{entry.model_id} is not of {entry.signing[0]}: that region will refuse it"
            warnings.append(document.warning((*place, "model"), message))
        if entry.passthrough_auth and guarded:
            message = f"passthrough_auth sends access_keys that do not come in x-dragoman-key to {entry.name}"
            warnings.append(document.warning(place, message))
    return warnings


def _unpriced(
    entries: tuple[Provider, ...], aliases: Mapping[str, str], keys: tuple[AccessKey, ...], prices: tuple[Price, ...], document: Document
) -> Iterator[str]:
    """Warn of models without a price, which budgets do not count."""
    budgets = {index: key.models for index, key in enumerate(keys) if key.budget is not None and key.budget.unpriced == "allow"}
    patterns, unpriced = list(budgets.values()), []
    for index in sorted(_usable(entries, aliases, patterns)) if patterns else ():
        entry = entries[index]
        if entry.interface != "demo" and providers.price_of(prices, entry.provider, clouds.known_model(entry, entry.model_id)) is None:
            unpriced.append(f"{entry.model} (models without a price of their own)" if entry.wildcard else entry.model)
    if unpriced:
        message = f"budgets of access_keys do not count models without a price: {', '.join(unpriced)}; `unpriced: refuse` refuses them"
        yield document.warning(("access_keys", next(iter(budgets)), "budget"), message)


def _usable(entries: tuple[Provider, ...], aliases: Mapping[str, str], patterns: list[tuple[str, ...]]) -> set[int]:
    """Indexes of the entries that may answer who may ask for names that fit: wildcards, and those that stand in for others, too."""
    catalog = Catalog((Entry(entry.name, entry.model) for entry in entries), aliases)
    declared = [name for entry in entries if not entry.wildcard for name in (entry.name, entry.model)]
    names = [name for name in (*declared, *aliases) if any(providers.fits(name, one) for one in patterns)]
    usable = {index for index, entry in enumerate(entries) if entry.wildcard}
    names += [name for index in usable for name in _instead(entries[index])]
    while names:
        match = catalog.find(names.pop())
        fresh = set(match.entries if match else ()) - usable
        usable |= fresh
        names += [name for index in fresh for name in _instead(entries[index])]
    return usable


def _instead(entry: Provider) -> Iterator[str]:
    """The models that an entry's policy names for when it cannot answer."""
    if entry.retry_policy is not None:
        yield from (*entry.retry_policy.fallback_models, *entry.retry_policy.on_context_window, *entry.retry_policy.on_refusal)


def _listeners(rows: list[Loaded]) -> tuple[Listener, ...]:
    listeners = []
    for index, row in enumerate(rows):
        values = dict(row) | {"index": index}
        kind = values.setdefault("type", "model")
        if kind in schema.FOREIGN_LISTENERS:
            continue
        values.setdefault("name", kind)
        if kind == "admin":
            values = {"address": "127.0.0.1", "port": 12001} | values
        if "tls" in values:
            values["tls"] = Tls(**values["tls"])
        values["hosts"] = tuple(values.get("hosts", ()))
        values["allow_from"] = tuple(values.get("allow_from", ()))
        listeners.append(Listener(**values))
    if not any(listener.type == "model" for listener in listeners):
        listeners.insert(0, Listener())
    return tuple(listeners)


def _mounted(entry: Provider, written: Mapping[str, Any]) -> Provider:
    """An entry with the file of its key, if it has one. written: as it is in the file, where nothing is expanded."""
    file = read.file_of(written.get("access_key"))
    return entry if file is None or entry.passthrough_auth else replace(entry, access_key_file=file)


def _with_families(entry: Provider, row: Loaded, environ: Mapping[str, str]) -> Provider:
    """A wildcard with what it is for models that are at other addresses, or have other APIs, unless the operator says both."""
    if not entry.wildcard or "apis" in row or urlsplit(row.get("base_url", "")).path or clouds.own_endpoint(row):
        return entry
    shared = {name: getattr(entry, name) for name in ("proxy", "certificates", "egress")}
    families = providers.known()[entry.interface].families
    return replace(entry, families=tuple((one.of_family, replace(_provider(row, environ, one), **shared)) for one in families))


_AS_WRITTEN = ("http_host", "passthrough_auth", "default", "weight", "health_check", "metadata", "base_model")


def _provider(row: Loaded, environ: Mapping[str, str], family: providers.Known | None = None) -> Provider:
    """family: of the models that it is for; None: as the model's id says."""
    prefix, _, model_id = row["model"].partition("/")
    own = providers.known().get(prefix)
    interface = family or _interface(row, own, model_id)
    base_url = clouds.address(_base_url(row.get("base_url"), interface), row, environ)
    compatible = bool(interface.carriers) and clouds.compatible(row)
    return Provider(
        model=row["model"],
        provider=prefix,
        model_id=model_id,
        name=row.get("name", row["model"]),
        interface=interface.name,
        **_place(row, interface, compatible, base_url),
        apis=_apis(row, interface, own, compatible),
        apis_in_order="apis" in row,
        auth=interface.auth,
        **_credential(row, interface, compatible, base_url, environ),
        anthropic_beta=tuple(row["anthropic_beta"]) if "anthropic_beta" in row else interface.anthropic_beta,
        own_betas="anthropic_beta" in row,
        signing=clouds.signing(row, interface, environ),
        bedrock={key: row["aws"][key] for key in aws.IN_REQUESTS if key in row.get("aws", {})},
        headers=clouds.headers(row, interface, environ),
        retry_policy=_retry_policy(row.get("retry_policy")),
        timeouts=Timeouts(**row.get("timeouts", {})),
        responses=Responses(**row.get("responses", {})),
        discover=row.get("discover", model_id == "*" and own is not None and own.lists),
        edits=_edits(row.get("request")),
        capabilities=_flags(row),
        **{name: row[name] for name in _AS_WRITTEN if name in row},
    )


def _interface(row: Loaded, own: providers.Known | None, model_id: str) -> providers.Known:
    """What is known of an entry's upstream: as of the provider that it names, its own, or OpenAI; of several families, its model's."""
    chosen = row.get("provider_interface")
    every = providers.known()[chosen] if chosen else own or providers.known()["openai"]
    return every if clouds.own_endpoint(row) else every.family(row.get("base_model", model_id))


def _place(row: Loaded, interface: providers.Known, compatible: bool, base_url: str) -> dict[str, Any]:
    """The members of an entry that say where its upstream is, and in which form requests go there. compatible: as of clouds.way."""
    place = {
        "base_url": base_url,
        "carriers": {} if compatible else interface.carriers,
        "named": "" if urlsplit(row.get("base_url", "")).path else interface.named,
        "own_base_url": "base_url" in row,
    }
    return place if interface.unknown_as is None else place | clouds.azure(row, base_url)


def _credential(row: Loaded, interface: providers.Known, compatible: bool, base_url: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The members that say what admits the gateway there."""
    way, variable = clouds.way(row, interface, compatible, base_url, environ)
    key = environ[variable] if variable else row.get("access_key")
    return {
        "way": way,
        "access_key": key if isinstance(key, str) else None,
        "access_key_missing": key.variable if isinstance(key, read.Unset) else None,
    }


def _base_url(written: str | None, interface: providers.Known) -> str:
    """The base URL of an entry: the path of a configured URL replaces the provider's prefix; without a path the prefix is appended."""
    if written is None:
        return interface.base_url
    return written if urlsplit(written).path else written + interface.prefix


_OPENAI_PATH = "/openai"  # of Google's OpenAI-compatible API
_GOOGLE_PATH = "/publishers/google"  # of its own at Vertex AI


def _apis(row: Loaded, interface: providers.Known, own: providers.Known | None, compatible: bool) -> tuple[str, ...]:
    """The APIs of an entry, also of one that does not list them. compatible: as of clouds.way.

    An unknown provider with OpenAI's interface is assumed to serve Chat Completions only. A server that replaces Anthropic at another
    address (moved) is assumed to serve Chat Completions too; one that replaces Google, that alone if its path says so or if it replaces
    Vertex AI by a path of its own.
    """
    if "apis" in row:
        return tuple(row["apis"])
    if compatible:
        return (USUAL.api,)
    moved: str | None = row.get("base_url")
    path = urlsplit(moved or "").path
    google = interface.cloud == "gcp" and USUAL.api in interface.apis and not interface.carriers
    other = google and path and not path.endswith(_GOOGLE_PATH)
    if moved is not None and (path.endswith(_OPENAI_PATH) or other):
        return (USUAL.api,)
    if own is None and interface.name == "openai":
        return (USUAL.api,)
    if own is not None and interface.name == "anthropic" and moved is not None:
        return (*interface.apis, USUAL.api)
    return interface.apis


def _control(row: Loaded | None) -> Control | None:
    if row is None:
        return None
    values = dict(row)
    beside = pathlib.Path(values["path"]).absolute().parent if "path" in values else pathlib.Path()
    values["folder"] = str(pathlib.Path(values.get("folder", beside / CONTROL_FOLDER)).absolute())
    admin = dict(values.pop("admin", {}))
    if "oidc" in admin:
        oidc = admin["oidc"]
        admin["oidc"] = Oidc(**oidc | {name: tuple(oidc[name]) for name in ("admins", "viewers", "scopes") if name in oidc})
    return Control(**values, admin=ControlAdmin(**admin))


def _cors(row: Loaded) -> Cors:
    return Cors(**{**row, "origins": tuple(row.get("origins", ()))})


def _retry_policy(row: Loaded | None) -> RetryPolicy | None:
    if row is None:
        return None
    values = dict(row)
    if "on_status_codes" in values:
        values["on_status_codes"] = frozenset[int]().union(*values["on_status_codes"])
    if "backoff" in values:
        values["backoff"] = Backoff(**values["backoff"])
    values["continues"] = values.pop("continue", "off")
    models = ("fallback_models", "on_context_window", "on_refusal")
    return RetryPolicy(**values | {name: tuple(values.get(name, ())) for name in models})


def _edits(row: Loaded | None) -> Edits | None:
    if not row:
        return None
    removed = frozenset(name.lower() for name in row.get("headers", {}).get("remove", ()))
    changes = tuple(row.get("set", {}).items())
    return Edits(changes, tuple(row.get("remove", ())), removed, effects.added(changes), continuation.formed(changes))


def _flags(row: Loaded) -> dict[str, object]:
    """The capabilities that an entry says; an upstream that is always sent `store: false` stores no responses."""
    implied = {"r.stateful": False} if row.get("request", {}).get("set", {}).get("store") is False else {}
    if "metadata_from_caller" in row.get("aws", {}):
        implied["v.request_metadata"] = row["aws"]["metadata_from_caller"]
    return {**implied, **row.get("capabilities", {})}


def _same_callers(rows: list[Loaded]) -> Iterator[tuple[Path, str]]:
    """Access keys that are equal only once variables, hashes and generated names are resolved."""
    seen: dict[str, int] = {}
    for index, row in enumerate(rows):
        key = _access_key(row)
        for value, field in ((key.key_sha256, "key" if "key" in row else "key_sha256"), (key.name, "name")):
            first = seen.setdefault(value, index)
            if first != index:
                yield ("access_keys", index, field), f"access_keys[{first}] has the same value"


def _access_key(row: Loaded) -> AccessKey:
    values = dict(row)
    if "key" in values:
        values["key_sha256"] = hashlib.sha256(values.pop("key").encode()).hexdigest()
    if "models" in values:
        values["models"] = tuple(values["models"])
    values["responses"] = Responses(**values.get("responses", {}))
    values["allow_from"] = tuple(values.get("allow_from", ()))
    if "budget" in values:
        values["budget"] = Budget(**values["budget"])
    # not by position: when another key is removed from the list, this one must not inherit its counts and state
    return AccessKey(**{"name": f"key-{values['key_sha256'][:8]}"} | values)
