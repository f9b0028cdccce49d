"""Credentials that end, in an entry of `model_providers`: `token_command`, `gcp`, `azure`; and the addresses that `gcp` decides.

Nothing is asked here: which way an entry's credential is got is decided from the file and the environment alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path as File
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..codecs.anything import at, list_of
from . import aws, providers, read
from .document import Path, show
from .model import Aws, Entra, Google, Provider, TokenCommand, Way

Row = Mapping[str, Any]


class Kind(NamedTuple):
    """An `azure.credential`: the keys that it needs, and those that it takes besides."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


KINDS = {
    "key": Kind(),
    "default": Kind(takes=("client_id", "authority")),
    "managed_identity": Kind(takes=("client_id",)),
    "workload_identity": Kind(takes=("tenant_id", "client_id", "authority")),
    "client_secret": Kind(("tenant_id", "client_id", "client_secret"), ("authority",)),
    "client_certificate": Kind(("tenant_id", "client_id", "certificate"), ("authority",)),
    "cli": Kind(takes=("tenant_id",)),
}
_OF_KINDS = tuple(dict.fromkeys(key for kind in KINDS.values() for key in (*kind.needs, *kind.takes)))

AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"
FOUNDRY_SCOPE = "https://ai.azure.com/.default"

# environment variables that Google's and Anthropic's own tools read
PROJECTS = ("GOOGLE_CLOUD_PROJECT", "ANTHROPIC_VERTEX_PROJECT_ID", "ANTHROPIC_GOOGLE_CLOUD_PROJECT")
LOCATIONS = ("GOOGLE_CLOUD_LOCATION", "CLOUD_ML_REGION")
CLAUDE_LOCATIONS = ("ANTHROPIC_GOOGLE_CLOUD_LOCATION",)
WORKSPACES = ("ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID",)
CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"  # the file that Google's libraries read
_LONGEST_FILE = 64 * 1024  # bytes
_REGIONLESS = ("us", "eu")  # locations that span several regions
PROJECT = "{gcp.project}"  # stays in an address whose project only the credentials say
_SHARED = "openapi"  # the endpoint of everyone's models
_HOST, _LOCATION, _ENDPOINT = "{gcp.host}", "{gcp.location}", "{gcp.endpoint}"
_NAMING = (*PROJECTS, *LOCATIONS, *CLAUDE_LOCATIONS, *WORKSPACES)
_WORKSPACE, _CLAUDE_LOCATION = "{gcp.workspace_id}", "{claude.location}"
_UNFIT = "{}"

_RESOURCE = "{foundry.resource}"
RESOURCE = "ANTHROPIC_FOUNDRY_RESOURCE"  # the environment variable that Anthropic's SDK reads
_PLACES = frozenset({"api_version", "deployment"})  # keys of `azure` that say where, not who
_PREVIEW = "preview"  # a version of /openai/v1


def way(row: Row, interface: providers.Known, compatible: bool, base_url: str, environ: Mapping[str, str]) -> tuple[Way | None, str | None]:
    """How an entry's credential is got, unless it is a key or the caller's; or the variable with a key that nothing but its cloud names.

    compatible: whether a cloud's upstream is called by its OpenAI-compatible API alone.
    """
    cloud = None if compatible else interface.cloud
    if cloud == "aws" and not row.keys() & {"token_command", "access_key", "passthrough_auth"}:
        variable = aws.bearer(row, interface.service, environ)
        if variable is not None:
            return None, variable
    return _way(row, cloud, base_url, environ), None


def compatible(row: Row) -> bool:
    """Whether the `base_url` of a cloud's entry is that of its OpenAI-compatible API."""
    return urlsplit(row.get("base_url", "")).path.endswith("/v1")


def own_endpoint(row: Row) -> bool:
    """Whether an entry is an endpoint of the operator's own on Vertex AI: whatever its model, it is called there."""
    return bool(row.get("gcp", {}).get("endpoint", _SHARED) != _SHARED)


def signing(row: Row, interface: providers.Known, environ: Mapping[str, str]) -> tuple[str, str]:
    """The region and the service of signatures."""
    if "aws" not in row and interface.cloud != "aws":
        return "", ""
    return aws.region(row, environ) or "", row.get("aws", {}).get("service") or interface.service or "bedrock"


def known_model(entry: Provider, model_id: str) -> str:
    """The name of a model in tables: its `base_model`, and on AWS without what stands around the vendor's own name."""
    name = entry.base_model or entry.full_name(model_id)
    return aws.known_model(name) if providers.known()[entry.interface].cloud == "aws" else name


