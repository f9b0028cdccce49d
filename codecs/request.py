"""The hub's request, independent of the client's shape.

A shape's `decode_request` creates one, a shape's `encode_request` turns it into an upstream body. Everything requested is a part of a
turn, a tool or a setting, and each has its path in the client's body. Encoders *take* settings; those left when an encoder returns
were not carried, and `close` reports them in the ledger: no field is lost silently.
Null and the documented default of the shape never become a setting: they count as absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .anything import at
from .errors import Malformed, Unsupported
from .ledger import Ledger, Path, concrete

# ---- content: the parts of a turn ----


@dataclass(slots=True)
class Cache:
    """A prompt-cache breakpoint on a part or a tool. long: the long lifetime (messages "1h", chat and responses "12h")."""

    long: bool = False


@dataclass(slots=True)
class Sealed:
    """Opaque data that a provider needs back verbatim with a text or tool call.

    form: as in events.Seal. path: its path, for the ledger. domain: its origin; None: it was sent without an envelope of the gateway.
    """

    form: str
    value: str
    path: Path
    domain: str | None = None

    def readable(self, form: str, domain: str) -> bool:
        """Whether an upstream with this form and domain can read it."""
        return self.form == form and self.domain in (None, domain)


@dataclass(slots=True)
class TextPart:
    text: str
    path: Path
    cache: Cache | None = None
    seal: Sealed | None = None
    apart: bool = False  # not to be joined with adjacent texts
    loads: tuple[str, ...] = ()  # names of tools that it says are available from here on
    citations: tuple[dict[str, Any], ...] = ()  # in an answer of the history, as the Messages API has them


@dataclass(slots=True)
class ImagePart:
    """An image by URL, or inline: then `data` is clean base64 and `media_type` is set."""

    path: Path
    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""  # auto, low, high, original; "" if absent
    cache: Cache | None = None


@dataclass(slots=True)
class DocumentPart:
    """A document: exactly one of `data` (base64, with media_type), `url`, `text` and `parts` (texts and images) is set."""

    path: Path
    media_type: str = ""
    data: str = ""
    url: str = ""
    text: str | None = None
    parts: list[TextPart | ImagePart] | None = None
    title: str = ""  # or file name
    context: str = ""
    cache: Cache | None = None
    cites: bool = False  # the answer is to cite it


@dataclass(slots=True)
class AudioPart:
    """Sound in a user's turn: clean base64, and its media type."""

    path: Path
    media_type: str
    data: str


@dataclass(slots=True)
class SearchResultPart:
    """A retrieved passage supplied by the caller (messages `search_result`)."""

    path: Path
    source: str
    title: str
    text: str
    cache: Cache | None = None
    cites: bool = False  # the answer is to cite it
    texts: tuple[str, ...] = field(default=(), compare=False)  # the blocks whose lines `text` has


@dataclass(slots=True)
class RefusalPart:
    """A refusal of the model, in history."""

    text: str
    path: Path


@dataclass(slots=True)
class ReasoningPart:
    """A model's reasoning in history, with what its provider needs to read it.

    form determines the content of `blocks`, `id` and `encrypted`:
    "anthropic": blocks are thinking and redacted_thinking objects, verbatim;
    "openai": id, encrypted and summary of a reasoning item; domain: its origin (only that account can read it);
    "text": plain text of an upstream without seals; domain: its origin (only binding in the messages shape);
    "details": blocks are entries of a chat upstream's `reasoning_details`, verbatim; domain: their origin;
    "foreign": not usable by any upstream; text may be set; with `sealed`, this is of the call with `id`;
    "carrier": `sealed` belongs to the call that follows, "trailer": to the text before it (see reasoning.hand_over).
    """

    path: Path  # reported in the ledger if it cannot be carried
    form: str
    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    id: str = ""
    encrypted: str = ""
    summary: list[str] = field(default_factory=list)
    domain: str | None = None  # None: sent without an envelope of the gateway
    sealed: Sealed | None = None


@dataclass(slots=True)
class CallPart:
    """A tool call in history. arguments: JSON text, or a custom tool's free text."""

    id: str
    name: str
    arguments: str
    path: Path
    kind: str = "function"  # function | custom
    namespace: str | None = None
    cache: Cache | None = None
    seal: Sealed | None = None


@dataclass(slots=True)
class ResultPart:
    """A tool's result. content: a string if it is only text, else parts."""

    id: str
    content: str | list[TextPart | ImagePart | DocumentPart | SearchResultPart]
    path: Path
    is_error: bool = False
    kind: str = "function"
    cache: Cache | None = None
    name: str = ""  # the tool's, where the caller repeats it

    @property
    def only_text(self) -> str | None:
        """The content if it is one text, and nothing else is to be written; else None."""
        content = self.content
        if self.cache is not None:
            return None
        if isinstance(content, str):
            return content
        if len(content) == 1 and type(part := content[0]) is TextPart and part.cache is None:
            return part.text
        return None


