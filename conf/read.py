"""Readers of single values: each takes a value from YAML, and returns the configuration's value or raises ValueError with a message.

No message repeats the value, which could be a secret. Readers that expand variables replace `$VAR`, `${VAR}` and `${VAR:-default}` by
an environment variable, and `${file:/path}` by what is in the file; `$$` is a dollar sign. An empty variable counts as not set.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

from ..codecs import edit
from ..codecs.lessons import EACH

Reader = Callable[[Any], Any]

environ: ContextVar[Mapping[str, str]] = ContextVar("environ")
"""Where `$VAR` is looked up while a configuration is read."""

_LARGEST_FILE = 1 << 20  # bytes of a mounted secret

_VARIABLE = re.compile(r"\$(?:(\$)|\{file:(?!-)([^}]*)\}|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")
_DURATION = re.compile(r"(\d+(?:\.\d+)?) *(ms|s|m|h|d|w)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([kmg]?)i?b", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SURROGATE = re.compile("[\ud800-\udfff]")  # in the place of bytes that are not UTF-8
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_PLACE = re.compile(r"([a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")  # of an origin
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_NETWORK = "must be a network such as 10.0.0.0/8 or 2001:db8::/32, or an address"
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?|preview")
_RESOURCE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
LOCATION = re.compile(r"[a-z0-9-]{1,63}")
GOOGLE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,127}")
_DAY = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12][0-9]|3[01]))?")
_RESERVED = frozenset({"model", "stream"})  # members of a body that decide how the answer is read
_BASE64 = r"[A-Za-z0-9+/]{8,172}={0,2}"
_PASSWORD_HASH = re.compile(
    rf"pbkdf2_sha256\$[1-9][0-9]{{4,7}}\$[A-Za-z0-9+/=._-]{{8,172}}\${_BASE64}"
    rf"|scrypt\$(?:16384|32768|65536|131072)\$8\$[1-4]\${_BASE64}\${_BASE64}|[0-9a-fA-F]{{64}}"
)
AWS_REGION = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,16}){1,4}-[0-9]{1,2}")
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})


@dataclass(frozen=True, slots=True)
class Unset:
    """An environment variable that the configuration names but that is not set."""

    variable: str


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text (quotes make a number text)")
    if not value:
        raise ValueError("must not be empty")
    if "\0" in value:  # no file, no header and no variable of the environment can have it
        raise ValueError("must not contain the character NUL")
    return value


def expand(value: Any) -> str | Unset:
    """Text with its variables expanded, or the first variable that is not set."""
    missing: list[str] = []

    def put(match: re.Match[str]) -> str:
        dollar, file, braced, otherwise, bare = match.groups()
        if dollar:
            return "$"
        if file is not None:
            return _content(file)
        variable = braced or bare
        replacement = environ.get().get(variable) or otherwise
        if replacement and _SURROGATE.search(replacement):
            raise ValueError(f"the environment variable {variable} is not UTF-8 text")
        if not replacement:
            missing.append(variable)
        return replacement or ""

    expanded = _VARIABLE.sub(put, text(value))
    return Unset(missing[0]) if missing else expanded


def file_of(value: Any) -> str | None:
    """The file that a text is taken from as a whole; None if it is not."""
    match = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return match[2] if match else None


def _content(file: str) -> str:
    """The text of a mounted secret without its last line ending. Raises ValueError, whose message names the file."""
    if not file.startswith("/"):
        raise ValueError("${file:…} needs an absolute path")
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would block, and could not be read again at a reload
            raise ValueError(f"{file} is not a file")
        with open(file, "rb") as opened:
            data = opened.read(_LARGEST_FILE + 1)
        content = data.decode()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"{file} is too large")
    if "\0" in content:
        raise ValueError(f"{file} contains the character NUL")
    content = content.removesuffix("\n").removesuffix("\r")
    if not content:
        raise ValueError(f"{file} is empty")
    return content


def expanded(value: Any) -> str:
    """Text with its variables expanded; all must be set."""
    result = expand(value)
    if isinstance(result, Unset):
        raise ValueError(f"the environment variable {result.variable} is not set")
    return result


def secret(value: Any) -> str | Unset:
    """A credential for an HTTP header. An unset variable is returned rather than an error."""
    result = expand(value)
    if isinstance(result, str):
        result = result.strip()
        if not result or _CONTROL.search(result) or not result.isascii():
            raise ValueError("must be printable ASCII: it goes into an HTTP header")
    return result


def caller_key(value: Any) -> str:
    """A caller's key. An unset variable is an error: it must not admit the empty key."""
    result = secret(value)
    if isinstance(result, Unset):
        raise ValueError(f"the environment variable {result.variable} is not set")
    return result


def aes_keys(value: Any) -> tuple[bytes, ...]:
    """One key of 32 bytes, or two: the second is an older one."""
    keys = value if isinstance(value, list) else [value]
    if not 1 <= len(keys) <= 2:
        raise ValueError("must be one key, or a list of the new one and the old one")
    return tuple(map(_aes_key, keys))


