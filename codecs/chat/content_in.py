"""Decode a chat client's messages into hub turns: content parts, reasoning, tool calls and results."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import jsontext, media, prose, quirks
from ..anything import at
from ..errors import UnsupportedContent, unsupported_content
from ..fields import Fields, invalid, missing, wrong_type
from ..ids import digest
from ..ledger import Ledger, Path
from ..request import (
    AudioPart,
    Cache,
    CallPart,
    DocumentPart,
    ForeignPart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    ResultPart,
    Sealed,
    TextPart,
    Turn,
)
from .reasoning_in import decode_reasoning, in_order

_ASKED = frozenset({"system", "developer", "user"})
# members of an agent's messages, by role
_USUAL = dict.fromkeys(_ASKED, frozenset({"role", "content"})) | {
    "assistant": frozenset({"role", "content", "tool_calls", *quirks.REASONING_FIELDS}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}
_OF_CALL = frozenset({"id", "type", "function", "index"})


class MessageReader:
    """Reads the messages of one request, in order."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._unanswered: dict[str, list[str]] = {}  # by name the ids of each `function_call` without a result so far

    def turn(self, message: Any, i: int) -> Turn:
        """Return the hub turn of `message`, the one at index `i`. Raises subclasses of errors.ClientFault."""
        return _usual_turn(message, i) or self._turn(message, i)

    def _turn(self, message: Any, i: int) -> Turn:
        fields = Fields(message, ("messages", i))
        role = fields.required("role")
        if role in _ASKED:
            turn = self._asked(fields, role)
        elif role == "assistant":
            turn = self._assistant(fields, i)
        elif role == "tool":
            name = fields.take("name")  # some clients repeat the tool's name here
            turn = self._result(fields, fields.required("tool_call_id"), name if isinstance(name, str) else "")
        elif role == "function":
            name = fields.required("name")
            turn = self._result(fields, self._answered(name, i), name)
        else:
            raise wrong_type((*fields.path, "role"), "system, developer, user, assistant, tool or function")
        fields.report(self._ledger)
        return turn

    def _asked(self, fields: Fields, role: str) -> Turn:
        content = fields.take("content")
        path = (*fields.path, "content")
        if content is None:
            raise missing(path)
        parts = self._marked(fields, self._parts(content, path, role))
        return Turn(role, parts, fields.path, plain=isinstance(content, str))

    def _marked(self, fields: Fields, parts: list[Part]) -> list[Part]:
        """Set a cache breakpoint found on the message itself, where clients with string content put it."""
        cache = cache_of(fields, self._ledger)
        if cache is not None and parts and isinstance(parts[-1], TextPart | ImagePart | DocumentPart):
            parts[-1].cache = parts[-1].cache or cache
        return parts

    def _assistant(self, fields: Fields, i: int) -> Turn:
        path = fields.path
        if fields.take("audio") is not None:
            raise unsupported_content("audio", (*path, "audio"))
        fields.ignore("parsed")  # the content as parsed by the SDK
        content = fields.take("content")
        texts = [] if content is None else self._marked(fields, self._parts(content, (*path, "content"), "assistant"))
        refusal = fields.text("refusal")
        if refusal:
            texts.append(RefusalPart(refusal, (*path, "refusal")))
        calls: list[Part] = [self._call(call, (*path, "tool_calls", k)) for k, call in enumerate(fields.items("tool_calls") or [])]
        sealed = sealed_of(fields, self._ledger)
        if sealed is not None and texts and isinstance(texts[-1], TextPart):
            texts[-1].seal = sealed
        elif sealed is not None:
            self._ledger.drop(sealed.path)
        legacy = fields.inner("function_call")
        if legacy is not None:
            calls.append(self._function_call(legacy, i))
        thoughts, layout = decode_reasoning(fields)
        parts = in_order(layout, thoughts, texts, calls)
        return Turn("assistant", parts, path, plain=isinstance(content, str) and len(parts) == 1)

    # ---- calls and results ----

    def _call(self, call: Any, path: Path) -> CallPart:
        fields = Fields(call, path)
        fields.ignore("index")  # left over from the stream
        id = fields.required("id")
        kind = fields.text("type") or ("custom" if call.get("custom") is not None else "function")
        if kind not in ("function", "custom"):
            raise wrong_type((*path, "type"), "function or custom")
        inner = fields.inner(kind)
        if inner is None:
            raise missing((*path, kind))
        text = _arguments(inner) if kind == "function" else inner.text("input") or ""
        part = CallPart(id, inner.required("name"), text, path, kind)
        part.seal = sealed_of(fields, self._ledger)
        inner.report(self._ledger)
        fields.report(self._ledger)
        return part

    def _function_call(self, fields: Fields, i: int) -> CallPart:
        name = fields.required("name")
        id = "call_" + digest(f"{i}:{name}", 24)
        self._unanswered.setdefault(name, []).append(id)
        return CallPart(id, name, _arguments(fields), fields.path)

    def _answered(self, name: str, i: int) -> str:
        """The id of the latest call of that name without a result; one derived from `i` if there is none."""
        ids = self._unanswered.get(name)
        return ids.pop() if ids else "call_" + digest(f"{i}:{name}", 24)

    def _result(self, fields: Fields, id: str, name: str) -> Turn:
        content = fields.take("content")
        cache = cache_of(fields, self._ledger)
        result: ResultPart
        if content is None or isinstance(content, str):
            result = ResultPart(id, content or "", fields.path, cache=cache, name=name)
        else:
            result = ResultPart(id, self._in_result(content, (*fields.path, "content")), fields.path, cache=cache, name=name)
        return Turn("tool", [result], fields.path)

    # ---- parts ----

    def _parts(self, content: Any, path: Path, role: str) -> list[Part]:
        if isinstance(content, str):
            return [TextPart(content, path)]
        if not isinstance(content, list):
            raise wrong_type(path, "a string or a list")
        return [self._part(part, role, (*path, k)) for k, part in enumerate(content)]

    def _in_result(self, content: Any, path: Path) -> list[Any]:
        """Read a tool result. Unreadable content becomes a note: a refusal would fail all later requests, which repeat it."""
        if not isinstance(content, list):
            raise wrong_type(path, "a string or a list")
        parts: list[Part] = []
        for k, part in enumerate(content):
            try:
                parts.append(self._part(part, "tool", (*path, k)))
            except UnsupportedContent:
                parts.append(prose.left_out(str(part.get("type", "")), (*path, k), self._ledger))
        return parts

    def _part(self, part: Any, role: str, path: Path) -> Part:
        fields = Fields(part, path)
        kind = fields.required("type")
        decode = _PARTS.get(kind)
        if decode is None or role not in _ONLY_OF.get(kind, (role,)):
            if role == "assistant":
                return ForeignPart(kind, path)
            raise unsupported_content(f"content of type {kind[:64]}", path)
        decoded = decode(fields, self._ledger)
        fields.report(self._ledger)
        return decoded


