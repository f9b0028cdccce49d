"""Decode a gemini client's contents into parts of hub turns.

Calls and results are paired by their order where they have no ids, as Google does; an id that is made here is the same in every request of
the conversation. What an envelope holds stands before the part that it came on, in the place of the thoughts there: it has their text.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .. import jsontext, media, prose
from ..errors import Malformed, UnsupportedContent, unsupported_content
from ..fields import invalid
from ..ids import digest
from ..ledger import Ledger, Path
from ..reasoning import opened
from ..request import (
    AudioPart,
    CallPart,
    DocumentPart,
    ForeignPart,
    ImagePart,
    Part,
    ReasoningPart,
    ResultPart,
    Sealed,
    TextPart,
    Turn,
)
from .facts import IDS
from .protojson import Message
from .signatures import envelope, is_dummy, standard

_ROLES = frozenset({"user", "model", "function"})
_KINDS = frozenset({
    "text", "inlineData", "fileData", "functionCall", "functionResponse",
    "executableCode", "codeExecutionResult", "toolCall", "toolResponse",
})  # fmt: skip
_VIDEOS = ("youtube.com", "youtu.be")  # hosts of pages that Google reads as videos
_FILES_OF_GOOGLE = ".googleapis.com"  # of its APIs, below `/files/`; what is stored in its buckets may be public
_OWN_HOST = "generativelanguage.googleapis.com"
_BESIDE = frozenset({"videoMetadata", "mediaResolution", "partMetadata", "audioTranscription"})  # of a part: how to read it
_KNOWN = _KINDS | _BESIDE | {"thought", "thoughtSignature"}
_OF_MODEL = frozenset({"text", "functionCall", "thought", "thoughtSignature"})  # the usual members of a part from the model
_OF_CALL = frozenset({"id", "name", "args"})
_OF_RESULT = frozenset({"id", "name", "response"})
_EXTENSIONS = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "pdf": media.PDF}

_LONGEST_LABEL = 64

Content = TextPart | ImagePart | DocumentPart
File = ImagePart | DocumentPart | AudioPart


class Contents:
    """Reads the contents of one request, in order."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._calls = 0  # so far
        self._results = 0  # without a call
        self._open = _Open([])
        self._earlier: dict[str, CallPart] = {}  # of other turns, by their ids: calls without a result

    def instruction(self, content: Message) -> list[TextPart]:
        """The texts of `systemInstruction`. Raises UnsupportedContent for anything else."""
        texts = []
        for part in content.messages("parts"):
            kind = _kind(part)
            if kind not in ("", "text"):
                raise unsupported_content(f"{kind} in systemInstruction", part.path)
            if text := part.text("text"):
                texts.append(TextPart(text, part.path))
            part.ignore("thought", "thoughtSignature")
            part.report(self._ledger)
        content.report(self._ledger)
        return texts

    def turns(self, contents: list[Any], path: Path) -> list[Turn]:
        """Adjacent contents of the model are one turn: SDKs keep each chunk of a stream as one. path: of the list.

        Raises subclasses of errors.ClientFault.
        """
        turns: list[Turn] = []
        answer: _Answer | None = None
        for number, value in enumerate(contents):
            at = (*path, number)
            role, parts, where = _usual_content(value, at) or self._content(value, at)
            if role == "model":
                if answer is None:
                    answer = _Answer(self, self._ledger)
                    turns.append(Turn("assistant", answer.parts, at))
                answer.read(parts, where)
                continue
            if answer is not None:
                answer.end()
                answer = None
            turns.append(Turn("user", self._user(parts, where), at))
        if answer is not None:
            answer.end()
        return [turn for turn in turns if turn.parts]

    def _content(self, value: Any, path: Path) -> tuple[str, list[Any], Path]:
        """The role and the parts of a content, and where the parts stand."""
        content = Message(value, path)
        role = content.text("role") or "user"
        if role not in _ROLES:
            raise invalid(content.at("role"), "must be user or model")
        parts = content.listed("parts")
        content.report(self._ledger)
        return role, parts, content.at("parts")

    # ---- what the user says ----

    def _user(self, parts: list[Any], path: Path) -> list[Part]:
        results: list[Part] = []
        others: list[Part] = []
        for number, value in enumerate(parts):
            at = (*path, number)
            part = self._usual(value, at) or self._asked(Message(value, at))
            if part is not None:
                (results if isinstance(part, ResultPart) else others).append(part)
        return [*results, *others]

    def _usual(self, value: Any, path: Path) -> Part | None:
        """A text or a result that has its usual members and no others, as nearly all of an agent's history; else None."""
        if type(value) is not dict or len(value) != 1:
            return None
        text, result = value.get("text"), value.get("functionResponse")
        if type(text) is str:
            return TextPart(text, path) if text else None
        if type(result) is not dict or not result.keys() <= _OF_RESULT:
            return None
        id, name, response = result.get("id", ""), result.get("name", ""), result.get("response")
        if type(id) is str and type(name) is str and type(response) is dict:
            output, failed = _text_of(response)
            return ResultPart(self._answered(id, name), output, (*path, "functionResponse"), is_error=failed, name=name)
        return None

    def _asked(self, part: Message) -> Part | None:
        kind = _kind(part)
        part.ignore("thought", "thoughtSignature")
        if not kind:
            part.report(self._ledger)
            return None
        decoded: Part | None
        if kind == "text":
            text = part.text("text")
            decoded = TextPart(text, part.path) if text else None
        elif kind == "functionResponse":
            decoded = self._result(part)
        elif kind in _FILES:
            decoded = self._file(part, kind)
        else:
            raise unsupported_content(f"{kind} in a user's content", part.path)
        part.report(self._ledger)
        return decoded

    def _file(self, part: Message, kind: str) -> File:
        """An inline file, or one by its URL. Raises UnsupportedContent."""
        message = part.message(kind)
        assert message is not None
        file = _FILES[kind](message)
        message.report(self._ledger)
        return file

    def _result(self, part: Message) -> ResultPart:
        fields = part.message("functionResponse")
        assert fields is not None
        id, name = fields.text("id") or "", fields.text("name") or ""
        text, failed = _text_of(fields.members("response") or {})
        files = [file for each in fields.messages("parts") if (file := self._file_of_result(each)) is not None]
        content: Any = [TextPart(text, fields.at("response")), *files] if files else text
        if fields.flag("willContinue"):
            self._ledger.drop(fields.at("willContinue"))
        fields.report(self._ledger)
        return ResultPart(self._answered(id, name), content, fields.path, is_error=failed, name=name)

    def _file_of_result(self, part: Message) -> Content | None:
        """Unreadable content becomes a note: a refusal would fail all later requests, which repeat it."""
        kind = _kind(part)
        if not kind:
            return None
        try:
            file = self._file(part, kind) if kind in _FILES else None
        except UnsupportedContent:
            file = None
        part.report(self._ledger)
        return prose.left_out(kind, part.path, self._ledger) if file is None or isinstance(file, AudioPart) else file

    # ---- ids ----

    def called(self, id: str, name: str) -> str:
        """The id of the next call."""
        ordinal, self._calls = self._calls, self._calls + 1
        return id or IDS.prefix + digest(f"g:{ordinal}:{name}", 24)

    def opens(self, calls: list[CallPart]) -> None:
        """A turn with these calls; results belong to them from here on."""
        if calls:
            for call in self._open.left():
                self._earlier[call.id] = call
            self._open = _Open(calls)

    def _answered(self, id: str, name: str) -> str:
        """The id of the call that a result belongs to."""
        if id in self._earlier and not self._open.has(id):
            return self._earlier.pop(id).id
        call = self._open.take(id, name)
        if call is not None:
            return call.id
        self._results += 1
        return id or IDS.prefix + digest(f"g:result {self._results}:{name}", 24)