@dataclass(slots=True)
class ForeignPart:
    """Assistant content that only its own shape can express (a server tool's call, a hosted item): dropped and reported as path:label."""

    label: str
    path: Path


Part = (
    TextPart | ImagePart | DocumentPart | AudioPart | SearchResultPart | RefusalPart | ReasoningPart | CallPart | ResultPart | ForeignPart
)


@dataclass(slots=True)
class Turn:
    """One message: role is system, developer, user, assistant or tool. plain: its content was one string, not a list of parts."""

    role: str
    parts: list[Part]
    path: Path
    plain: bool = False


# ---- tools ----


@dataclass(slots=True)
class Tool:
    """A tool definition. kind: function, custom (free text, perhaps with a grammar), web_search, tool_search, or hosted.

    tool_search: the provider searches the deferred tools. hosted: any other that runs at the provider; its type is the label.
    """

    kind: str
    name: str
    path: Path
    description: str | None = None
    schema: dict[str, Any] | None = None  # verbatim; None if the client sent none
    strict: bool | None = None
    grammar: dict[str, str] | None = None  # custom: {"syntax", "definition"}; None is free text
    namespace: str | None = None
    examples: list[Any] = field(default_factory=list)  # messages input_examples
    label: str = ""  # its type in the caller's API, where that is not a function's
    # web_search: allowed_domains, blocked_domains, user_location, search_context_size, max_uses
    search: dict[str, Any] = field(default_factory=dict)
    cache: Cache | None = None
    inside: Path = ()  # path of the definition's members, relative to `path`
    deferred: bool = False  # the model is to find it first, see deferral.py


@dataclass(slots=True)
class ToolChoice:
    """A tool choice. mode: none, auto, required, tool (name, kind), or allowed (names; required: whether one must be called)."""

    mode: str
    path: Path
    name: str = ""
    kind: str = "function"  # function | custom | hosted (name is the hosted tool's type)
    names: tuple[str, ...] = ()
    required: bool = False


@dataclass(slots=True)
class ToolChanges:
    """Changes of the tools within the conversation, for upstreams that know such. `Request.tools` are those at its end.

    tools: all that there ever are, the first ones first. made: (whether it is added, the tool, the path of the change), in order.
    """

    tools: list[Tool]
    made: list[tuple[bool, Tool, Path]] = field(default_factory=list)