def _way(row: Row, cloud: str | None, base_url: str, environ: Mapping[str, str]) -> Way | None:
    if "token_command" in row:
        return TokenCommand(row["token_command"])
    if "access_key" in row or row.get("passthrough_auth"):
        return None
    if "gcp" in row or cloud == "gcp":
        return Google(**{key: row["gcp"][key] for key in ("credentials_file", "impersonate") if key in row.get("gcp", {})})
    if "aws" in row or cloud == "aws":
        return aws.way(row, environ)
    if "azure" not in row:
        return None
    section = {key: value for key, value in row["azure"].items() if key not in _PLACES}
    kind = _kind(row)
    section.pop("credential", None)
    own = f".{urlsplit(base_url).hostname}".endswith(".services.ai.azure.com")
    return Entra(kind=kind, **{"scope": FOUNDRY_SCOPE if own else AZURE_SCOPE} | section)


def _kind(row: Row) -> str:
    """The `azure.credential` of an entry; what it does not say follows from the other keys."""
    section = row["azure"]
    if "credential" in section:
        return str(section["credential"])
    if "access_key" in row:
        return "key"
    kinds = {"client_secret": "client_secret", "certificate": "client_certificate", "client_id": "managed_identity"}
    return next((kind for key, kind in kinds.items() if key in section), "default")


def azure(row: Row, base_url: str) -> dict[str, Any]:
    """Where an entry of Azure is asked: fields of its Provider. A dated version has the deployment in the path, and no /v1."""
    section = row.get("azure", {})
    fields: dict[str, Any] = {"deployment": section["deployment"]} if "deployment" in section else {}
    version = section.get("api_version")
    if version is None:
        return fields | {"query": ""}
    fields["query"] = f"api-version={version}"
    if version == _PREVIEW:
        return fields
    return fields | {"base_url": base_url.removesuffix("/v1"), "carriers": {"chat_completions": "azure_deployment"}}