class _Open:
    """The calls of the latest turn that has some, as long as they have no result."""

    def __init__(self, calls: list[CallPart]) -> None:
        self._left = dict(enumerate(calls))
        self._index: _Index | None = None  # made when there is a choice

    def has(self, id: str) -> bool:
        return any(number in self._left for number in self._indexed().by_id.get(id, ()))

    def left(self) -> list[CallPart]:
        return list(self._left.values())

    def take(self, id: str, name: str) -> CallPart | None:
        """The first one of this id, else of this name, else of all; each only once."""
        if len(self._left) == 1:
            return self._left.popitem()[1]
        index = self._indexed()
        for numbers in (index.by_id.get(id) if id else None, index.by_name.get(name), index.in_order):
            while numbers:
                number = numbers.popleft()
                if number in self._left:
                    return self._left.pop(number)
        return None

    def _indexed(self) -> _Index:
        if self._index is None:
            self._index = _Index()
            for number, call in self._left.items():
                self._index.in_order.append(number)
                self._index.by_id[call.id].append(number)
                self._index.by_name[call.name].append(number)
        return self._index


class _Index:
    """The numbers of open calls. Some may be closed by now."""

    def __init__(self) -> None:
        self.in_order: deque[int] = deque()
        self.by_id: defaultdict[str, deque[int]] = defaultdict(deque)
        self.by_name: defaultdict[str, deque[int]] = defaultdict(deque)