# ---- settings ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Implicit properties of the caller's API, which no field expresses. Decoders set them on the request.

    Encoders read these instead of the caller's shape.
    """

    turns_at: str  # the member with the turns
    one_list: bool = False  # the turns are one flat list of items: changes of their order are reported as the list
    endpoint: tuple[str, ...] = ()  # settings of the caller's endpoint, without a meaning for another API's upstream
    cache_mark: str  # the member that sets a cache breakpoint; it also determines the lifetimes
    image_detail_at: Path = ("detail",)  # inside an image part
    search_at: Mapping[str, Path] = field(default_factory=dict)  # inside a web_search tool; other members are at its top level
    strict_by_default: bool = False  # functions are strict by default if their schema allows it
    open_schemas: bool = False  # "strict" is allowed with any schema, not only with a closed one as in OpenAI's APIs
    fast_tier: bool = True  # "fast" is a value of its service_tier
    shows_thinking: bool = False  # callers expect to see reasoning, and have no setting for it
    hides_thinking: bool = False  # callers can request an answer without any reasoning
    seals_text: bool = False  # reasoning that is only text is bound to its origin; in other shapes it is not
    results_inside: bool = False  # tool results and user content are in one turn
    silent_json: bool = False  # JSON may be asked for without a word of it in the conversation
    system_inside: str = "system"  # the role of a system turn among the others, in other APIs


@dataclass(slots=True)
class Thinking:
    """How much the model reasons, and what of it is shown. path: the field that decided."""

    path: Path
    level: str  # off | effort | budget | adaptive
    effort: str | None = None  # none, minimal, low, medium, high, xhigh, max
    budget: int | None = None  # tokens
    show: str = "default"  # default | hide | summary
    summary: str | None = None  # the responses shape's value: auto, concise, detailed


@dataclass(slots=True)
class OutputFormat:
    """Structured output. kind: json_object or json_schema."""

    kind: str
    path: Path
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class Setting(NamedTuple):
    value: Any
    path: Path


# The hub's names of settings (each decoder maps its shape's fields to these; a field that is not listed has its own name):
#   max_tokens int · temperature float · top_p float · top_k int · stop list[str] · seed, logit_bias, presence_penalty,
#   frequency_penalty · logprobs bool · top_logprobs int · output OutputFormat · thinking Thinking · verbosity str
#   tool_choice ToolChoice · parallel_tool_calls bool · include_obfuscation bool · store bool · metadata dict
#   safety_identifier str (chat `user`, messages `metadata.user_id` too) · service_tier str (OpenAI's values, unchanged)
#   messages_tier str (the messages shape's: auto, standard_only) · speed str · prompt_cache_key str · prompt_cache_options dict
#   prompt_cache_retention str · cache Cache (top-level cache_control) · moderation · web_search_options dict · prediction


@dataclass(slots=True)
class Request:
    """A request in hub form. body: the client's JSON object, for the order of the ledger and the settings echoed in the answer."""

    shape: str  # only for logs and metrics; its properties are in `habits`
    model: str
    body: dict[str, Any]
    stream: bool = False
    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    # settings of the answer's form; read by the encoder of the client's shape, never sent upstream
    include_usage: bool = False  # chat: stream_options.include_usage
    include_logprobs: bool = False
    summary: str | None = None  # responses: reasoning.summary
    show_thoughts: bool = False  # gemini: thinkingConfig.includeThoughts
    phases: bool = False  # responses: what the model said before is marked as commentary or as the final answer
    legacy_functions: bool = False  # chat: declared `functions`, expects `function_call`
    own_tools: dict[str, str] = field(default_factory=dict)  # responses: functions that are tools of its own, see responses/own_tools.py
    self_named: set[str] = field(default_factory=set)  # responses: tools whose calls have their own name as namespace
    warms: str = ""  # only the provider's cache is to be prepared: the reason to stop for of an answer that says nothing
    changes: ToolChanges | None = None  # messages: of `tools`, where there are any
    defers: bool = False  # some of its tools are deferred, or the provider is asked to search them
    compacts: bool = False  # responses: the answer is a summary of the conversation (see compaction.py), as one item
    users: list[dict[str, Any]] | None = None  # responses: the messages that a compaction that is asked for by itself gives back
    habits: Habits = Habits(turns_at="messages", cache_mark="")
    taken: dict[str, Path] = field(default_factory=dict)  # the paths of the settings that an encoder took

    def set(self, name: str, value: Any, *path: str | int) -> None:
        """Set a setting; None counts as absent. path: defaults to the name."""
        if value is not None:
            self.settings[name] = Setting(value, path or (name,))

    def take(self, name: str) -> Any:
        """Remove a setting and return its value, which the calling encoder must carry or report; None if it was not set."""
        setting = self.take_setting(name)
        return None if setting is None else setting.value

    def take_setting(self, name: str) -> Setting | None:
        """As `take`, but return the value with its path."""
        setting = self.settings.pop(name, None)
        if setting is not None:
            self.taken[name] = setting.path
        return setting

    def take_limit(self) -> Setting | None:
        """The token limit. Raises Malformed for one below 1."""
        setting = self.take_setting("max_tokens")
        if setting is not None and setting.value < 1:
            param = concrete(setting.path)
            raise Malformed(f"{param} must be at least 1", code="invalid_value", param=param)
        return setting

    def take_stops(self) -> list[str]:
        """The stop sequences, each once, for APIs that refuse blank ones: these are reported."""
        setting = self.take_setting("stop")
        if setting is None:
            return []
        stops = [setting.value] if isinstance(setting.value, str) else setting.value
        if any(not stop.strip() for stop in stops):
            self.ledger.drop(setting.path)
        return list(dict.fromkeys(stop for stop in stops if stop.strip()))

    def path_of(self, name: str) -> Path:
        """The path in the client's body of a setting that was taken."""
        return self.taken.get(name, (name,))

    def ignore(self, names: Iterable[str]) -> None:
        """Remove settings without a meaning for the upstream, without a report."""
        for name in names:
            self.settings.pop(name, None)

    def close(self, region: str = "") -> None:
        """Report every setting that nobody took. Raises errors.Unsupported for one that the caller relies on.

        region: where the upstream processes requests; "" if that is not known.
        """
        for name, setting in self.settings.items():
            if name == "moderation" and _blocks(setting.value):
                raise Unsupported("moderation that blocks is not supported by the selected model", param="moderation")
            if name == "inference_geo" and setting.value != region:
                raise Unsupported("inference_geo: the selected model is not known to run in that region", param="inference_geo")
            if name != "inference_geo":
                self.ledger.drop(setting.path)
        self.settings.clear()


def _blocks(moderation: Any) -> bool:
    """Whether what it finds is to be blocked, and not only to be told."""
    policy = at(moderation, "policy")
    rules = policy.values() if isinstance(policy, dict) else ()
    return any(isinstance(rule, dict) and rule.get("mode") == "block" for rule in rules)
