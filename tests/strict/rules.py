"""What real providers refuse, as data in providers/*.yaml, and the evaluator that finds the first rule a request violates.

    openai = load("openai")
    fault = openai.first_violation(Asked("chat", body, headers))        # None: the provider would answer
    openai.refusal(fault, asked)                                        # (status, headers, body) as that provider words it

A rule applies when its shape, its models (globs, on the id and on what follows its last slash) and every condition of `when` hold; then
`check` must hold. `option` names a switch of the double that is off unless a test turns it on: old versions of a server, rules that
nobody has verified. `breaks` is a patch of the provider's minimal request that violates the rule (null removes a member): with it the
rules prove themselves (test_rules.py).

A path is a.b, [n], [-1], [*] for all items, [k=v] and [k=v|w] for items whose k is v, [k?] for items with a non-empty k, **.k for k at
any depth. It finds values, null among them; what is not there is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml

from . import procedures
from .schemas import schema_fits

PROVIDERS = Path(__file__).parent / "providers"

JSON = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request as a provider sees it. options: the double's switches that are on. named, streamed: the model and whether to stream,
    where the path says so."""

    shape: str
    body: JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    options: frozenset[str] = frozenset()
    named: str = ""
    streamed: bool = False

    @property
    def model(self) -> str:
        return self.named or str(self.body.get("model", ""))

    @property
    def streams(self) -> bool:
        return self.streamed or self.body.get("stream") is True


@dataclass(frozen=True)
class Rule:
    id: str
    shape: str
    check: JSON
    answer: JSON
    models: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    when: tuple[JSON, ...] = ()
    breaks: JSON | None = None

    def names(self, model: str) -> bool:
        """Whether it is about this model."""
        return _named(model, self.models, self.unless)

    def applies(self, provider: Provider, asked: Asked) -> bool:
        if self.shape not in (asked.shape, "any") or not self.names(asked.model):
            return False
        return all(_holds(condition, provider, asked) for condition in self.when)

    def violated(self, provider: Provider, asked: Asked) -> bool:
        return self.applies(provider, asked) and not passes(self.check, asked, provider.thinks(asked))


