"""Turns a LiteLLM proxy configuration into a Dragoman one, and names by line what has no counterpart.

Each key of the file is read by a row of a table or it is named: nothing is dropped in silence. What Dragoman does without being told
(QUIET) is not named. Source: "All settings" and "Config.yaml" of LiteLLM's documentation, release 1.110, November 2026.

Secrets of the file stay as they stand there: `os.environ/NAME` becomes `$NAME`. A caller's literal key becomes its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from . import providers, read
from .document import Document, Path

Row = dict[str, Any]

PORT = 4000  # LiteLLM's own, so that callers find the gateway where the proxy was
_ENVIRON = "os.environ/"
_AZURE_PATH = re.compile(r"(?<=[^:/])/(?:openai(?:/.*)?)?\Z")  # behind the host of an address of Azure OpenAI

# LiteLLM's name of a provider, where Dragoman has another
PREFIXES = {
    "azure": "azure_openai",
    "cohere_chat": "cohere",
    "custom_openai": "openai",
    "dashscope": "qwen",
    "fireworks_ai": "fireworks",
    "github_copilot": "copilot",
    "hosted_vllm": "vllm",
    "litellm_proxy": "openai",
    "lm_studio": "lmstudio",
    "moonshot": "moonshotai",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "openai_like": "openai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vercel_ai_gateway": "vercel",
    "vertex_ai": "vertex",
    "xiaomi_mimo": "xiaomi",
}
# what Dragoman does anyway, or what only concerns LiteLLM's own works
QUIET = {
    ("litellm_settings", "drop_params"),
    ("litellm_settings", "modify_params"),
    ("litellm_settings", "set_verbose"),
    ("litellm_settings", "json_logs"),
    ("litellm_settings", "telemetry"),
    ("litellm_settings", "turn_off_message_logging"),
    ("litellm_settings", "redact_user_api_key_info"),
    ("general_settings", "proxy_batch_write_at"),
    ("general_settings", "disable_spend_logs"),
    ("router_settings", "enable_pre_call_checks"),
}
HINTS = {
    "environment_variables": "set these in the environment of the process",
    "include": "import each of these files by itself",
    "allowed_fails": "an upstream that fails is passed over by itself",
    "cooldown_time": "an upstream that fails is passed over by itself",
    "database_url": "LiteLLM's keys, teams and spending stay in its database; `control` keeps Dragoman's own",
    "callbacks": "the log, the metrics and `tracing` are always there; a hook can tell another service of answers",
    "success_callback": "a hook with `on: answer` can tell a service of answers",
    "failure_callback": "a hook with `on: answer` can tell a service of answers",
    "guardrails": "a hook with `on: request` can refuse requests",
    "cache": "answers are not cached; providers' prompt caches are kept valid",
    "cache_params": "answers are not cached; providers' prompt caches are kept valid",
    "rpm": "limits are of callers' keys (access_keys), not of upstreams",
    "tpm": "limits are of callers' keys (access_keys), not of upstreams",
    "max_parallel_requests": "limits are of callers' keys (access_keys), not of upstreams",
    "temperature": "`request.set` of the entry would replace what callers say, LiteLLM's value is only a default",
    "top_p": "`request.set` of the entry would replace what callers say, LiteLLM's value is only a default",
    "max_tokens": "`request.set` of the entry would replace what callers say, LiteLLM's value is only a default",
    "extra_body": "`request.set` of the entry adds members to its requests, and replaces what callers say of them",
    "max_budget": "budgets are of callers' keys (access_keys)",
    "budget_duration": "budgets are of callers' keys (access_keys)",
}
STRATEGIES = {"simple-shuffle": "weight", "least-busy": "least_busy", "latency-based-routing": "latency"}
FALLBACKS = {
    "fallbacks": "fallback_models",
    "context_window_fallbacks": "on_context_window",
    "content_policy_fallbacks": "on_refusal",
}
PRICES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
}
_CLAIMS = {"user_id_jwt_field": ("name", "user"), "team_id_jwt_field": ("team",), "object_id_jwt_field": ("name",)}


def converted(text: str, file: str) -> tuple[str, list[str]]:
    """The Dragoman configuration, and lines about what has no counterpart.

    Raises ConfigError for what is no valid YAML, as `dragoman check` has it, and for what is no LiteLLM configuration.
    """
    document = Document(text, file)
    if document.problems:
        document.fail()
    work = _Work(document)
    result = work.run()
    if not result.get("model_providers"):
        document.note(("model_list",), "holds no model that Dragoman can serve")
        document.fail()
    header = f"# Made of {file.rpartition('/')[2]} by `dragoman import litellm`.\n"
    return header + yaml.safe_dump(result, sort_keys=False, allow_unicode=True, width=140), [
        str(one) for one in sorted(document.problems, key=lambda one: (one.line, one.column))
    ]


class _Work:
    """One file: each key of it is read, quiet, or named."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._data = document.data
        self._entries: list[Row] = []
        self._names: list[str] = []  # LiteLLM's name of each entry
        self._prices: Row = {}
        self._result: Row = {}
        self._timeout: Any = None
        self._retries: int | None = None
        self._admin = False
        self._unused: dict[str, Path] = {}  # where credentials stand that no model has asked for

    def run(self) -> Row:
        credentials = self._credentials()
        for index, row in enumerate(self._rows("model_list")):
            self._model(row, ("model_list", index), credentials)
        for path in self._unused.values():
            self._name(path, "no model uses it")
        for section in ("litellm_settings", "router_settings", "general_settings"):
            values = self._data.get(section)
            if values is not None and not isinstance(values, dict):
                self._name((section,), "is no mapping")
            for key, value in values.items() if isinstance(values, dict) else ():
                self._setting(section, key, value)
        for key in self._data:
            if key not in ("model_list", "credential_list", "litellm_settings", "router_settings", "general_settings"):
                self._name((key,), HINTS.get(key, ""))
        self._everywhere()
        listeners: list[Row] = [{"type": "model", "port": PORT}]
        if self._admin:
            listeners.append({"type": "admin"})
        result = {"listeners": listeners, "model_providers": self._entries} | self._result
        return result | ({"prices": self._prices} if self._prices else {})

    # ---- models ----

    def _rows(self, key: str) -> list[Row]:
        """The rows of a list; one that is no mapping is empty, so that each keeps its place."""
        rows = self._data.get(key)
        if rows is not None and not isinstance(rows, list):
            self._name((key,), "is no list")
        return [row if isinstance(row, dict) else {} for row in rows] if isinstance(rows, list) else []

    def _credentials(self) -> dict[str, Row]:
        credentials: dict[str, Row] = {}
        for index, row in enumerate(self._rows("credential_list")):
            values = row.get("credential_values")
            if not isinstance(row.get("credential_name"), str) or not isinstance(values, dict):
                self._name(("credential_list", index), "has no credential_name, or no credential_values")
                continue
            credentials[row["credential_name"]] = values
            self._unused[row["credential_name"]] = ("credential_list", index)
            for key in row:
                if key not in ("credential_name", "credential_values", "credential_info"):  # the last is for people
                    self._name(("credential_list", index, key), "")
        return credentials

    def _model(self, row: Row, path: Path, credentials: Mapping[str, Row]) -> None:
        name, params = row.get("model_name"), row.get("litellm_params")
        if not isinstance(name, str) or not isinstance(params, dict) or not isinstance(params.get("model"), str):
            self._name(path, "has no model_name, or no litellm_params.model")
            return
        below = (*path, "litellm_params")
        params = dict(params)
        shared = params.pop("litellm_credential_name", None)
        if shared is not None and shared not in credentials:
            self._name((*below, "litellm_credential_name"), "is none of credential_list")
        self._unused.pop(shared, None)
        params = credentials.get(shared, {}) | params
        entry = self._entry(name, params, path)
        if entry is None:
            return
        for key, value in params.items():
            problem = self._read(entry, key, value)
            if problem is not None:
                self._name((*below, key), problem or HINTS.get(key, ""))
        about = row.get("model_info")
        if about is not None and not isinstance(about, dict):
            self._name((*path, "model_info"), "is no mapping")
        for key, value in about.items() if isinstance(about, dict) else ():
            if key != "id" and (problem := self._priced(entry, key, value)) is not None:
                self._name((*path, "model_info", key), problem)
        for key in row:
            if key not in ("model_name", "litellm_params", "model_info"):
                self._name((*path, key), HINTS.get(key, ""))
        self._entries.append({name: value for name, value in entry.items() if value is not None})
        self._names.append(name)

    def _entry(self, name: str, params: Row, place: Path) -> Row | None:
        """The entry's model, name and address; None when there is nobody to ask. place: of the row."""
        path = (*place, "litellm_params")
        model = params.pop("model")
        own = params.pop("custom_llm_provider", None)
        key = "api_base" if "api_base" in params else "base_url"
        written = params.pop(key, None)
        base = _value(written)
        prefix, model_id = _split(model, own)
        if not model_id:
            self._name((*path, "model"), "names no model")
            return None
        if prefix == "azure_openai" and base is not None:
            base = _AZURE_PATH.sub("", base)
            params.pop("api_version", None)  # its v1 API has none
        wrong = "is no text" if base is None and written is not None else _wrong(read.url, base)
        if wrong is not None:
            self._name((*path, key), wrong)
            return None
        known = providers.known().get(prefix)
        if prefix == "vertex" and _is_googles(model_id):
            model_id = f"google/{model_id}"
        if (known is None or not known.has_host) and base is None and prefix != "vertex":
            self._name((*path, "model"), f"`{prefix}` is no provider that Dragoman knows: give it an api_base")
            return None
        if "*" in model_id and model_id != "*":
            self._name((*path, "model"), "the only wildcard is provider/*")
            return None
        entry: Row = {"model": f"{prefix}/{model_id}"}
        if model_id == "*" and "/" in name and name != entry["model"]:
            entry |= {"model": name, "provider_interface": prefix} if known else {"model": name}
            base = base or (known.base_url if known and not known.cloud else None)  # of a cloud it depends on the model
        elif name != entry["model"] and model_id == "*":
            self._name((*place, "model_name"), f"the entry is asked as {entry['model']}, and by bare names known to be of its provider")
        elif name != entry["model"]:
            entry["name"] = name
        entry["base_url"] = base
        if prefix == "bedrock" and "aws_region_name" in params:
            region = _value(params.pop("aws_region_name"))
            wrong = _wrong(read.aws_region, region)
            if wrong is None:
                entry["aws"] = {"region": region}
            else:
                self._name((*path, "aws_region_name"), wrong)
        if known is not None and known.name == "openai" and base is not None and urlsplit(base).hostname != "api.openai.com":
            entry["apis"] = ["chat_completions"]  # what servers of OpenAI's form have in common
        return entry

    def _read(self, entry: Row, key: str, value: Any) -> str | None:
        """None when the parameter is in the entry now, else why not; "" where nothing can be said of it."""
        reader = PARAMS.get(key)
        if reader is not None:
            return reader(entry, value)
        return self._priced(entry, key, value)

    def _priced(self, entry: Row, key: str, value: Any) -> str | None:
        """As `_read`, of what may be a price."""
        if key not in PRICES:
            return ""
        wrong = _wrong(read.number(0), value)
        if wrong is None:
            row = self._prices.setdefault(entry["model"], {"input": 0.0, "output": 0.0})
            row[PRICES[key]] = round(value * 1e6, 9)
        return wrong

    # ---- the other sections ----

    def _setting(self, section: str, key: str, value: Any) -> None:
        path: Path = (section, key)
        if (section, key) in QUIET:
            return
        reader = SETTINGS.get((section, key)) or SETTINGS.get(("", key))
        problem = HINTS.get(key, "") if reader is None else reader(self, value)
        if problem is not None:
            self._name(path, problem)

    def fall_back(self, key: str, value: Any) -> str | None:
        missing = []
        rows = value if isinstance(value, list) else [value]
        if not all(isinstance(row, dict) and all(isinstance(targets, list) for targets in row.values()) for row in rows):
            return "is no list of a model's name and a list of others"
        for row in rows:
            for name, targets in row.items():
                matching = [entry for entry, own in zip(self._entries, self._names, strict=True) if name in (own, "*")]
                usable = [target for target in targets if isinstance(target, str) and self._serves(target)]
                missing += [str(target) for target in targets if target not in usable] + ([] if matching else [name])
                for entry in matching if usable else ():
                    entry.setdefault("retry_policy", {}).setdefault(FALLBACKS[key], [*usable])
        return f"is left out of it, as no entry serves it: {', '.join(missing)}" if missing else None

    def default_fallbacks(self, value: Any) -> str | None:
        return self.fall_back("fallbacks", [{"*": value}])

    def _serves(self, name: str) -> bool:
        prefix = name.partition("/")[0]
        return name in self._names or any(name == entry["model"] or entry["model"] == f"{prefix}/*" for entry in self._entries)

    def retries(self, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 20:
            return "is no number of attempts"
        self._retries = value
        return None

    def timeout(self, value: Any) -> str | None:
        wrong = _wrong(read.duration, value)
        self._timeout = self._timeout if wrong else value
        return wrong

    def strategy(self, value: Any) -> str | None:
        if not isinstance(value, str) or value not in STRATEGIES:
            return f"Dragoman balances by {', '.join(STRATEGIES.values())}, or in the order of the file"
        self._result["routing"] = {"balance": STRATEGIES[value]}
        return None

    def aliases(self, value: Any) -> str | None:
        if not isinstance(value, dict):
            return "is no mapping"
        targets = {alias: target.get("model") if isinstance(target, dict) else target for alias, target in value.items()}
        usable = {alias: target for alias, target in targets.items() if target in self._names and alias not in self._names}
        if usable:
            self._result["model_aliases"] = {alias: {"target": target} for alias, target in usable.items()}
        left = [alias for alias in targets if alias not in usable]
        return f"no alias of a declared model: {', '.join(left)}" if left else None

    def master_key(self, value: Any) -> str | None:
        written = _value(value)
        if not written:
            return "is no text"
        literal = {"key_sha256": hashlib.sha256(str(value).encode()).hexdigest()}
        self._result["access_keys"] = [({"key": written} if str(value).startswith(_ENVIRON) else literal) | {"name": "master"}]
        return None

    def redis(self, value: Any) -> str | None:
        """One of redis_host, redis_port, redis_password and redis_url: all are read at the first."""
        section = self._data["router_settings"]
        url = _value(section.get("redis_url"))
        if url is None:
            password = _value(section.get("redis_password"))
            login = f":{password}@" if password else ""
            url = f"redis://{login}{_value(section.get('redis_host')) or 'localhost'}:{_value(section.get('redis_port')) or 6379}"
        self._result["state_storage"] = {"type": "redis", "url": url}
        return None

    def largest(self, value: Any) -> str | None:
        return self._limit("max_body", read.size, f"{value}MB")

    def most_streams(self, value: Any) -> str | None:
        return self._limit("max_streams", read.whole(1, 2**53), value)

    def _limit(self, key: str, reader: read.Reader, value: Any) -> str | None:
        wrong = _wrong(reader, value)
        if wrong is None:
            self._result.setdefault("limits", {})[key] = value
        return wrong

    def allowed(self, value: Any) -> str | None:
        networks = value if isinstance(value, list) else [value]
        wrong = next((wrong for one in networks if (wrong := _wrong(read.network, one)) is not None), None)
        if wrong is None:  # with some of them left out it would be another bound
            self._result["allow_from"] = networks
        return wrong

    def callbacks(self, value: Any) -> str | None:
        names = value if isinstance(value, list) else [value]
        self._admin = self._admin or "prometheus" in names
        left = [str(name) for name in names if name != "prometheus"]
        return f"{', '.join(left)}: {HINTS['callbacks']}" if left else None

    def tokens(self, value: Any) -> str | None:
        if self._data["general_settings"].get("enable_jwt_auth") is not True:
            return "is not in force without enable_jwt_auth"
        settings = value if isinstance(value, dict) else {}
        issuers = settings.get("issuers")
        if isinstance(issuers, list) and len(issuers) == 1 and isinstance(issuers[0], dict):
            own = {"public_key_url" if key == "jwks_url" else key: one for key, one in issuers[0].items()}
            settings = own | {key: one for key, one in settings.items() if key != "issuers"}
        discovery = "/.well-known/openid-configuration"
        url = _value(settings.get("public_key_url")) or ""
        issuer = _value(settings.get("issuer")) or url.removesuffix(discovery) * url.endswith(discovery)
        audience = settings.get("audience")
        if not issuer or not audience:
            return "jwt needs an issuer and an audience: nothing is imported of it"
        claims: Row = {}
        for key, names in _CLAIMS.items():
            if isinstance(settings.get(key), str):
                claims |= dict.fromkeys(names, settings[key])
        keys = {} if not url or url.endswith(discovery) else {"jwks_url": url}
        self._result["jwt"] = {"issuer": issuer, "audience": audience} | keys | ({"claims": claims} if claims else {})
        read = {"public_key_url", "issuer", "audience", *_CLAIMS}
        left = [key for key in settings if key not in read]
        return f"{', '.join(left)}: a token's claims say its name, team, user and models" if left else None

    def _everywhere(self) -> None:
        """What holds for each entry that says nothing else."""
        for entry in self._entries:
            if self._retries is not None:
                entry.setdefault("retry_policy", {}).setdefault("max_attempts", self._retries + 1)
            if self._timeout is not None:
                entry.setdefault("timeouts", {}).setdefault("first_byte", self._timeout)

    def _name(self, path: Path, message: str) -> None:
        self._document.note(path, message or "has no counterpart", at_key=True)


# ---- values ----


def _value(value: Any) -> str | None:
    """A text of the file as Dragoman's have it."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    text = str(value)
    return f"${{{text.removeprefix(_ENVIRON)}}}" if text.startswith(_ENVIRON) else text.replace("$", "$$")


def _split(model: str, own: Any) -> tuple[str, str]:
    """The provider, as Dragoman calls it, and the model's id there."""
    prefix, slash, rest = model.partition("/")
    if isinstance(own, str):
        return PREFIXES.get(own, own), rest if slash and prefix == own else model
    if not slash:
        fitting = (name for name, row in providers.known().items() if row.models and row.recognises(model))
        return next(fitting, "openai"), model
    if prefix == "bedrock" and rest.partition("/")[0] in ("converse", "invoke"):
        rest = rest.partition("/")[2]
    return PREFIXES.get(prefix, prefix), rest


def _is_googles(model_id: str) -> bool:
    """Whether a model of Vertex AI without a publisher is one of Google's: those of others are known by their names."""
    known = providers.known()["vertex"]
    family = known.family(model_id)
    return "/" not in model_id and model_id != "*" and (family is known or family.named.startswith("google/"))


def _text(key: str) -> Callable[[Row, Any], str | None]:
    def put(entry: Row, value: Any) -> str | None:
        entry[key] = _value(value)
        return "is no text" if entry[key] is None and value is not None else None

    return put


def _within(section: str, key: str, reader: read.Reader = read.expanded) -> Callable[[Row, Any], str | None]:
    def put(entry: Row, value: Any) -> str | None:
        written = _value(value) if isinstance(value, str) else value
        wrong = _wrong(reader, written)
        if wrong is None:
            entry.setdefault(section, {})[key] = written
        return wrong

    return put


def _wrong(reader: read.Reader, written: Any) -> str | None:
    """Why Dragoman would not take a value, None if it would. Whether it takes a variable's is seen where that is set."""
    if written is None or (isinstance(written, str) and "${" in written):
        return None
    token = read.environ.set({})
    try:
        reader(written)
    except ValueError as error:
        return str(error)
    finally:
        read.environ.reset(token)
    return None


def _header(name: str) -> Callable[[Row, Any], str | None]:
    def put(entry: Row, value: Any) -> str | None:
        return _headers(entry, {name: value})

    return put


def _headers(entry: Row, value: Any) -> str | None:
    if not isinstance(value, dict):
        return "is no mapping"
    texts = {str(name): text for name, one in value.items() if (text := _value(one)) is not None}
    if texts:
        entry.setdefault("headers", {}).update(texts)
    return "is no text" if len(texts) < len(value) else None


def _attempts(entry: Row, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 20:
        return "is no number of attempts"
    entry.setdefault("retry_policy", {})["max_attempts"] = value + 1
    return None


def _weight(entry: Row, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return "must be a whole number above 0"
    entry["weight"] = value
    return None


PARAMS: dict[str, Callable[[Row, Any], str | None]] = {
    "api_key": _text("access_key"),
    "timeout": _within("timeouts", "first_byte", read.duration),
    "stream_timeout": _within("timeouts", "first_content", read.duration),
    "max_retries": _attempts,
    "num_retries": _attempts,
    "weight": _weight,
    "organization": _header("openai-organization"),
    "extra_headers": _headers,
    "headers": _headers,
    "vertex_project": _within("gcp", "project"),
    "vertex_location": _within("gcp", "location"),
    "vertex_credentials": _within("gcp", "credentials_file"),
    "aws_access_key_id": _within("aws", "access_key_id"),
    "aws_secret_access_key": _within("aws", "secret_access_key"),
    "aws_session_token": _within("aws", "session_token"),
    "aws_profile_name": _within("aws", "profile"),
    "aws_role_name": _within("aws", "role_arn"),
    "aws_session_name": _within("aws", "session_name"),
    "aws_web_identity_token": _within("aws", "web_identity_token_file"),
    "tenant_id": _within("azure", "tenant_id"),
    "client_id": _within("azure", "client_id"),
    "client_secret": _within("azure", "client_secret"),
}


def _fallback(key: str) -> Callable[[_Work, Any], str | None]:
    return lambda work, value: work.fall_back(key, value)


# by section and key; "": in whichever of them it stands
SETTINGS: dict[tuple[str, str], Callable[[_Work, Any], str | None]] = {
    **{("", key): _fallback(key) for key in FALLBACKS},
    ("", "default_fallbacks"): _Work.default_fallbacks,
    ("", "num_retries"): _Work.retries,
    ("litellm_settings", "request_timeout"): _Work.timeout,
    ("router_settings", "timeout"): _Work.timeout,
    ("router_settings", "routing_strategy"): _Work.strategy,
    ("router_settings", "model_group_alias"): _Work.aliases,
    **{("router_settings", key): _Work.redis for key in ("redis_host", "redis_port", "redis_password", "redis_url")},
    ("litellm_settings", "callbacks"): _Work.callbacks,
    ("litellm_settings", "success_callback"): _Work.callbacks,
    ("litellm_settings", "failure_callback"): _Work.callbacks,
    ("general_settings", "master_key"): _Work.master_key,
    ("general_settings", "max_request_size_mb"): _Work.largest,
    ("general_settings", "global_max_parallel_requests"): _Work.most_streams,
    ("general_settings", "allowed_ips"): _Work.allowed,
    ("general_settings", "enable_jwt_auth"): lambda work, value: None,
    ("general_settings", "litellm_jwtauth"): _Work.tokens,
}