def _aes_key(value: Any) -> bytes:
    text = expanded(value).strip()
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
        if len(key) == 32:
            return key
    raise ValueError("must be 32 bytes, in base64 or as 64 hexadecimal digits: `openssl rand -base64 32` makes such a key")


def command(value: Any) -> tuple[str, ...]:
    """A program and its arguments: a list, or text that is split at blanks and quotes as a shell does; no shell runs it."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError:
            raise ValueError("has a quote that is not closed") from None
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value) or not value[0]:
        raise ValueError("must be a program with its arguments: text, or a list of texts")
    words = tuple(expanded(word) if word else "" for word in value)
    if any("\0" in word for word in words):
        raise ValueError("must not contain the character NUL")
    return words


def location(value: Any) -> str:
    """A location of Google's, which becomes a part of a host's name."""
    result = expanded(value)
    if not LOCATION.fullmatch(result):
        raise ValueError("must be small letters, digits and -, as europe-west4")
    return result


def google_name(value: Any) -> str:
    """A project or an endpoint of Google Cloud: it becomes a part of a URL."""
    result = expanded(value)
    if not GOOGLE_NAME.fullmatch(result):
        raise ValueError("must be letters, digits and any of - _ . :")
    return result


def aws_region(value: Any) -> str:
    """A region of AWS: it becomes a part of a host's name."""
    result = expanded(value)
    if not AWS_REGION.fullmatch(result):
        raise ValueError("must be a region such as us-east-1")
    return result


def header_text(value: Any) -> str:
    """The value of a header; every variable of it must be set."""
    return str(header(expanded(value)))


def sha256(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ValueError("must be the 64 hexadecimal digits of a SHA-256")
    return value.lower()


def password_hash(value: Any) -> str:
    """The hash of a password: PBKDF2, scrypt, or a bare SHA-256; a `$` in it begins no variable. A variable must be set."""
    result = value if isinstance(value, str) and _PASSWORD_HASH.fullmatch(value) else expanded(value).strip()
    if not _PASSWORD_HASH.fullmatch(result):
        raise ValueError("must be pbkdf2_sha256$ROUNDS$SALT$HASH, scrypt$N$R$P$SALT$HASH, or 64 hexadecimal digits")
    return result


def header(value: Any) -> str:
    result = expanded(value).strip()
    if not result or _CONTROL.search(result) or not result.isascii():
        raise ValueError("must be printable ASCII: it goes into an HTTP header")
    return result


def host(value: Any) -> str:
    """The value of a Host header."""
    result = header(value)
    if re.search(r"[\s/@]", result):
        raise ValueError("must be a host, with or without a port")
    return result


def header_name(value: Any) -> str:
    if not isinstance(value, str) or not _HEADER_NAME.fullmatch(value):
        raise ValueError("is not the name of an HTTP header")
    if value.lower() in _FRAMING:
        raise ValueError("is set by the gateway itself" + (": use http_host" if value.lower() == "host" else ""))
    return value


def url(value: Any, instead: str = "") -> str:
    """An http or https URL without credentials, query or fragment; trailing slashes are removed. instead: where a credential stands."""
    result = expanded(value)
    try:
        parts = urlsplit(result)
        host = parts.hostname
        _ = parts.port  # raises ValueError for an invalid port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not host or re.search(r"\s", result) or not result.isascii():
        raise ValueError("is not a URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password" + (instead and f": use {instead}"))
    if parts.query or parts.fragment:
        raise ValueError("must end with the path: no ? and no #")
    return result.rstrip("/")


def url_with_query(value: Any, instead: str = "") -> str:
    """An http or https URL that is asked as it stands. instead: as of `url`."""
    result = expanded(value)
    address, mark, query = result.partition("?")
    if "#" in result:
        raise ValueError("must not contain a #")
    if re.search(r"\s", query) or not query.isascii():
        raise ValueError("is not a URL")
    url(address, instead)
    return address + mark + query


def issuer(value: Any) -> str:
    """The URL of an identity provider as its tokens have it: a slash at the end counts."""
    result = expanded(value)
    return url(result) + ("/" if result.endswith("/") else "")


def host_name(value: Any) -> str:
    """A host name, in lower case."""
    result = expanded(value).lower()
    if not _HOST.fullmatch(result):
        raise ValueError("must be the name of a host, without a scheme, a port or a path")
    return result


def network(value: Any) -> IPv4Network | IPv6Network:
    """A network, or one address."""
    result = expanded(value)
    try:
        return ip_network(result)
    except ValueError as error:
        raise ValueError(_NETWORK + (": the address has bits beyond its prefix" if "host bits" in str(error) else "")) from None


def origin(value: Any) -> str:
    """The origin of web pages as browsers write it: in lower case, without a default port or a path. Or `*`."""
    result = expanded(value).lower().removesuffix("/")
    if result == "*":
        return result
    if result == "null":
        raise ValueError("cannot be listed: any page can make this its origin")
    scheme, _, place = result.partition("://")
    match = _PLACE.fullmatch(place)
    if not _SCHEME.fullmatch(scheme) or match is None:
        raise ValueError("must be an origin such as https://app.example.com or http://localhost:3000, or *")
    host, port = match.groups()
    return f"{scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{int(port)}")