def _usual_turn(message: Any, i: int) -> Turn | None:
    """A message that has the usual members with texts and no others, as nearly all of an agent's history; else None."""
    if type(message) is not dict or type(role := message.get("role")) is not str or role not in _USUAL:
        return None
    members, path = _USUAL[role], ("messages", i)
    if not message.keys() <= members:
        # SDKs write so what is absent
        message = {key: value for key, value in message.items() if value is not None and (key, value) != ("annotations", [])}
        if not message.keys() <= members:
            return None
    content = message.get("content")
    plain, has_content = type(content) is str, "content" in message
    if role == "tool":
        id, output = message.get("tool_call_id"), content if plain else _usual_texts(content, ("messages", i, "content"))
        name = message.get("name")
        if output is None or type(id) is not str:
            return None
        return Turn("tool", [ResultPart(id, output, path, name=name if type(name) is str else "")], path)
    texts: list[Part] | None
    if plain:
        texts = [TextPart(content, ("messages", i, "content"))]
    elif content is None:
        texts = [] if role == "assistant" else None
    else:
        texts = _usual_texts(content, ("messages", i, "content"))
    if texts is None:
        return None
    if role != "assistant" or (len(message) == 2 and has_content):
        return Turn(role, texts, path, plain)
    calls = message.get("tool_calls", [])
    parts = [] if len(message) == 3 and has_content and calls else _usual_thoughts(message, path)
    if parts is None or type(calls) is not list:
        return None
    parts += texts
    for k, call in enumerate(calls):
        part = _usual_call(call, ("messages", i, "tool_calls", k))
        if part is None:
            return None
        parts.append(part)
    return Turn(role, parts, path, plain and len(parts) == 1)


def _usual_texts(content: Any, path: Path) -> list[Any] | None:
    """Texts that have no other members; else None."""
    if type(content) is not list:
        return None
    texts: list[Any] = []
    for k, part in enumerate(content):
        if type(part) is not dict or len(part) != 2 or part.get("type") != "text" or type(text := part.get("text")) is not str:
            return None
        texts.append(TextPart(text, (*path, k)))
    return texts


def _usual_thoughts(message: dict[str, Any], path: Path) -> list[Part] | None:
    """Reasoning that is a text without a seal; None for anything else."""
    thoughts: list[Part] = []
    for key in quirks.REASONING_FIELDS:
        text = message.get(key)
        if text is not None and type(text) is not str:
            return None
        if text and not thoughts:
            thoughts.append(ReasoningPart((*path, key), "foreign", text))
    return thoughts


def _usual_call(call: Any, path: Path) -> CallPart | None:
    """A function's call that has its usual members and no others; else None."""
    if type(call) is not dict or call.get("type") != "function" or not call.keys() <= _OF_CALL:
        return None
    id, function = call.get("id"), call.get("function")
    if type(id) is not str or type(function) is not dict or len(function) != 2:
        return None
    name, arguments = function.get("name"), function.get("arguments")
    return CallPart(id, name, arguments, path) if type(name) is str and type(arguments) is str else None


