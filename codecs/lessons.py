"""Learn from an upstream's refusals, and change later bodies for that upstream and model accordingly.

Strategy: a refusal is interpreted in two steps. A shape's table (`Shape.lessons`) recognises refusals by their text and maps them to a
flag of the capabilities, a change of the body, or the use of another API. Any other refusal is a lesson if it names one member of the
sent body as unknown or unsupported: that member is left out. Essential content is never left out (ESSENTIAL, and list elements except
SPARE): such a refusal is returned to the caller.

A refused value (an effort, a limit) only excludes that value, and only if the gateway wrote it: a caller of the upstream's own API
intended the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from . import jsontext, subsets
from .capabilities import Capabilities
from .errors import GatewayError
from .ledger import Path

Body = dict[str, Any]
Steps = tuple[str, ...]  # names of members; EACH for the elements of a list
Change = Callable[[Body], tuple[Body, Path | None]]
"""(body) → the changed body and the first changed path; the same object and None if nothing was changed."""

EACH = "[]"
ANY: Any = object()  # any value

# essential members: without them the request would have another meaning
ESSENTIAL = frozenset({
    "model", "messages", "input", "system", "instructions", "prompt", "tools", "functions", "tool_choice", "function_call",
    "response_format", "text.format", "output_config.format", "n", "stream", "previous_response_id", "conversation", "container",
    "mcp_servers", "background", "modalities", "audio", "web_search_options", "contents", "systemInstruction", "cachedContent",
    "toolConfig.functionCallingConfig", "generationConfig.responseMimeType", "generationConfig.responseSchema",
    "generationConfig.responseJsonSchema", "generationConfig.responseFormat", "generationConfig.responseModalities",
    "generationConfig.candidateCount",
    # what a caller has allowed or forbidden: to go on without it is the caller's decision (Claude Code's, of `safeguards`)
    "safeguards", "thread", "inference_geo", "moderation", "multi_agent", "safetySettings", "safety_settings",
})  # fmt: skip
# values equal to the default, which can be left out nevertheless
IDLE: Mapping[str, tuple[Any, ...]] = {
    "tool_choice": ("auto", {"type": "auto"}),
    "function_call": ("auto",),
    "inference_geo": ("global",),
    "n": (1,),
    "modalities": (["text"],),
}
# members of list elements that can be left out
SPARE = frozenset({
    "messages.name", "messages.phase", "messages.status", "messages.id", "messages.refusal", "messages.annotations",
    "messages.reasoning", "messages.reasoning_content", "messages.reasoning_details", "messages.reasoning_text",
    "messages.tool_calls.index", "messages.tool_calls.extra_content", "messages.content.cache_control", "messages.content.citations",
    "messages.content.prompt_cache_breakpoint", "messages.content.image_url.detail", "messages.content.content.cache_control",
    "system.cache_control", "tools.cache_control", "tools.strict", "tools.function.strict", "tools.defer_loading",
    "tools.eager_input_streaming", "tools.input_examples", "tools.allowed_callers", "input.status", "input.id", "input.phase",
    "input.content.annotations", "input.content.logprobs", "input.content.detail", "input.content.prompt_cache_breakpoint",
    "contents.parts.functionCall.id", "contents.parts.functionResponse.id",
})  # fmt: skip

_LONGEST = 2000  # characters of an error that are read
_UNKNOWN = re.compile(
    r"unsupported|unknown|unrecogni[sz]ed|unexpected|extra_forbidden|extra (?:inputs|fields|keys)|additional propert|only the default"
    r"|deprecated|not (?:[a-z]{1,12} )?(?:supported|permitted|allowed|available|recogni[sz]ed|accepted)|(?:does not|doesn't) support"
    r"|(?:parameter|argument|field|property|member) is not",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"unsupported_value|invalid_value|(?:unsupported|invalid) value|does not support ['\"`]|(?:supported|valid|allowed) (?:values|options)"
    r"|must be one of|should be one of|input should be",
    re.IGNORECASE,
)
_ONLY_DEFAULT = re.compile(r"only the default", re.IGNORECASE)
_PLACE = re.compile(r"(?:body\.)?([A-Za-z_]\w*(?:[.\[][\w\]]+)*): ")
_WORD = re.compile(r"[A-Za-z_][\w.]*")
_STEP = re.compile(r"\[\]|[^.\[\]]+")
_CAPITAL = re.compile(r"([a-z0-9])([A-Z])")
_CAMEL = re.compile(r"_([a-z0-9])")
_INTRODUCES = re.compile(
    r"(?:parameters?|arguments?|fields?|members?|property|properties|keys?|names?|inputs?)(?:\(s\))?[^\w.]{1,4}\Z", re.IGNORECASE
)
_QUOTES = "'\"`"
_INSTEAD = re.compile(r"[.;,] (?:please )?use [`'\"]", re.IGNORECASE)  # from here a refusal says what it would take


class Reading(NamedTuple):
    """A row of a shape's table.

    sent: bytes that the body must contain for the row to apply. refusal: pattern for code, param and message, joined by spaces.
    written: whether the row only applies to bodies written by the gateway. The other members are those of the Lesson.
    """

    about: str
    refusal: re.Pattern[str]
    text: str
    sent: bytes = b""
    flags: Mapping[str, Any] = {}
    change: Change | None = None
    adapts: str = ""
    elsewhere: bool = False
    written: bool = False
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learned from a refusal.

    about: the subject; a later lesson with the same subject replaces this one. text: for people, shown after the upstream's name.
    flags: capabilities that apply from now on, by field. change: applied to every later body. adapts: the member reported when the
    body was changed; "": the member left out. elsewhere: it can only be followed over another API. lasting: whether it is remembered
    for a while; otherwise it only applies to this request. member: which is left out, as of `shown`; only: if it has this value.
    """

    about: str
    text: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    change: Change | None = None
    adapts: str = ""
    elsewhere: bool = False
    lasting: bool = True
    member: str = ""
    only: Any = ANY