def headers(row: Row, interface: providers.Known, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers of an entry, and those that its `gcp` and `aws` ask for."""
    pairs = (*aws.headers(row, interface.service, environ), *row.get("headers", {}).items())
    project = row.get("gcp", {}).get("quota_project")
    return pairs if project is None else (("x-goog-user-project", project), *pairs)


def address(template: str, row: Row, environ: Mapping[str, str]) -> str:
    """A URL of the table of providers with what the entry and the environment say filled in. What nothing says is left in braces."""
    if "{" not in template:
        return template
    for name, value in aws.parts(row, environ).items():
        template = template.replace(name, value)
    resource = row.get("foundry", {}).get("resource") or environ.get(RESOURCE, "")
    template = template.replace(_RESOURCE, resource if read.is_resource(resource) else _RESOURCE)
    section = row.get("gcp", {})
    location = section.get("location") or _named_in(environ, LOCATIONS, "global", read.LOCATION)
    parts = {
        _HOST: _host(location),
        _LOCATION: location,
        PROJECT: section.get("project") or _named_in(environ, PROJECTS, _project_of_file(section, environ)),
        _ENDPOINT: section.get("endpoint", _SHARED),
        _WORKSPACE: section.get("workspace_id") or _named_in(environ, WORKSPACES, _WORKSPACE),
        _CLAUDE_LOCATION: section.get("location") or _named_in(environ, CLAUDE_LOCATIONS, "global", read.LOCATION),
    }
    for name, value in parts.items():
        template = template.replace(name, value)
    return template


def _named_in(environ: Mapping[str, str], variables: tuple[str, ...], otherwise: str, form: re.Pattern[str] = read.GOOGLE_NAME) -> str:
    """What the first of these variables says that is set, or _UNFIT where that cannot be a part of a URL."""
    value = next((environ[name] for name in variables if environ.get(name)), otherwise)
    return value if value == otherwise or form.fullmatch(value) else _UNFIT


def _project_of_file(section: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """The project of the account that a file of credentials is of; PROJECT where none says it."""
    file = section.get("credentials_file") or environ.get(CREDENTIALS)
    try:
        value = json.loads(File(file).read_bytes()[:_LONGEST_FILE]) if file else None
    except (OSError, ValueError):  # what is wrong with it is told when it is used
        return PROJECT
    project = at(value, "project_id")
    return project if isinstance(project, str) and read.GOOGLE_NAME.fullmatch(project) else PROJECT


def _host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    return f"aiplatform.{location}.rep.googleapis.com" if location in _REGIONLESS else f"{location}-aiplatform.googleapis.com"


def unknown_model(entry: Provider) -> bool:
    """Whether the model's name says nothing of it, so that no table can be asked."""
    cloud = providers.known()[entry.interface].cloud
    return entry.base_model is None and cloud == "aws" and aws.opaque(entry.model_id)


# ---- what is wrong ----


def problems(entries: tuple[Provider, ...], rows: Sequence[Row], environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """What can be seen only once variables and addresses are known. rows: of the entries, as they stand in the file."""
    for index, entry in enumerate(entries):
        path: Path = ("model_providers", index)
        known = providers.known()[entry.interface]
        if known.cloud == "aws" or isinstance(entry.way, Aws):
            signs, service = isinstance(entry.way, Aws), "" if entry.carriers == {} and known.carriers else known.service
            yield from ((path + below, message) for below, message in aws.problems(rows[index], service, signs, entry.base_url, environ))
        if PROJECT in entry.base_url and not isinstance(entry.way, Google):  # whose credentials may say it, when they are got
            none = f"the environment has none of {', '.join(PROJECTS)}"
            yield (*path, "gcp", "project"), f"is missing, {none}, and no file of credentials says it"
        elif _WORKSPACE in entry.base_url:
            yield (*path, "gcp", "workspace_id"), f"is missing, and the environment has no {WORKSPACES[0]}"
        elif _UNFIT in entry.base_url and providers.known()[entry.interface].cloud == "gcp":
            yield (*path, "gcp"), f"what the environment says in {', '.join(_NAMING)} is no part of a URL"
        elif _RESOURCE in entry.base_url:
            yield (*path, "foundry", "resource"), f"is missing, as is base_url, and the environment has no {RESOURCE}"
        if entry.deployment is not None and entry.wildcard:
            yield (*path, "azure", "deployment"), "is one model's: name it in `model`"
        parts = urlsplit(entry.base_url)
        if parts.scheme != "http" or _loopback(parts.hostname or ""):
            continue
        if entry.way is not None and not isinstance(entry.way, Aws):  # a signature is good for one request
            yield (*path, "base_url"), f"must begin with https://: {entry.way.text} gives a token that anyone on the way could read"
        variable = aws.BEARERS.get(known.service, "") if known.cloud == "aws" and not entry.passthrough_auth else ""
        if entry.access_key and entry.access_key == environ.get(variable):
            yield (*path, "base_url"), f"must begin with https://: anyone on the way could read the token of {variable}"


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def two_ways(data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """A check: entries with several ways to authenticate, or with half of one."""
    for index, row in enumerate(list_of(data, "model_providers")):
        if not isinstance(row, dict):
            continue
        named = [path for path in _named(row) if path is not None]
        for path in named[1:]:
            first = show(named[0])
            if {named[0][0], path[0]} != {"access_key", "passthrough_auth"}:  # a warning: the key is not used
                yield ("model_providers", index, *path), f"{first} is another way to authenticate: an entry has one"
        if isinstance(row.get("aws"), dict):
            yield from (((*("model_providers", index, "aws"), *path), message) for path, message in aws.halves(row["aws"]))
        if isinstance(row.get("azure"), dict):
            yield from (((*("model_providers", index, "azure"), *path), message) for path, message in _wrong_kind(row))


def _named(row: dict[str, Any]) -> Iterator[Path | None]:
    """The ways to authenticate that an entry names, each by its key."""
    yield ("access_key",) if "access_key" in row else None
    yield ("passthrough_auth",) if row.get("passthrough_auth") is True else None
    yield ("token_command",) if "token_command" in row else None
    gcp, azure = row.get("gcp"), row.get("azure")
    if isinstance(row.get("aws"), dict):
        yield next((("aws", key) for key in aws.KEYS if key in row["aws"]), None)
    if isinstance(gcp, dict):
        section: Path | None = ("gcp",) if "azure" in row else None  # else it may be there for the address
        yield next((("gcp", key) for key in ("credentials_file", "impersonate") if key in gcp), section)
    if isinstance(azure, dict):
        key = next((key for key in ("credential", *_OF_KINDS) if key in azure), None)
        if key == "credential":
            yield ("azure", key) if azure[key] != "key" else None
        else:
            elsewhere = {"access_key", "token_command", "passthrough_auth"} & row.keys() and (azure or "access_key" in row)
            yield ("azure", key) if key else None if elsewhere and azure.keys() <= _PLACES else ("azure",)


def _wrong_kind(row: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    section = row["azure"]
    kind = _kind(row)
    if kind not in KINDS or ("access_key" in row and "credential" not in section):
        return  # another problem is told
    if kind == "key" and "access_key" not in row:
        yield ("credential",), "key needs access_key"
    for key in KINDS[kind].needs:
        if key not in section:
            yield (key,), f"is missing: {kind} needs it"
    for key in _OF_KINDS:
        if key in section and key not in (*KINDS[kind].needs, *KINDS[kind].takes):
            yield (key,), f"is not used by {kind}"