def sealed_of(fields: Fields, ledger: Ledger) -> Sealed | None:
    """The thought signature from Google's endpoint on a call or text. Other `extra_content` is reported in the ledger."""
    extra = fields.take("extra_content")
    if extra is None:
        return None
    path = (*fields.path, "extra_content")
    signature = at(extra, "google", "thought_signature")
    if isinstance(signature, str) and signature:
        return Sealed("google", signature, path)
    ledger.drop(path)
    return None


def cache_of(fields: Fields, ledger: Ledger) -> Cache | None:
    """The cache breakpoint of a part, in OpenAI's form or in the form used for Anthropic's models."""
    return fields.mark("prompt_cache_breakpoint", "12h", ledger) or fields.mark("cache_control", "1h", ledger)


def _arguments(fields: Fields) -> str:
    """The arguments as JSON text; some clients send the object instead."""
    value = fields.take("arguments")
    if isinstance(value, dict):
        return jsontext.dumps(value).decode()
    if value is not None and not isinstance(value, str):
        raise wrong_type((*fields.path, "arguments"), "a string")
    return value or ""


def _text(fields: Fields, ledger: Ledger) -> TextPart:
    return TextPart(fields.required("text"), fields.path, cache_of(fields, ledger))


def _refusal(fields: Fields, ledger: Ledger) -> RefusalPart:
    return RefusalPart(fields.required("refusal"), fields.path)


def _image(fields: Fields, ledger: Ledger) -> ImagePart:
    path = (*fields.path, "image_url")
    value = fields.take("image_url")
    if value is None:
        raise missing(path)
    image = Fields({"url": value} if isinstance(value, str) else value, path)
    part = ImagePart(fields.path, detail=image.text("detail") or "", cache=cache_of(fields, ledger))
    url = image.required("url")
    if media.is_data_url(url):
        part.media_type, part.data = media.parse_data_url(url, (*path, "url"))
    else:
        part.url = url
    image.report(ledger)
    return part


def _file(fields: Fields, ledger: Ledger) -> DocumentPart:
    file = fields.inner("file")
    if file is None:
        raise missing((*fields.path, "file"))
    data = file.text("file_data")
    if data is None:
        if file.take("file_id") is not None:
            raise unsupported_content("a file by its id", fields.path)
        raise missing((*file.path, "file_data"))
    part = DocumentPart(fields.path, title=file.text("filename") or "", cache=cache_of(fields, ledger))
    _place(part, data, (*file.path, "file_data"))
    file.report(ledger)
    return part


def _linked(member: str, fields: Fields, ledger: Ledger) -> DocumentPart:
    """A file in the words of other providers: an address or the file itself, in an object with `url` or alone. member: which has it."""
    path = (*fields.path, member)
    value = fields.take(member)
    if value is None:
        raise missing(path)
    file = Fields({"url": value} if isinstance(value, str) else value, path)
    part = DocumentPart(fields.path, title=fields.text("document_name") or "", cache=cache_of(fields, ledger))
    _place(part, file.required("url"), (*path, "url"))
    if part.url and member == _VIDEO:
        part.media_type = "video/mp4"  # until its name tells another
    file.report(ledger)
    return part


def _place(part: DocumentPart, file: str, path: Path) -> None:
    """Set where a document is. file: its address (as OpenRouter takes it in `file_data`), a data URL, or base64."""
    if file.startswith(("https://", "http://")):
        part.url = file
    else:
        part.media_type, part.data = media.parse_file(file, path)


def _audio(fields: Fields, ledger: Ledger) -> AudioPart:
    path = (*fields.path, "input_audio")
    value = fields.take("input_audio")
    if value is None:
        raise missing(path)
    if isinstance(value, str):  # Mistral takes it without its format
        data = media.clean_base64(value, path)
        kind = media.sniff_sound(data)
        if not kind:
            raise unsupported_content("this kind of audio", fields.path)
        return AudioPart(fields.path, kind, data)
    audio = Fields(value, path)
    form = audio.required("format").lower()
    if not form.isalnum() or len(form) > 16:
        raise invalid((*audio.path, "format"), "must be the name of a format, such as wav or mp3")
    data = media.clean_base64(audio.required("data"), (*audio.path, "data"))
    audio.report(ledger)
    return AudioPart(fields.path, media.media_type(f"audio/{form}"), data)


_VIDEO = "video_url"  # of OpenRouter, vLLM, Together, Alibaba, Z.ai and others; `document_url` is Mistral's, `file_url` Perplexity's
_ONLY_OF = {"refusal": ("assistant",), "input_audio": ("user",)}  # the roles that have such a part
_PARTS: dict[str, Callable[[Fields, Ledger], Part]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
    **{member: partial(_linked, member) for member in (_VIDEO, "document_url", "file_url")},
}
