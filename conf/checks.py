"""Checks of the keys of a configuration together. Each check reads the file's plain data, so that one run reports every problem;
values of the wrong form are reported by the schema and skipped here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..codecs.anything import at
from . import clouds, providers, read
from .catalog import Catalog, Entry
from .document import Path

Problems = Iterator[tuple[Path, str]]
Data = dict[str, Any]

_DEFAULT_PORTS = {"model": 12000, "admin": 12001}
# what would let everybody in where all items are commented out
NEVER_EMPTY = {
    "access_keys": "must not be empty: remove the section to accept every caller",
    "allow_from": "must not be empty: remove it to allow every address",
}
_STORAGE_NEEDS = {"sqlite": "path", "postgres": "connection_string", "redis": "url"}


def everything(data: Data) -> Problems:
    """Path and message of every problem."""
    for check in CHECKS:
        yield from check(data)


def _items(data: Data, key: str) -> Iterator[tuple[int, Data]]:
    section = data.get(key)
    if isinstance(section, list):
        yield from ((index, item) for index, item in enumerate(section) if isinstance(item, dict))


def _models(data: Data) -> Iterator[tuple[int, Data, Entry]]:
    for index, item in _items(data, "model_providers"):
        model = item.get("model")
        if isinstance(model, str) and "/" in model:
            name = item.get("name")
            yield index, item, Entry(name if isinstance(name, str) else model, model)


def _aliases(data: Data) -> dict[str, str]:
    section = data.get("model_aliases")
    if not isinstance(section, dict):
        return {}
    targets = {alias: entry.get("target") for alias, entry in section.items() if isinstance(entry, dict)}
    return {alias: target for alias, target in targets.items() if isinstance(target, str)}


def _catalog(data: Data) -> Catalog:
    return Catalog((entry for _, _, entry in _models(data)), _aliases(data))


def _some_provider(data: Data) -> Problems:
    if data.get("model_providers") == []:
        yield ("model_providers",), "must name at least one model"


def _one_default(data: Data) -> Problems:
    defaults = [(index, entry) for index, item, entry in _models(data) if item.get("default") is True]
    for index, entry in defaults:
        if entry.model_id == "*":
            yield ("model_providers", index, "default"), "a wildcard cannot be the default: it names no model"
    for index, _ in defaults[1:]:
        yield ("model_providers", index, "default"), f"only one entry can be the default: model_providers[{defaults[0][0]}] is"


def _providers_known(data: Data) -> Problems:
    known = providers.known()
    names = ", ".join(known)
    for index, item, entry in _models(data):
        path: Path = ("model_providers", index)
        interface = item.get("provider_interface")
        if isinstance(interface, str) and interface not in known:
            yield (*path, "provider_interface"), f"unknown; known are {names}"
            continue
        row = known.get(interface if isinstance(interface, str) else entry.provider)
        if "base_url" in item:
            if row and row.only:
                yield (*path, "base_url"), f"{row.name} is built in and takes no base_url"
            continue
        if row is None:
            yield (*path, "model"), f"unknown provider: give it a base_url or a provider_interface; known are {names}"
        elif not row.has_host:
            yield (*path, "model"), f"{row.name} needs a base_url: it has no address of its own"
        elif row.only and entry.model_id != "*" and not row.serves(entry.model_id):
            yield (*path, "model"), f"{row.name} has only {', '.join(row.only)}"


def _alias_targets(data: Data) -> Problems:
    catalog = _catalog(data)
    for alias in catalog.hidden_aliases():
        yield ("model_aliases", alias), "a declared model has this name: the alias would never be used"
    for alias, target in catalog.aliases.items():
        if catalog.find_declared(target) is None:
            yield ("model_aliases", alias, "target"), "is not a declared model"


def _fallbacks(data: Data) -> Problems:
    catalog = _catalog(data)
    for index, item in _items(data, "model_providers"):
        for key in ("fallback_models", "on_context_window", "on_refusal"):
            models = at(item, "retry_policy", key)
            for place, model in enumerate(models if isinstance(models, list) else []):
                if isinstance(model, str) and catalog.find(model) is None:
                    yield ("model_providers", index, "retry_policy", key, place), "is not a declared model or alias"


def _ports(data: Data) -> Problems:
    taken: dict[int, int] = {}
    for index, item in _items(data, "listeners"):
        kind = item.get("type", "model")
        port = item.get("port", _DEFAULT_PORTS.get(kind)) if isinstance(kind, str) else None
        if not isinstance(port, int) or port == 0 or kind not in _DEFAULT_PORTS:
            continue
        if port in taken:
            yield ("listeners", index, "port"), f"listeners[{taken[port]}] has port {port} already"
        taken.setdefault(port, index)


def _storage(data: Data) -> Problems:
    section = data.get("state_storage")
    if not isinstance(section, dict):
        return
    kind = section.get("type", "memory")
    needed = _STORAGE_NEEDS.get(kind) if isinstance(kind, str) else None
    if needed and needed not in section:
        yield ("state_storage", needed), f"is missing: type {kind} needs it"
    for other, key in _STORAGE_NEEDS.items():
        if key in section and key != needed:
            yield ("state_storage", key), f"belongs to type {other}"


def _callers(data: Data) -> Problems:
    if data.get("access_keys") == []:
        yield ("access_keys",), NEVER_EMPTY["access_keys"]
    seen: dict[tuple[str, str], int] = {}
    for index, item in _items(data, "access_keys"):
        if ("key" in item) == ("key_sha256" in item):
            yield ("access_keys", index), "needs either key or key_sha256"
        for field in ("key", "key_sha256", "name"):
            value = item.get(field)
            if not isinstance(value, str):
                continue
            if (field, value) in seen:
                yield ("access_keys", index, field), f"access_keys[{seen[field, value]}] has the same value"
            seen.setdefault((field, value), index)


def _control(data: Data) -> Problems:
    section = data.get("control")
    if not isinstance(section, dict):
        return
    kind = section.get("store")
    for store in ("sqlite", "postgres"):
        key = _STORAGE_NEEDS[store]
        if kind == store and key not in section:
            yield ("control", key), f"is missing: store {store} needs it"
        elif kind != store and key in section:
            yield ("control", key), f"belongs to store {store}"
    admin = section.get("admin")
    if isinstance(admin, dict) and {"password", "password_sha256"} <= admin.keys():
        yield ("control", "admin", "password"), "needs either password or password_sha256"


def _apis(data: Data) -> Problems:
    for index, item in _items(data, "model_providers"):
        for place, api in enumerate(item["apis"] if isinstance(item.get("apis"), list) else []):
            if api in item["apis"][:place]:
                yield ("model_providers", index, "apis", place), "is listed twice"
        if item.get("apis") == []:
            yield ("model_providers", index, "apis"), "must name at least one API"


def _bodies(data: Data) -> Problems:
    limits = data.get("limits")
    if not isinstance(limits, dict) or not {"max_body", "max_bodies"} <= limits.keys():
        return
    try:
        one, all_of_them = read.size(limits["max_body"]), read.size(limits["max_bodies"])
    except ValueError:
        return
    if all_of_them < one:
        yield ("limits", "max_bodies"), "must be at least limits.max_body: no body of that size would ever be accepted"


def _networks(data: Data) -> Problems:
    places: list[tuple[Path, Any]] = [((), data)]
    places += [((key, index), item) for key in ("listeners", "access_keys") for index, item in _items(data, key)]
    for path, part in places:
        if part.get("allow_from") == []:
            yield (*path, "allow_from"), NEVER_EMPTY["allow_from"]


def _cors(data: Data) -> Problems:
    section = data.get("cors")
    origins = section.get("origins") if isinstance(section, dict) else None
    guarded = any(data.get(key) for key in ("access_keys", "control", "jwt"))
    if isinstance(origins, list) and "*" in origins and not guarded:
        yield ("cors", "origins", origins.index("*")), "lets every web page use the gateway: list the origins, or configure access_keys"


def _vertex_models(data: Data) -> Problems:
    """Models that an address of Vertex AI does not serve over the one API that is spoken there."""
    known = providers.known()
    for index, item, entry in _models(data):
        interface = item.get("provider_interface", entry.provider)
        row = known.get(interface) if isinstance(interface, str) else None
        section = item.get("gcp")
        shared = not isinstance(section, dict) or not clouds.own_endpoint(item)
        others = row is not None and row.cloud == "gcp" and bool(row.families) and row.family(entry.model_id) is row
        if row and others and shared and "base_url" not in item and "/" not in entry.model_id and entry.model_id != "*":
            wanted = f"{entry.provider}/PUBLISHER/MODEL, as {entry.provider}/meta/llama-4-maverick-maas"
            yield ("model_providers", index, "model"), f"must be {wanted}: {row.name} is called by its OpenAI-compatible API"


def _discovery(data: Data) -> Problems:
    known = providers.known()
    for index, item, entry in _models(data):
        if item.get("discover") is not True:
            continue
        path: Path = ("model_providers", index, "discover")
        if entry.model_id != "*":
            yield path, "belongs to a wildcard: this entry is one model"
        elif item.get("passthrough_auth") is True:
            yield path, "needs a credential of the gateway's own: passthrough_auth has the callers'"
        elif entry.provider in known and known[entry.provider].only:
            yield path, f"{entry.provider} is built in and has one list"


CHECKS: tuple[Callable[[Data], Problems], ...] = (
    _some_provider,
    _one_default,
    _providers_known,
    _alias_targets,
    _fallbacks,
    _ports,
    _storage,
    _callers,
    _control,
    _apis,
    _bodies,
    _networks,
    _cors,
    clouds.two_ways,
    _vertex_models,
    _discovery,
)