class _Answer:
    """Reads one turn of the model. parts: so far."""

    def __init__(self, contents: Contents, ledger: Ledger) -> None:
        self._contents = contents
        self._ledger = ledger
        self.parts: list[Part] = []
        self._thoughts: list[TextPart] = []  # whose envelope has not come
        self._joins = False  # whether a text may be joined to the last part
        self._joined: list[tuple[TextPart, list[str]]] = []  # parts with all their texts, which are put together at the end

    def read(self, parts: list[Any], path: Path) -> None:
        for number, value in enumerate(parts):
            at = (*path, number)
            if not self._usual(value, at):
                part = Message(value, at)
                self._unusual(part)
                part.report(self._ledger)

    def end(self) -> None:
        self._no_envelope()
        for part, texts in self._joined:
            part.text = "".join(texts)
        self._contents.opens([part for part in self.parts if isinstance(part, CallPart)])

    def _usual(self, value: Any, path: Path) -> bool:
        """Add a text or a call that has its usual members and no others, as nearly all of an agent's history; else False."""
        if type(value) is not dict or not value.keys() <= _OF_MODEL:
            return False
        thought, signature = value.get("thought", False), value.get("thoughtSignature", "")
        if type(thought) is not bool or type(signature) is not str:
            return False
        if "functionCall" not in value:
            text = value.get("text")
            if type(text) is str:
                self._say("text", text, thought, signature, path)
                return True
            return False
        call = value["functionCall"]
        if type(call) is not dict or "text" in value or not call.keys() <= _OF_CALL:
            return False
        id, name, args = call.get("id", ""), call.get("name"), call.get("args")
        if type(id) is str and type(name) is str and type(args) is dict:
            self._say("functionCall", "", thought, signature, path, _Called(id, name, args))
            return True
        return False

    def _unusual(self, part: Message) -> None:
        """The same of any part. Raises subclasses of errors.ClientFault."""
        kind = _kind(part, "model")
        thought, signature = part.flag("thought") or False, part.text("thoughtSignature") or ""
        text = part.text("text") or "" if kind in ("", "text") else ""
        call = None
        if kind == "functionCall":
            fields = part.message("functionCall")
            assert fields is not None
            call = _Called(fields.text("id") or "", fields.required("name"), fields.members("args") or {}, part.at("functionCall"))
            fields.ignore("partialArgs", "willContinue")
            fields.report(self._ledger)
        elif kind not in ("", "text"):
            part.take(kind)
        self._say(kind, text, thought, signature, part.path, call, part.at("thoughtSignature"))

    def _say(
        self, kind: str, text: str, thought: bool, signature: str, path: Path, call: _Called | None = None, signed_at: Path = ()
    ) -> None:
        """kind: of the part's content, "" if it is nothing but a signature. signed_at: the signature's path, if it is another one."""
        sealed, google = None, None
        if signature:
            signed_at = signed_at or (*path, "thoughtSignature")
            sealed = envelope(signature)
            if sealed is None and not is_dummy(signature):
                google = Sealed("google", standard(signature), signed_at)
        if thought and kind == "text":
            if text:
                self._thoughts.append(TextPart(text, path))
            if sealed is not None:
                self._enveloped(sealed, signed_at)
            return
        if sealed is not None:
            self._enveloped(sealed, signed_at)
        elif self._thoughts and kind and (kind != "text" or text):
            self._no_envelope()
        if call is not None:
            self._call(call, path, google)
        elif kind in ("", "text"):
            self._text(path, text, google, fresh=sealed is not None)
        else:
            self.parts.append(ForeignPart(kind[:_LONGEST_LABEL], path))
            self._joins = False

    def _enveloped(self, sealed: str, path: Path) -> None:
        text = "".join(thought.text for thought in self._thoughts)
        self._thoughts = []
        self.parts.append(opened(sealed, path, text))
        self._joins = False

    def _no_envelope(self) -> None:
        """The thoughts so far came without anything that their provider could check."""
        if self._thoughts:
            first = self._thoughts[0]
            self.parts.append(ReasoningPart(first.path, "foreign", text="".join(thought.text for thought in self._thoughts)))
            self._thoughts = []
            self._joins = False

    def _text(self, path: Path, text: str, google: Sealed | None, *, fresh: bool) -> None:
        """fresh: an envelope stands before it."""
        last = self.parts[-1] if self.parts else None
        if isinstance(last, TextPart) and not fresh and self._joins and (google is None or not text):
            if not (self._joined and self._joined[-1][0] is last):
                self._joined.append((last, [last.text]))
            self._joined[-1][1].append(text)
            if google is not None:
                last.seal, self._joins = google, False
        elif text or google is not None:
            self.parts.append(TextPart(text, path, seal=google))
            self._joins = google is None

    def _call(self, call: _Called, path: Path, google: Sealed | None) -> None:
        id, at = self._contents.called(call.id, call.name), call.at or (*path, "functionCall")
        self.parts.append(CallPart(id, call.name, jsontext.input_to_arguments(call.args), at, seal=google))
        self._joins = False