def read(table: tuple[Reading, ...], error: GatewayError, sent: bytes, own: bool, elsewhere: bool) -> Lesson | None:
    """Return the lesson of a refusal; None if it concerns the caller.

    sent: the refused body. own: whether it is the caller's, in its own API. elsewhere: whether another API of the upstream is available.
    """
    words = " ".join(filter(None, (error.code, error.param, error.message)))[:_LONGEST]
    rows = [row for row in table if row.sent in sent and row.refusal.search(words)]
    for row in rows:
        if (elsewhere or not row.elsewhere) and not (own and row.written):
            return _of_row(row)
    if rows:
        return None  # recognised, but nothing can be changed
    return _about_member(error, words, sent, own)


ONLY_STREAMS = Reading(
    "whole answers",
    re.compile(r"\bstream(?:ing)?\b.{0,20}(?:must be|is required|is needed|only)|(?:must|only).{0,30}\bstream(?:ing)?\b", re.IGNORECASE),
    "it answers streams alone",
    flags={"whole_answers": "never"},
)
"""Rows for every API; see `Shape.only_streams`."""


REFUSED_BETAS = Reading(
    "betas",
    re.compile(r"invalid beta flag|unexpected value\(s\).{1,400}anthropic-beta", re.IGNORECASE | re.DOTALL),
    "no value of anthropic-beta is sent",
    flags={"m_betas": False},
)
"""Of the APIs that Claude has."""


OTHER_ROUTE = Reading(
    "path",
    re.compile(r"isn.t supported on this route", re.IGNORECASE),
    "the model is served at the provider's other path",
    flags={"misplaced": True},
)
"""Bedrock's mantle has OpenAI's models at one path and all others at another."""


def each(body: Body, member: str, change: Callable[[dict[str, Any]], Any]) -> tuple[Body, Path | None]:
    """The body with the objects of a list changed, and the place of the first. change: returns what it does not change as it is."""
    before = body.get(member)
    if not isinstance(before, list):
        return body, None
    after = [change(one) if isinstance(one, dict) else one for one in before]
    first = next((place for place, (new, old) in enumerate(zip(after, before, strict=True)) if new is not old), None)
    return (body, None) if first is None else (body | {member: after}, (member, first))