@dataclass(frozen=True)
class Provider:
    """One provider. names: what the gateway calls it. base: members that its every request needs."""

    id: str
    names: tuple[str, ...]
    hosts: tuple[str, ...]
    shapes: tuple[str, ...]
    error: str
    example: str
    base: JSON
    thinking: tuple[JSON, ...]
    rules: tuple[Rule, ...]

    def thinks(self, asked: Asked) -> bool:
        """Whether the model would reason over this request."""
        for row in self.thinking:
            if _named(asked.model, tuple(row["models"]), tuple(row.get("except", ()))):
                if any(_holds(one, self, asked) for one in row.get("switched_off", ())):
                    return False
                if any(_holds(one, self, asked) for one in row.get("switched_on", ())):
                    return True
                return bool(row["default"])
        return False

    def violations(self, asked: Asked) -> list[Rule]:
        return [rule for rule in self.rules if rule.violated(self, asked)]

    def first_violation(self, asked: Asked) -> Rule | None:
        return next((rule for rule in self.rules if rule.violated(self, asked)), None)

    def refusal(self, rule: Rule, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer, in the provider's own form, which names the member where that provider does."""
        status = rule.answer.get("status", 400)
        answer = rule.answer | {"param": member(rule.check, asked, self.thinks(asked))}
        return status, dict(_ERROR_HEADERS.get(self.error, {})), orjson.dumps(_ERRORS[self.error](answer, status))


@cache
def load(id: str) -> Provider:
    """The provider of this file in providers/. It may have the rules of another one, too: `rules_of`, `but` for those that it has not."""
    data = yaml.safe_load((PROVIDERS / f"{id}.yaml").read_text())
    shared = load(data["rules_of"]).rules if "rules_of" in data else ()
    rules = tuple(rule for rule in shared if rule.id not in data["but"]) + tuple(
        Rule(
            rule["id"],
            rule["shape"],
            rule["check"],
            rule["answer"],
            tuple(rule.get("models", ())),
            tuple(rule.get("except", ())),
            tuple(rule.get("when", ())),
            rule.get("breaks"),
        )
        for rule in data["rules"]
    )
    names = tuple(data.get("names", ()))
    hosts = tuple(data.get("hosts", ()))
    thinking = tuple(data.get("thinks", ()))
    return Provider(id, names, hosts, tuple(data["shapes"]), data["error"], data["example"], data.get("base", {}), thinking, rules)


def everyone() -> list[Provider]:
    return [load(path.stem) for path in sorted(PROVIDERS.glob("*.yaml"))]


# ---- conditions and checks ----


def _named(model: str, globs: tuple[str, ...], unless: tuple[str, ...]) -> bool:
    ids = {model.lower(), model.lower().rpartition("/")[2]}

    def fits(glob: str) -> bool:
        return any(fnmatchcase(id, glob.lower()) for id in ids)

    return (not globs or any(map(fits, globs))) and not any(map(fits, unless))


def _holds(condition: JSON, provider: Provider, asked: Asked) -> bool:
    if "any" in condition:
        return any(_holds(one, provider, asked) for one in condition["any"])
    if "option" in condition:
        return condition["option"] in asked.options
    if "thinking" in condition:
        return provider.thinks(asked) is condition["thinking"]
    if "stream" in condition:
        return asked.streams is condition["stream"]
    if "shape" in condition:
        return bool(asked.shape == condition["shape"])
    values = [value for value in find(asked.body, condition["path"]) if value is not None]
    if "exists" in condition:
        return bool(values) is condition["exists"]
    return bool(values) and all(_fits(value, condition) for value in values)


def passes(check: JSON, asked: Asked, thinking: bool) -> bool:
    """Whether the request passes; a check of several members passes when each does."""
    if "any_of" in check:
        return _any_of(check, asked, thinking)
    return all(_CHECKS[kind](told, asked, thinking) for kind, told in check.items())


def _any_of(check: JSON, asked: Asked, thinking: bool) -> bool:
    one_a_shape = {"chat": 0, "messages": 0, "responses": 1}
    if check["mode"] == "shape":
        return passes(check["any_of"][one_a_shape[asked.shape]], asked, thinking)
    return all(passes(one, asked, thinking) for one in check["any_of"])


def _each(test: JSON, asked: Asked, *, present: bool = False) -> bool:
    values = list(find(asked.body, test["at"]))
    if present and (not values or values[0] is None):
        return False
    return all(_fits(value, test) for value in values if value is not None or "not_type" in test or test.get("type") == "string")


_TYPES: dict[str, type | tuple[type, ...]] = {
    "null": type(None),
    "string": str,
    "object": dict,
    "array": list,
    "number": (int, float),
    "boolean": bool,
}


def _fits(value: Any, test: JSON) -> bool:
    return all(_TESTS[kind](value, wanted) for kind, wanted in test.items() if kind in _TESTS)


def _among(value: Any, values: list[Any]) -> bool:
    return any(value == one and isinstance(value, bool) is isinstance(one, bool) for one in values)


_TESTS: dict[str, Any] = {
    "in": _among,
    "not_in": lambda value, values: not _among(value, values),
    "matches": lambda value, pattern: isinstance(value, str) and re.search(pattern, value) is not None,
    "not_matches": lambda value, pattern: not (isinstance(value, str) and re.search(pattern, value)),
    "min": lambda value, least: not isinstance(value, int | float) or value >= least,
    "within": lambda value, ranges: any(least <= value <= most for least, most in ranges),
    "max": lambda value, most: not isinstance(value, int | float) or value <= most,
    "min_length": lambda value, least: len(value) >= least,
    "max_length": lambda value, most: len(value) <= most,
    "min_items": lambda value, least: not isinstance(value, list) or len(value) >= least,
    "max_items": lambda value, most: not isinstance(value, list) or len(value) <= most,
    "type": lambda value, name: isinstance(value, _TYPES[name]),
    "not_type": lambda value, names: not any(isinstance(value, _TYPES[name]) for name in names),
    "needs": lambda value, names: isinstance(value, dict) and all(value.get(name) is not None for name in names),
}


def _values(asked: Asked, path: str) -> list[Any]:
    return [value for value in find(asked.body, path) if value is not None]


def _header(test: JSON, asked: Asked) -> bool:
    value = asked.headers.get(test["name"])
    if "absent_or_not" in test:
        return value is None or re.search(test["absent_or_not"], value) is None
    return value is not None and re.search(test["matches"], value) is not None


def _max_by_model(test: JSON, asked: Asked) -> bool:
    most = next((most for glob, most in test["table"].items() if _named(asked.model, (glob,), ())), None)
    return most is None or all(value <= most for value in _values(asked, test["at"]))


_CHECKS: dict[str, Any] = {
    "absent": lambda paths, asked, _: not any(_values(asked, path) for path in paths),
    "present": lambda paths, asked, _: all(_values(asked, path) for path in paths),
    "each": lambda test, asked, _: _each(test, asked),
    "value": lambda test, asked, _: _each(test, asked),
    "each_present": lambda test, asked, _: _each(test, asked, present=True),
    "not_both": lambda paths, asked, _: not all(_values(asked, path) for path in paths),
    "only_keys": lambda test, asked, _: all(one.keys() <= set(test["keys"]) for one in _values(asked, test["at"])),
    "count": lambda test, asked, _: len(_values(asked, test["at"])) <= test["max"],
    "uniform": lambda test, asked, _: len({repr(one.get(test["key"]) or test["default"]) for one in _values(asked, test["at"])}) <= 1,
    "schema": lambda test, asked, _: all(schema_fits(schema, test) for schema in _values(asked, test["at"])),
    "issued": lambda test, asked, _: all(
        isinstance(value, str) and (value.startswith(test["prefix"]) or value in test.get("or", ())) for value in _values(asked, test["at"])
    ),
    "max_by_model": lambda test, asked, _: _max_by_model(test, asked),
    "header": lambda test, asked, _: _header(test, asked),
    "refuse": lambda told, asked, _: False,
    "all": lambda checks, asked, thinking: all(passes(one, asked, thinking) for one in checks),
    "order": lambda name, asked, thinking: procedures.BY_NAME[name](asked.body, asked.model, thinking),
}


# ---- paths ----

_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


def find(value: Any, path: str) -> Iterator[Any]:
    """Every value at the path."""
    if path.startswith("**."):
        yield from _anywhere(value, path[3:])
        return
    values = [value]
    for index, name in _STEP.findall(path):
        values = [found for one in values for found in (_items(one, index) if index else _member(one, name))]
    yield from values


def _anywhere(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for inner in value.values():
            yield from _anywhere(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _anywhere(inner, name)


def _member(value: Any, name: str) -> list[Any]:
    return [value[name]] if isinstance(value, dict) and name in value else []


def _items(value: Any, index: str) -> list[Any]:
    items = value if isinstance(value, list) else []
    if isinstance(value, dict) and not re.fullmatch(r"-?\d+|\*", index):
        items = [value]  # a condition on the object that the path has reached
    if index == "*":
        return items
    if re.fullmatch(r"-?\d+", index):
        return items[int(index) :][:1]
    if index.endswith("?"):
        return [item for item in items if any(list(find(item, index[:-1])))]
    name, _, wanted = index.partition("=")
    return [item for item in items if any(_plain(one) in wanted.split("|") for one in find(item, name))]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- refusals ----


def member(check: JSON, asked: Asked, thinking: bool) -> str | None:
    """Where the first member stands that a check refuses: messages[0].name; None where it is about no single one."""
    if "any_of" in check:
        check = {"all": check["any_of"]}
    for kind, told in check.items():
        if passes({kind: told}, asked, thinking):
            continue
        if kind == "absent":
            return next((_first(path) for path in told if _values(asked, path)), None)
        if kind in ("each", "value") and list(find(asked.body, told["at"])):
            return _first(told["at"])
        if kind == "all":
            return next((found for one in told if (found := member(one, asked, thinking)) is not None), None)
    return None


def _first(path: str) -> str:
    return re.sub(r"\[[^\]]*\]", "[0]", path)


def _openai(answer: JSON, status: int) -> JSON:
    kind = answer.get("type", "invalid_request_error")
    return {"error": {"message": answer["message"], "type": kind, "param": answer["param"], "code": answer.get("code")}}


def _coded(answer: JSON, status: int) -> JSON:
    return {"error": {"message": answer["message"], "type": answer.get("type", "invalid_request_error"), "code": status}}


def _mistral(answer: JSON, status: int) -> JSON:
    if status == 422:
        loc = ["body", *(int(step) if step.isdecimal() else step for step in re.findall(r"\w+", answer["param"] or ""))]
        return {"detail": [{"type": answer.get("type", "extra_forbidden"), "loc": loc, "msg": answer["message"], "input": None}]}
    code = answer.get("code")
    return {"object": "error", "message": answer["message"], "type": "invalid_request_error", "param": None, "code": code}


def _dashscope(answer: JSON, status: int) -> JSON:
    message = "<400> InternalError.Algo.InvalidParameter: " + answer["message"]
    code = answer.get("code", "invalid_parameter_error")
    error = {"code": code, "param": None, "message": message, "type": "invalid_request_error"}
    return {"error": error, "id": "chatcmpl-1", "request_id": "1"}


def _minimax(answer: JSON, status: int) -> JSON:
    error = {"type": "bad_request_error", "message": "invalid params, " + answer["message"], "http_code": "400"}
    return {"type": "error", "error": error, "request_id": "1"}


def _google(answer: JSON, status: int) -> JSON:
    return {"error": {"code": status, "message": answer["message"], "status": "INVALID_ARGUMENT", "details": []}}


def _anthropic(answer: JSON, status: int) -> JSON:
    return {"type": "error", "error": {"type": "invalid_request_error", "message": answer["message"]}, "request_id": "req_1"}


def _openrouter(answer: JSON, status: int) -> JSON:
    metadata = {"raw": answer["message"], "provider_name": "double"}
    return {"error": {"message": "Provider returned error", "code": status, "metadata": metadata}}


def _bare(answer: JSON, status: int) -> JSON:
    code = answer.get("code", "wrong_api_format")
    return {"message": answer["message"], "type": "invalid_request_error", "param": "validation_error", "code": code}


def _vllm(answer: JSON, status: int) -> JSON:
    return {"error": {"message": answer["message"], "type": "BadRequestError", "param": None, "code": status}}


_ERRORS: dict[str, Any] = {
    "openai": _openai,
    "openai_code": _coded,
    "code_number": _coded,
    "anthropic": _anthropic,
    "google": _google,
    "google_array": lambda answer, status: [_google(answer, status)],
    "detail": lambda answer, status: {"detail": ": ".join(filter(None, (answer["message"], answer["param"])))},
    "zai": lambda answer, status: {"error": {"code": answer.get("code", "1210"), "message": answer["message"]}},
    "dashscope": _dashscope,
    "minimax": _minimax,
    "mistral": _mistral,
    "xai": lambda answer, status: {"code": answer.get("code", "invalid-argument"), "error": answer["message"]},
    "bare": _bare,
    "openrouter": _openrouter,
    "vllm": _vllm,
    "string": lambda answer, status: {"error": answer["message"]},
    "cohere": lambda answer, status: {"id": "1", "message": answer["message"]},
    "databricks": lambda answer, status: {"error_code": "BAD_REQUEST", "message": answer["message"]},
    "cloudflare": lambda answer, status: {
        "errors": [{"code": int(answer.get("code") or 5006), "message": answer["message"]}],
        "success": False,
        "result": None,
        "messages": [],
    },
    "aws": lambda answer, status: {"message": answer["message"]},
}
_ERROR_HEADERS = {"aws": {"x-amzn-errortype": "ValidationException"}}
