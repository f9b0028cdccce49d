"""The hub's request: what any client asks, whatever shape it asked in.

A shape's `decode_request` makes one, a shape's `encode_request` turns it into an upstream body. Everything that was asked is
either a turn's part, a tool or a setting, and each carries its path in the client's body. Encoders *take* settings; what is
left when one returns was not carried, and goes to the ledger by itself (`close`): a field cannot be forgotten silently.
A value that is null or the documented default of its shape is never made a setting: it is equal to absence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .ledger import Ledger, Path

# ---- content: the parts of a turn ----


@dataclass(slots=True)
class Cache:
    """A prompt-cache breakpoint on a part or a tool. long: the long lifetime (messages "1h", chat and responses "12h")."""

    long: bool = False


@dataclass(slots=True)
class Sealed:
    """What a provider wants back verbatim with a text or a tool call.

    form: as of events.Seal. path: where it came, for the ledger. domain: whose it is; None: it came as itself, not in our envelope.
    """

    form: str
    value: str
    path: Path
    domain: str | None = None

    def readable(self, form: str, domain: str) -> bool:
        """Whether an upstream that takes this form, and answers for this domain, can take it back."""
        return self.form == form and self.domain in (None, domain)


@dataclass(slots=True)
class TextPart:
    text: str
    path: Path
    cache: Cache | None = None
    seal: Sealed | None = None
    apart: bool = False  # never one text with its neighbours


@dataclass(slots=True)
class ImagePart:
    """An image by URL, or inline: `data` is clean base64 and `media_type` is set."""

    path: Path
    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""  # auto, low, high, original; "" when not given
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


@dataclass(slots=True)
class SearchResultPart:
    """A retrieved passage that the caller hands to the model (messages `search_result`)."""

    path: Path
    source: str
    title: str
    text: str
    cache: Cache | None = None


@dataclass(slots=True)
class RefusalPart:
    """In history: what the model declined with."""

    text: str
    path: Path


@dataclass(slots=True)
class ReasoningPart:
    """In history: reasoning that a model gave, with what its provider needs to take it back.

    form says what `blocks`/`id`/`encrypted` hold:
    "anthropic": blocks are thinking and redacted_thinking objects, verbatim;
    "openai": id, encrypted and summary of a reasoning item; domain says whose (only that account can read it);
    "text": plain text of an upstream that has nothing else; domain says whose (for text it is not binding outside the messages shape);
    "details": blocks are entries of a chat upstream's `reasoning_details`, verbatim; domain says whose;
    "foreign": nothing of use to anyone but a reader; text may be set;
    "carrier": no reasoning at all: `sealed` belongs to the call that follows (see reasoning.hand_over).
    """

    path: Path  # what the ledger names when it cannot be carried
    form: str
    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    id: str = ""
    encrypted: str = ""
    summary: list[str] = field(default_factory=list)
    domain: str | None = None  # None: came as itself, not in our envelope
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
    """A tool's result. content: its text when that is all there is, else parts."""

    id: str
    content: str | list[TextPart | ImagePart | DocumentPart | SearchResultPart]
    path: Path
    is_error: bool = False
    kind: str = "function"
    cache: Cache | None = None


@dataclass(slots=True)
class ForeignPart:
    """A model-side trace that only its own shape can say (a server tool's call, a hosted item): dropped, and reported as path:label."""

    label: str
    path: Path


Part = TextPart | ImagePart | DocumentPart | SearchResultPart | RefusalPart | ReasoningPart | CallPart | ResultPart | ForeignPart


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
    """A tool definition. kind: function, custom (free text, perhaps with a grammar), web_search, or hosted (its type is the label)."""

    kind: str
    name: str
    path: Path
    description: str | None = None
    schema: dict[str, Any] | None = None  # verbatim; None when the client gave none
    strict: bool | None = None
    grammar: dict[str, str] | None = None  # custom: {"syntax", "definition"}; None is free text
    namespace: str | None = None
    examples: list[Any] = field(default_factory=list)  # messages input_examples
    label: str = ""  # hosted: its type
    # web_search: allowed_domains, blocked_domains, user_location, search_context_size, max_uses
    search: dict[str, Any] = field(default_factory=dict)
    cache: Cache | None = None
    inside: Path = ()  # where the members of the definition stand, behind `path`


@dataclass(slots=True)
class ToolChoice:
    """mode: none, auto, required, tool (name, kind), or allowed (names, and required says whether one must be called)."""

    mode: str
    path: Path
    name: str = ""
    kind: str = "function"  # function | custom | hosted (name is the hosted tool's type)
    names: tuple[str, ...] = ()
    required: bool = False