def _of_functions(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """The change of the functions among a body's tools. change: returns a function that it does not change as it is."""

    def changed(tool: dict[str, Any]) -> dict[str, Any]:
        if tool.get("type") != "function":
            return tool
        if isinstance(tool.get("function"), dict):
            function = change(tool["function"])
            return tool if function is tool["function"] else tool | {"function": function}
        return change(tool)

    return lambda body: each(body, "tools", changed)


def _merged(function: dict[str, Any]) -> dict[str, Any]:
    """The function with one object for all alternatives that its schema has at the root."""
    schema = function.get("parameters")
    merged = subsets.restricted(schema, ("no_root_union",)) if isinstance(schema, dict) else schema
    return function if merged is schema else function | {"parameters": merged}


MISSING_PROPERTIES = Reading(
    "schemas",
    re.compile(r"schema (?:missing|lacks) (?:properties|items)|function parameters is empty"),
    "an object's schema needs properties",
    sent=b'"tools"',
    change=_of_functions(subsets.with_parameters),
    adapts="tools",
)
ROOT_UNIONS = Reading(
    "roots",
    re.compile(r"must have type 'object' and not have|does not support oneOf.{0,40}top level", re.IGNORECASE),
    "a tool's schema has no alternatives at the root",
    sent=b'"tools"',
    change=_of_functions(_merged),
    adapts="tools",
)
"""Of OpenAI's APIs. Their own callers' tools are not looked through before: an agent has many, and they seldom need it."""


def surrogates(adapts: str) -> Reading:
    """A row for text that was cut within a character: JSON can say it, and many servers refuse it. adapts: where such text is."""
    return Reading(
        "surrogates",
        re.compile(r"\bsurrogate", re.IGNORECASE),
        "halves of characters are replaced",
        sent=b"\\u",
        change=lambda body: (body, None) if (whole := jsontext.mended(body)) is body else (whole, (adapts,)),
        adapts=adapts,
        lasting=False,
    )


def not_served(api: str) -> Reading:
    """A row for a model that is not served over this API."""
    return Reading(
        "api",
        re.compile(
            r"unsupported_api_for_model|does not support (?:the |this )?['\"`/\w]{0,40} ?API|served by another endpoint"
            r"|only (?:supported|available) in v1/|not supported (?:in|on|with) (?:the |this )?['\"`/\w]{0,40} ?(?:endpoint|route|API)",
            re.IGNORECASE,
        ),
        f"the model is not served over {api}",
        flags={"unserved": (api,)},
        elsewhere=True,
    )


def known(lessons: tuple[Lesson, ...], capabilities: Capabilities) -> Capabilities:
    """Return the capabilities, corrected by the lessons."""
    changed = {name: value for lesson in lessons for name, value in lesson.flags.items()}
    return replace(capabilities, known=capabilities.known | changed.keys(), **changed) if changed else capabilities


def leave_out(*steps: str, only: Any = ANY) -> Change:
    """Return the change that leaves out one member."""
    return partial(without, steps=steps, only=only)


def rename(old: str, new: str) -> Change:
    """Return the change that renames a member of the body."""

    def renamed(body: Body) -> tuple[Body, Path | None]:
        if old not in body:
            return body, None
        return {(new if name == old else name): value for name, value in body.items() if name != new}, (old,)

    return renamed


def setting(name: str, value: Any) -> Change:
    """Return the change that sets a member of the body to this value."""

    def changed(body: Body) -> tuple[Body, Path | None]:
        return (body, None) if body.get(name) == value else (body | {name: value}, (name,))

    return changed


def without(value: Any, steps: Steps, only: Any = ANY) -> tuple[Any, Path | None]:
    """Return a value without a member, and its first path. Unchanged objects are not copied. only: remove it only if it has this value."""
    head, *rest = steps
    if head == EACH:
        return _each_without(value, tuple(rest), only)
    if not isinstance(value, dict) or head not in value:
        return value, None
    others = {name: inner for name, inner in value.items() if name != head}
    if not rest:
        return (others, (head,)) if only is ANY or value[head] == only else (value, None)
    inner, path = without(value[head], tuple(rest), only)
    if path is None:
        return value, None
    return (value | {head: inner} if inner != {} else others), (head, *path)


def _each_without(value: Any, steps: Steps, only: Any) -> tuple[Any, Path | None]:
    if not isinstance(value, list) or (len(steps) == 1 and not any(isinstance(item, dict) and steps[0] in item for item in value)):
        return value, None
    items, first = [], None
    for number, item in enumerate(value):
        item, path = without(item, steps, only)
        items.append(item)
        if path is not None and first is None:
            first = (number, *path)
    return (value, None) if first is None else (items, first)


# ---- for another process ----


def described(lesson: Lesson) -> dict[str, str]:
    """A lesson as texts; `recalled` makes it of them again."""
    texts = {"about": lesson.about, "text": lesson.text, "member": lesson.member}
    return texts if lesson.only is ANY else texts | {"only": jsontext.dumps(lesson.only).decode()}


def recalled(table: tuple[Reading, ...], described: Mapping[str, str]) -> Lesson | None:
    """The lesson of `described`; None if the shape's table has no such row."""
    about, text, member = described["about"], described["text"], described["member"]
    if member:
        return _leaving(about, text, member, jsontext.loads(described["only"]) if "only" in described else ANY)
    row = next((row for row in table if row.about == about and row.text == text), None)
    return row and _of_row(row)


def _of_row(row: Reading) -> Lesson:
    return Lesson(row.about, row.text, row.flags, row.change, row.adapts, row.elsewhere, row.lasting)


# ---- which member a refusal names ----


def _about_member(error: GatewayError, words: str, sent: bytes, own: bool) -> Lesson | None:
    value_alone = _VALUE.search(words) is not None and _ONLY_DEFAULT.search(words) is None
    if (value_alone and own) or not (value_alone or _UNKNOWN.search(words)):
        return None
    body: Body = jsontext.loads(sent)
    steps = _named(error, body)
    if steps is None or not _spare(steps, body):
        return None
    name = shown(steps)
    if value_alone:
        value = _at(body, steps)
        return _leaving(f"{name}={value!r}", f"{name} {value!r} is left out"[:200], name, value)
    return _leaving(name, f"{name} is left out", name, ANY)


def _leaving(about: str, text: str, member: str, only: Any) -> Lesson:
    return Lesson(about, text, change=leave_out(*steps_to(member), only=only), member=member, only=only)


def steps_to(name: str) -> Steps:
    """What `shown` shows."""
    return tuple(_STEP.findall(name))


def shown(steps: Steps) -> str:
    """The member's name for people, for example tools[].strict."""
    return "".join(step if step == EACH else f".{step}" for step in steps).lstrip(".")


def _named(error: GatewayError, body: Body) -> Steps | None:
    """The refused member: from `param`, from a path at the start of the message, or from a name inside it."""
    if error.param and (resolved := _resolved(error.param[:_LONGEST], body)):
        return resolved
    message = _INSTEAD.split(error.message[:_LONGEST], maxsplit=1)[0]
    place = _PLACE.match(message)
    if place and (resolved := _resolved(place[1], body)):
        return resolved
    members = {"_".join(step for step in steps if step != EACH): steps for steps in _spare_members(body)}
    members |= {steps[-1]: steps for steps in members.values() if EACH in steps}
    members |= {steps[0]: steps for steps in ((name,) for name in body)}
    for word in _WORD.finditer(message):
        steps = members.get(_CAPITAL.sub(r"\1_\2", word[0]).lower().strip(".").replace(".", "_"))
        if steps is not None and ("_" in word[0] or "." in word[0].strip(".") or _points_at(message, *word.span())):
            return steps
    return None


def _points_at(message: str, start: int, end: int) -> bool:
    """Whether a word of the message is used as a member's name rather than as an English word."""
    if start == 0 or _CAPITAL.search(message[start:end]):
        return True
    if message[:start].endswith(": ") and not message[end:].strip(" .'`\""):
        return True
    quoted = message[start - 1] in _QUOTES and message[end : end + 1] in tuple(_QUOTES)
    return quoted or _INTRODUCES.search(message, max(0, start - 20), start) is not None


def _resolved(place: str, body: Body) -> Steps | None:
    """Resolve a path from an error in this body. Names that are not in the body (the tag of a variant) are skipped."""
    tokens = re.findall(r"\w+", place.removeprefix("body."))
    nodes: list[Any] = [body]
    steps: list[str] = []
    for token in tokens:
        if any(isinstance(node, list) for node in nodes):
            nodes = [item for node in nodes if isinstance(node, list) for item in node]
            steps.append(EACH)
        if token.isdecimal():
            continue
        for name in (token, _CAPITAL.sub(r"\1_\2", token).lower(), _CAMEL.sub(lambda match: match[1].upper(), token)):
            if values := [node[name] for node in nodes if isinstance(node, dict) and name in node]:
                nodes = values
                steps.append(name)
                break
        else:
            if token is tokens[-1]:
                return None
    return tuple(steps) if steps and steps[-1] != EACH else None


def _spare_members(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    """The members below the top level of a body that can be left out."""
    if isinstance(value, list):
        for item in value:
            yield from _spare_members(item, (*steps, EACH))
    elif isinstance(value, dict) and len(steps) < 8:
        for name, inner in value.items():
            here = (*steps, name)
            if EACH not in here or ".".join(step for step in here if step != EACH) in _SPARE_AND_ABOVE:
                if steps and not isinstance(inner, list) and (EACH not in here or _spare_name(here)):
                    yield here
                yield from _spare_members(inner, here)


def _spare_name(steps: Steps) -> bool:
    return ".".join(step for step in steps if step != EACH) in SPARE


_SPARE_AND_ABOVE = SPARE | {name[:at] for name in SPARE for at in range(len(name)) if name[at] == "."}


def _spare(steps: Steps, body: Body) -> bool:
    """Whether the request has the same meaning without this member."""
    name = ".".join(step for step in steps if step != EACH)
    if EACH in steps:
        return _spare_name(steps)
    if name in IDLE and any(_at(body, steps) == value for value in IDLE[name]):
        return True
    if any(name == one or name.startswith(f"{one}.") for one in ESSENTIAL):
        return False
    return not any(one.startswith(f"{name}.") and _at(body, tuple(one.split("."))) is not None for one in ESSENTIAL)


def _at(value: Any, steps: Steps) -> Any:
    for step in steps:
        if step == EACH:
            value = value[0] if isinstance(value, list) and value else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