def one_origin(value: Any) -> str:
    """As `origin`, but not `*`."""
    result = origin(value)
    if result == "*":
        raise ValueError("must be an origin such as https://app.example.com: * is not accepted here")
    return result


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return read


def number(low: float, high: float = math.inf) -> Reader:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError("must be a number")
        if not low <= value <= high:
            raise ValueError(f"must be at least {low:g}" if high == math.inf else f"must be from {low:g} to {high:g}")
        return float(value)

    return read


def one_of(*choices: str) -> Reader:
    """One of these words. `off` is a boolean in YAML unless it is quoted."""

    def read(value: Any) -> str:
        if value is False and "off" in choices:
            return "off"
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


def duration(value: Any) -> float:
    """Seconds, more than 0: a number, optionally with the unit ms, s, m, h, d or w."""
    seconds: float | None = None
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if seconds is None or not math.isfinite(seconds) or not 0 < seconds <= 10 * 365 * 86400:
        raise ValueError("must be a time such as 200ms, 10s, 5m, 2h or 30d (a bare number is seconds)")
    return seconds


def duration_or_off(value: Any) -> float:
    """As `duration`; `off` is 0."""
    return 0.0 if value is False or value == "off" else duration(value)


def size(value: Any) -> int:
    """Bytes, at least 1: a whole number, or a number with the unit B, kB, MB or GB (powers of 1024)."""
    count: float | None = None
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        count = float(match[1]) * _BYTES[match[2].lower()]
    elif isinstance(value, int) and not isinstance(value, bool):
        count = value
    if count is None or not 1 <= count <= 2**40:
        raise ValueError("must be a size such as 512kB, 64MB or 1GB (a bare number is bytes)")
    return int(count)


def status_codes(value: Any) -> frozenset[int]:
    """HTTP statuses: numbers, and ranges such as 502-504."""
    wrong = ValueError("must be an HTTP status of 400 to 599, or a range such as 502-504")
    if isinstance(value, int) and not isinstance(value, bool):
        first = last = value
    elif isinstance(value, str) and (match := re.fullmatch(r"(\d{3}) *- *(\d{3})", value)):
        first, last = int(match[1]), int(match[2])
    else:
        raise wrong
    if not 400 <= first <= last <= 599:
        raise wrong
    return frozenset(range(first, last + 1))


def day(value: Any) -> str:
    """A day, or a month, as in ISO 8601."""
    text = value.isoformat() if type(value) is date else value
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        raise ValueError("must be a day such as 2026-06-30, or a month such as 2026-06")
    return text


def anything(value: Any) -> Any:
    """A value that JSON has."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise ValueError("must be a value that JSON has") from None


def member(value: Any) -> str:
    """The path of a member of a request's body, as `reasoning.effort`."""
    if not isinstance(value, str) or not edit.PATH.fullmatch(value) or EACH in value:
        raise ValueError("must be the path of a member, as reasoning.effort")
    return _unreserved(value)


def members(value: Any) -> str:
    """As `member`; `[]` stands for all elements of a list, as in `messages[].name`."""
    if not isinstance(value, str) or not edit.PATH.fullmatch(value):
        raise ValueError("must be the path of a member, as reasoning.effort or messages[].name")
    return _unreserved(value)


def _unreserved(path: str) -> str:
    if path.partition(".")[0] in _RESERVED:
        raise ValueError("is decided by the gateway itself")
    return path


def model_name(value: Any) -> str:
    """`provider/model` or `provider/*`."""
    provider, slash, model = text(value).partition("/")
    if not slash or not provider or not model:
        raise ValueError("must be provider/model or provider/*")
    if re.search(r"[^!-~]", value):
        raise ValueError("must be printable ASCII without spaces: it goes into HTTP headers")
    if "*" in provider or ("*" in model and model != "*"):
        raise ValueError("the only wildcard is provider/*")
    return str(value)


def api_version(value: Any) -> str:
    """A version of Azure OpenAI's API: it becomes a part of a URL."""
    result = expanded(str(value))
    if not _API_VERSION.fullmatch(result):
        raise ValueError("must be a date such as 2025-04-01-preview, or preview")
    return result


def is_resource(text: str) -> bool:
    """Whether a text can be a resource of Azure."""
    return _RESOURCE.fullmatch(text) is not None


def resource(value: Any) -> str:
    """A resource of Azure: it becomes a part of a host name."""
    result = expanded(value)
    if not is_resource(result):
        raise ValueError("must be letters, digits and -")
    return result