# ---- settings ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What the caller's API means by itself and says in no field: facts that a decoder gives to the request it makes.

    Encoders ask these and never which shape the caller speaks.
    """

    turns_at: str  # the member that holds the turns
    one_list: bool = False  # it is one list of items, so that what is moved in it is reported as the list
    endpoint: tuple[str, ...] = ()  # settings that concern the caller's endpoint: they mean nothing to another API's upstream
    cache_mark: str  # the member that sets a cache breakpoint; its lifetimes are those of the API that has this word
    image_detail_at: Path = ("detail",)  # inside an image part
    search_at: Mapping[str, Path] = field(default_factory=dict)  # inside a web_search tool; a key that is missing stands at the top
    strict_by_default: bool = False  # a function is strict, where its schema can be, unless it says otherwise
    open_schemas: bool = False  # "strict" goes with any schema; OpenAI's only with a closed one
    fast_tier: bool = True  # "fast" is a word of its service_tier
    shows_thinking: bool = False  # the caller has no way to ask for thinking to be shown, and expects it
    hides_thinking: bool = False  # the caller can ask for thinking to be left out of the answer altogether
    seals_text: bool = False  # reasoning that is nothing but text is bound to whom it came from; elsewhere it is in the open
    results_inside: bool = False  # tool results and what the user says stand in one turn
    system_inside: str = "system"  # the role by which another API knows a system turn that stands among the others


@dataclass(slots=True)
class Thinking:
    """How much the model shall reason, and what of it shall be shown. path is the field that decided."""

    path: Path
    level: str  # off | effort | budget | adaptive
    effort: str | None = None  # none, minimal, low, medium, high, xhigh, max
    budget: int | None = None  # tokens
    show: str = "default"  # default | hide | summary
    summary: str | None = None  # the responses shape's own word: auto, concise, detailed


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


# The hub's names of settings (each decoder maps its shape's fields to these; a field that is not listed stands under its own name):
#   max_tokens int · temperature float · top_p float · top_k int · stop list[str] · seed, logit_bias, presence_penalty,
#   frequency_penalty · logprobs bool · top_logprobs int · output OutputFormat · thinking Thinking · verbosity str
#   tool_choice ToolChoice · parallel_tool_calls bool · include_obfuscation bool · store bool · metadata dict
#   safety_identifier str (chat `user`, messages `metadata.user_id` too) · service_tier str (OpenAI's words, as given)
#   messages_tier str (the messages shape's: auto, standard_only) · speed str · prompt_cache_key str · prompt_cache_options dict
#   prompt_cache_retention str · cache Cache (top-level cache_control) · moderation · web_search_options dict · prediction


@dataclass(slots=True)
class Request:
    """One request in the hub's words. `body` is the client's own JSON object: for the ledger's order and for what an answer echoes."""

    shape: str  # for what an operator reads; what follows from it is in `habits`
    model: str
    body: dict[str, Any]
    stream: bool = False
    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    # what the client asked of the answer's form; read by the encoder of its shape, never sent upstream
    include_usage: bool = False  # chat: stream_options.include_usage
    include_logprobs: bool = False
    include_encrypted: bool = False  # responses: reasoning.encrypted_content, asked for or implied by store: false
    summary: str | None = None  # responses: reasoning.summary
    legacy_functions: bool = False  # chat: declared `functions`, wants `function_call` back
    compacts: bool = False  # responses: the answer is a summary of the conversation (see compaction.py), as one item
    users: list[dict[str, Any]] | None = None  # responses: the messages that a compaction that is asked for by itself gives back
    habits: Habits = Habits(turns_at="messages", cache_mark="")
    taken: dict[str, Path] = field(default_factory=dict)  # where the settings stood that an encoder took

    def set(self, name: str, value: Any, *path: str | int) -> None:
        """Record what was asked; None is absence. path defaults to the name itself."""
        if value is not None:
            self.settings[name] = Setting(value, path or (name,))

    def take(self, name: str) -> Any:
        """The setting's value, which the caller now answers for; None when it was not asked."""
        setting = self.take_setting(name)
        return None if setting is None else setting.value

    def take_setting(self, name: str) -> Setting | None:
        """As `take`, with the path."""
        setting = self.settings.pop(name, None)
        if setting is not None:
            self.taken[name] = setting.path
        return setting

    def path_of(self, name: str) -> Path:
        """Where the caller's body has a setting that was taken."""
        return self.taken.get(name, (name,))

    def ignore(self, names: Iterable[str]) -> None:
        """Take settings that have no meaning for the caller on the other side: nothing is lost, nothing is reported."""
        for name in names:
            self.settings.pop(name, None)

    def close(self) -> None:
        """Report every setting that nobody took."""
        for setting in self.settings.values():
            self.ledger.drop(setting.path)
        self.settings.clear()