# ---- parts ----


class _Called(NamedTuple):
    """A call as it is written. at: its path, if it is not the usual one."""

    id: str
    name: str
    args: dict[str, Any]
    at: Path = ()


def _usual_content(value: Any, path: Path) -> tuple[str, list[Any], Path] | None:
    """The role and the parts of a content that has them and nothing else, and where the parts stand; else None."""
    if type(value) is dict and len(value) == 2:
        role, parts = value.get("role"), value.get("parts")
        if role in ("user", "model") and type(parts) is list:
            return role, parts, (*path, "parts")
    return None


def _kind(part: Message, role: str = "user") -> str:
    """What a part holds; "" if nothing but a signature. Raises Malformed for two of them.

    An unknown one is what a model of Google's said, or raises UnsupportedContent: it could be what the user asks about.
    """
    members = part.rest
    kinds = [key for key in members if key in _KINDS]
    if len(kinds) > 1:
        raise _two(kinds, part.path)
    unknown = [key for key in members if key not in _KNOWN]
    if not kinds and unknown:
        if role == "model":
            return unknown[0]
        raise unsupported_content(f"a part with {unknown[0][:64]}", part.path)
    return kinds[0] if kinds else ""


def _two(kinds: list[str], path: Path) -> Malformed:
    return invalid(path, f"has both {kinds[0]} and {kinds[1]}; a part has one of them")


def _text_of(response: dict[str, Any]) -> tuple[str, bool]:
    """The text of a function's response, and whether it failed."""
    if not response:
        return "", False
    if len(response) == 1:
        key, value = next(iter(response.items()))
        if key in ("output", "result", "error"):
            return jsontext.argument_text(value) if value is not None else "null", key == "error"
    return jsontext.dumps(response).decode(), False


def _inline(fields: Message) -> File:
    path = fields.at("data")
    data = fields.required("data")
    data = media.clean_base64(standard("".join(data.split())), path)
    kind = media.media_type(fields.text("mimeType") or "") or media.sniff(data)
    title = fields.text("displayName") or ""
    if kind.startswith("image/"):
        return ImagePart(fields.path, media_type=kind, data=data)
    if kind.startswith("text/"):
        return DocumentPart(fields.path, text=media.decoded_text(data, path), title=title)
    if kind == media.PDF or kind.startswith("video/"):  # whether an upstream can see it is its encoder's to say
        return DocumentPart(fields.path, media_type=kind, data=data, title=title)
    if kind.startswith("audio/"):
        return AudioPart(fields.path, kind, data)
    raise unsupported_content(f"inlineData of type {kind[:64] or 'unknown'}", fields.path)


def _by_url(fields: Message) -> File:
    url = fields.required("fileUri")
    path = _public(url)
    if path is None:
        raise unsupported_content("a file that only Google can read", fields.path)
    extension = path.rpartition(".")[2].lower()
    kind = media.media_type(fields.text("mimeType") or "") or _EXTENSIONS.get(extension, "image/jpeg")
    title = fields.text("displayName") or ""
    if kind.startswith("image/"):
        return ImagePart(fields.path, url=url)
    if kind == media.PDF or kind.startswith("text/"):
        return DocumentPart(fields.path, media_type=kind, url=url, title=title)
    raise unsupported_content(f"fileData of type {kind[:64]}", fields.path)


def _public(url: str) -> str | None:
    """The path of a URL that anyone can read; None for others."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or host == _OWN_HOST:
        return None
    if host.removeprefix("www.").removeprefix("m.") in _VIDEOS or (host.endswith(_FILES_OF_GOOGLE) and "/files/" in parts.path):
        return None
    return parts.path


_FILES: dict[str, Callable[[Message], File]] = {"inlineData": _inline, "fileData": _by_url}
