"""Every regular expression of the product: over input from outside its cost is linear, whatever the input.

A new one fails `test_all_are_listed` until it stands here: in HOSTILE with what could hurt it, or in TRUSTED with the reason why
nobody from outside chooses what it reads. Each in HOSTILE is also tried with the same character over and over (PUMPS).
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dragoman.codecs import splice
from dragoman.codecs.chat import errors_in
from dragoman.codecs.chat import facts as chat_facts
from dragoman.codecs.converse import content_out
from dragoman.codecs.messages import facts
from dragoman.codecs.responses import facts as responses_facts
from dragoman.conf import providers
from dragoman.proxy.app import routes

from .growth import SMALL, TIMES, assert_linear

HOUSE = Path(__file__).resolve().parents[2]
PACKAGES = ("codecs", "conf", "proxy", "handlers")

# (before, what is repeated, after)
Hostile = tuple[str, str, str]
PUMPS = [" ", "\t", "a", "0", "-", ".", '"', "\\", "[", "{", "}", "<", ";", ",", ":", "=", "/", "\r", "\n", "\r\n", "a ", 'a"', "é", "\0"]

# module and name -> (how it is applied, what could hurt it)
HOSTILE: dict[str, tuple[str, list[Hostile]]] = {
    "codecs/gemini/errors_in.py:_TOO_LONG": (
        "search",
        [("", "input token count ", ""), ("", "exceeds the maximum number of ", "")],
    ),
    "codecs/gemini/errors_in.py:_WAIT": ("fullmatch", [("1.", "0", "x")]),
    "codecs/gemini/errors_in.py:_WAIT_IN_WORDS": ("search", [("", "retry in 1", ""), ("retry in ", "1", ""), ("", "retry in 1.1", "")]),
    "codecs/gemini/lessons.py:_SIGNATURE": ("search", [("", "thought_", "")]),
    "codecs/gemini/lessons.py:_JSON_SCHEMA": ("search", [("", "parameters_", ""), ("", "response_json_", "")]),
    "codecs/gemini/partial.py:_STEP": ("match", [("['", "a", ""), ("['", "\\'", ""), ('["', "\\", ""), ("[", "0", ""), (".", "a", "")]),
    "codecs/gemini/partial.py:_ESCAPE": ("sub", [("", "\\", "")]),
    "codecs/quirks.py:_FILTERS": ("search", [("", "safet", "")]),
    "codecs/quirks.py:_FAILURES": ("search", [("", "too_man", "")]),
    "codecs/chat/errors_in.py:_TOO_LONG": ("search", [("", "exceeds the model's maximum ", ""), ("", "too many input ", "")]),
    "codecs/chat/errors_in.py:_CODE": ("fullmatch", []),
    "codecs/chat/errors_in.py:_NOT_TEXT": (
        "sub",
        [("", "<script", ""), ("<script>", "</script ", ""), ("", "<!--", ""), ("<head>", "</", "")],
    ),
    "codecs/bedrock.py:_TYPE": ("fullmatch", []),
    "codecs/carrier.py:_DATE": ("fullmatch", []),
    "conf/aws.py:_ARN": ("fullmatch", [("arn:aws", "a", ""), ("arn:aws:a:", "-", ""), ("", ":", "")]),
    "conf/aws.py:_TELLING": ("fullmatch", []),
    "conf/aws.py:_VERSION": ("sub", [("", "-v1", ""), ("-v", "1", "x"), ("", "-v1:1:", "")]),
    "proxy/credentials/aws.py:_KEY_ID": ("fullmatch", []),
    "proxy/credentials/aws.py:_NOW": ("search", [("", "(20261129T120000Z ", ""), ("(", "1", "")]),
    "codecs/converse/content_out.py:_BUCKET": ("fullmatch", [("s3://", "a", ""), ("s3://a", "./", ""), ("s3://", "-", "/")]),
    "codecs/converse/request_out.py:_NOT_METADATA": ("sub", []),
    "codecs/converse/tools_out.py:_CODE": ("fullmatch", []),
    "codecs/gemini/errors_in.py:_UNKNOWN_NAME": (
        "search",
        [("", 'Unknown name "a" at ', ""), ('Unknown name "', "a", ""), ("", 'Unknown name "', "")],
    ),
    "proxy/credentials/azure.py:_TRIED": ("findall", [("\n\t", "A", ""), ("", "\n\tA", ""), ("", "\n\tACredential", "")]),
    "proxy/credentials/chain.py:_CODE": ("fullmatch", []),
    "proxy/credentials/chain.py:_WORD": ("fullmatch", []),
    "codecs/converse/content_out.py:_NOT_IN_NAME": ("sub", []),
    "codecs/bulk.py:_MARK": ("findall", [('"', "\\\\", "\\"), ('"', "a", ""), ("", '"\\', "")]),
    "codecs/bulk.py:_INSIDE": ("match", [("", "\\u00", ""), ("", "a\\a", "\\")]),
    "codecs/bulk.py:_COLON": ("match", []),
    "codecs/bulk.py:_HIGH_HALF": ("fullmatch", []),
    "codecs/bulk.py:_LOW_HALF": ("match", []),
    "codecs/chat/reasoning_in.py:_TOKEN": ("fullmatch", [("r", "1", "")]),
    "codecs/edit.py:_BLANK": ("match", []),
    "codecs/edit.py:_MEMBER": ("match", [('"', "\\\\", "\\"), ('"', "a", ""), ('"a"', " ", "x"), ("", " ", "x")]),
    "codecs/edit.py:_NEXT": ("match", []),
    "codecs/model_lists.py:_ID": ("fullmatch", []),
    "codecs/model_lists.py:_DAY": ("fullmatch", [("2026-01-01T", "a", "")]),
    "codecs/estimate.py:_PAGE": ("findall", [("/Type", " ", "x"), ("", "/Type ", ""), ("", "/Type/Pages", "")]),
    "codecs/ids.py:_FOREIGN_PREFIX": ("sub", [("", "msg_", "")]),
    "codecs/ids.py:_NOT_ID": ("sub", []),
    "codecs/jsontext.py:_SURROGATE": ("search", []),
    "codecs/jsontext.py:_SURROGATE_OR_ESCAPE": ("search", [("", "\\ud", ""), ("", "\\u", "")]),
    "codecs/jsontext.py:_HALF": ("sub", [("", "\\ud", ""), ("", "\\\\", "\\")]),
    "codecs/jsontext.py:_TOKEN": ("match", [('"', "\\u", ""), ('"', "\\ud83d", ""), ('"', "a", "\x01"), ("1.", "0", "x"), (" ", " ", "x")]),
    "codecs/jsontext.py:_STRUCTURE": ("findall", [('"', "\\\\", ""), ("", '"\\', ""), ('"', "a", "")]),
    "codecs/jsontext.py:_STRING_REST": ("match", [("", "a\\a", "\\")]),
    "codecs/jsontext.py:_WHOLE": ("match", [("", "\\u", ""), ("", "\\u00", "")]),
    "codecs/jsontext.py:_ESCAPE": ("sub", [("", "\\u00", "")]),
    "codecs/jsontext.py:_PART_OF_A_TOKEN": ("fullmatch", [("", "fals", ""), ("", "e+", "")]),
    "codecs/ledger.py:_NOT_TOKEN": ("sub", []),
    "proxy/exchange/objects.py:_SEGMENT": ("fullmatch", []),
    "proxy/control/records.py:_NAME": ("fullmatch", [("a", " ", "\n"), ("a", " -", "")]),
    "codecs/parts.py:_NEXT": ("match", [(",", " ", "x"), (' ,"stream"', " ", "x")]),
    "codecs/splice.py:_FLAT": ("match", [("{", '"a"', ""), ('{"', "\\\\", ""), ("{", '"', ""), ("{", "a", "")]),
    "proxy/keys/secrets.py:HOLDS_SECRET": ("search", []),
    "proxy/exchange/dry.py:_IN_QUERY": ("sub", [("?", "a", ""), ("", "?", ""), ("", "&a=", "")]),
    "proxy/keys/secrets.py:_ESCAPE": ("sub", [("", "%", "")]),
    "codecs/limits.py:_COUNT": ("fullmatch", []),
    "codecs/limits.py:_NUMBER": ("fullmatch", [("1.", "1", "")]),
    "codecs/limits.py:_DURATION": ("fullmatch", [("", "1m", "x"), ("", "1.1ms", "x"), ("", "1.", "")]),
    "codecs/media.py:_HEAD": ("match", [("data:", ";a", ""), ("data:", "a", ""), ("data:", ";", "x")]),
    "codecs/multipart.py:_PARAMETER": ("match", [("; a=", "a", '"'), ('; a="', "\\a", ""), (";", " ", "x"), ("; a=a", " ", "x")]),
    "codecs/multipart.py:_FIELD": ("fullmatch", [("a:", " ", "\0"), ("", "a", " :")]),
    "codecs/multipart.py:_BOUNDARY": ("fullmatch", [("", "a ", "")]),
    "codecs/multipart.py:_NOT_PRINTED": ("search", []),
    "codecs/openai.py:_NOT_NAME": ("sub", []),
    "codecs/openai.py:OPERATIONS": ("fullmatch", [("/images/", "a", "!")]),
    "codecs/schema.py:_FANCY_PATTERN": ("search", [("", "(?", ""), ("", "(?<", ""), ("", "\\k", "")]),
    "codecs/splice.py:_SCALAR": ("match", [('"', "\\a", "\\"), ('"', "a", "")]),
    "codecs/splice.py:_MARK": ("findall", [('"', "\\\\", "\\"), ('"', "a", ""), ("", '"\\', "")]),
    "proxy/websocket/messages.py:_FIRST": ("match", [("{", " ", "x"), ('{"type":"', "a", "")]),
    "proxy/websocket/messages.py:_STREAM_ID": ("fullmatch", []),
    "codecs/splice.py:_COMMA": ("match", []),
    "codecs/splice.py:_NUMBERED": ("findall", [('"', "1", ""), ("", '"1', ""), ("", '"1:', "")]),
    "codecs/splice.py:_ANY_KEY": ("findall", [("", '"" ', ""), ('""', " ", "x"), ("", '"a"', "")]),
    "codecs/splice.py:_ESCAPED_LETTER": ("search", [("", "\\u00", ""), ("", "\\u", "")]),
    "codecs/sse.py:_DATA": ("findall", [("", "data: a\n", ""), ("data: ", "a", ""), ("", "data: ", "")]),
    "codecs/sse.py:_NAMED": ("findall", [("", "event: a\n", ""), ("", "event: a\ndata: b\n", ""), ("event: ", "a", "")]),
    "codecs/tools.py:_NAME": ("fullmatch", []),
    "codecs/tools.py:_NOT_NAME": ("sub", []),
    "proxy/exchange/array.py:_DATA": ("findall", [("", "data:\n", ""), ("data:", " ", ""), ("", "data: a\r", "")]),
    "codecs/gemini/paths.py:_PATH": (
        "fullmatch",
        [("/v1beta/models/", "a:", "!"), ("/models/", "/", ""), ("/", "v1/", ""), ("/projects/", "a/", ""), ("/models/a:b", "/", "!")],
    ),
    "codecs/gemini/paths.py:_OF_PROJECT": ("sub", [("/projects/", "a", ""), ("/projects/a/locations/", "a", "")]),
    "codecs/gemini/paths.py:_RESOURCE": ("fullmatch", [("", "models/", ""), ("", "/models", "")]),
    "codecs/gemini/protojson.py:_SNAKE": ("fullmatch", [("a", "_a", "!"), ("a", "_a", "_"), ("a", "a0", "!")]),
    "codecs/gemini/protojson.py:_STEP": ("sub", [("", "_a", "")]),
    "codecs/gemini/protojson.py:_INTEGER": ("fullmatch", []),
    "codecs/gemini/protojson.py:_NUMBER": ("fullmatch", [("1.", "0", "e"), ("1e", "0", "")]),
    "codecs/gemini/schema_in.py:_INTEGER": ("fullmatch", []),
    "codecs/gemini/errors_out.py:_COUNT": ("findall", [("", "1,", ""), ("", "1" * 11 + "x", ""), ("", "123,456a ", "")]),
    "handlers/models.py:_DIGITS": ("fullmatch", []),
    "handlers/models.py:_GOOGLES_VERSION": ("match", [("/", "v1/", ""), ("/", "v1beta", "")]),
    "proxy/wire/headers.py:_SECONDS": ("fullmatch", [("1.", "0", "!")]),
    "proxy/exchange/question.py:_IMAGE": ("search", [('"type"', " ", "x"), ("", '"type" ', ""), ("", '"type":', "")]),
    "proxy/exchange/demo.py:_WORD": ("findall", [("", "a ", ""), ("a", " ", "")]),
    "proxy/exchange/lanes.py:_DATA": ("findall", [("", "data:\n", ""), ("data:", " ", "")]),
    "proxy/exchange/lanes.py:_DONE": ("fullmatch", [("data: [DONE]", "\n", "x"), ("data:[DONE]", " ", "")]),
    "proxy/exchange/lanes.py:_TERMINAL": ("search", [('"type"', " ", "x"), ("", '"type" : ', "")]),
    "proxy/exchange/lanes.py:_EVENT": ("findall", [("", "a\n", ""), ("", "a\r\n", "")]),
    "codecs/chat/shape.py:_NO_CHOICES": ("search", [('"choices"', " ", "x"), ('"choices":[', " ", "x"), ("", '"choices":[', "")]),
    "proxy/exchange/exchange.py:_ASKS_STREAM": ("search", [("", "&stream=tru", ""), ("", "&", "")]),
    "proxy/exchange/raw.py:_USAGE": ("findall", [("", '"usage":{', ""), ('"usage":{', "{}", ""), ('"usage"', " ", "")]),
    "proxy/exchange/settle.py:_DATE": ("sub", [("-", "0", ""), ("", "-0000000", ""), ("", "-00000000", "x")]),
    "proxy/exchange/spent.py:_TEXT": ("match", [("", "a" * 999 + " ", "")]),
    "proxy/inspector/redaction.py:_HEADERS": ("fullmatch", [("x-stainless-", "a", "!"), ("anthropic-ratelimit-", "-", "!")]),
    "proxy/inspector/redaction.py:_NAME": ("fullmatch", []),
    "proxy/inspector/redaction.py:_SIGNATURE": (
        "match",
        [(f"AWS4-HMAC-SHA256 Credential={before}", "a", "!") for before in ("", "A/20261130/", "A/20261130/a/")],
    ),
    "proxy/load/client.py:_GATEWAY_TIME": ("search", [("gateway", " ", "x"), ("", "gateway;", ""), ("", "gateway ", "")]),
    "proxy/load/shapes.py:_STAMP": ("search", [("", "@" + "1" * 12, "")]),
    "proxy/memory/records.py:_ID": ("fullmatch", []),
    "proxy/memory/records.py:_NONCE": ("search", [("", "_" + "a" * 31, "")]),
    "proxy/wire/headers.py:_UP": ("fullmatch", [("x-stainless-", "a", "!"), ("x-codex-", "-", "!")]),
    "proxy/wire/headers.py:_DOWN": ("fullmatch", [("anthropic-", "a", "!"), ("x-ratelimit-", "-", "!")]),
    "proxy/wire/headers.py:_USE_OF_ACCOUNT": ("fullmatch", [("x-codex-", "a", "!"), ("anthropic-ratelimit-unified-", "-", "!")]),
    "proxy/wire/headers.py:_REGION": ("fullmatch", []),
    "proxy/wire/headers.py:_REQUEST_ID": ("fullmatch", []),
    "proxy/wire/http1.py:_TOKEN": ("fullmatch", [("", "a", " ")]),
    "proxy/wire/http1.py:_LONG_NAME": ("search", [("", "a\r\n", ""), ("", "a" * 300 + ":\r\n", "")]),
    "proxy/wire/http1.py:_FIELD_VALUE": ("fullmatch", [("", " ", "\0")]),
    "proxy/wire/http1.py:_TARGET": ("fullmatch", [("", "a", " ")]),
    "proxy/wire/http1.py:_STATUS_LINE": ("fullmatch", [("HTTP/1.1 200 ", " ", "\0"), ("HTTP/1.1 200 ", "\r", "")]),
    "proxy/wire/http1.py:_BLANK_LINE": ("search", [("", "\r", ""), ("", "a\r\n", ""), ("", "\n\r", "")]),
    "proxy/wire/http1.py:_LENGTH": ("fullmatch", []),
    "proxy/wire/http1.py:_HOST": ("fullmatch", [("[", ":", ""), ("a:", "0", "x")]),
    "proxy/wire/http1.py:_CHUNK_LINE": ("match", [("1", " ", "x"), ("1;", " ", "\0"), ("1", "\t", "")]),
    "proxy/exchange/resuming.py:_ID_LINE": ("sub", [("", "\rid", ""), ("", "id:", ""), ("", "\nid:a", "")]),
    "proxy/exchange/resuming.py:_ID": ("fullmatch", [("", "a", ":1"), ("a" * 32 + ":", "1", "x")]),
}
TRUSTED = {
    "handlers/openapi.py:_PARAMETER": "paths that stand in proxy/app.py",
    "handlers/team.py:re.sub": "paths that stand in proxy/app.py",
    "handlers/team.py:re.findall": "the gateway's own metrics",
    "codecs/limits.py:_STEP": "only what _DURATION has matched: no run of digits is longer than 25",
    "codecs/bedrock.py:_VALIDATION": "at most 20,000 characters, of which none is looked at more than 80 times",
    "codecs/betas.py:_any": "patterns of the operator's file, as of conf/providers.py:_pattern",
    "codecs/lessons.py:OTHER_ROUTE": "see _LONGEST there",
    "codecs/lessons.py:REFUSED_BETAS": "see _LONGEST there",
    "conf/aws.py:_IN_HOST": "the operator's file",
    "conf/litellm.py:_AZURE_PATH": "the operator's file",
    "conf/read.py:AWS_REGION": "the operator's file",
    "conf/read.py:_API_VERSION": "the operator's file",
    "conf/read.py:_RESOURCE": "the operator's file",
    "codecs/gemini/paths.py:_OPENAI_PATHS": "the operator's file",
    "conf/flags.py:_SAFETY": "the operator's file",
    "conf/read.py:_VARIABLE": "the operator's file",
    "conf/read.py:_PASSWORD_HASH": "the operator's file",
    "conf/read.py:_DURATION": "the operator's file",
    "conf/read.py:_SIZE": "the operator's file",
    "conf/document.py:_NO_TEXT": "the operator's file",
    "conf/read.py:_SURROGATE": "the operator's environment",
    "conf/read.py:_CONTROL": "the operator's file",
    "conf/read.py:_HEADER_NAME": "the operator's file",
    "conf/read.py:_HOST": "the operator's file",
    "conf/read.py:_PLACE": "the operator's file",
    "conf/read.py:_DAY": "the operator's file",
    "codecs/edit.py:PATH": "the operator's file",
    "conf/read.py:_SCHEME": "the operator's file",
    "proxy/keys/secrets.py:_SCHEME": "the operator's file",
    "conf/read.py:GOOGLE_NAME": "the operator's file",
    "conf/read.py:LOCATION": "the operator's file",
    "conf/read.py:re.fullmatch": "the operator's file",
    "conf/read.py:re.search": "the operator's file",
    "conf/providers.py:_pattern": "see test_name_patterns",
    "conf/providers.py:_first_of": "see test_name_patterns",
    "conf/providers.py:re.sub": "patterns of the table of providers",
    "proxy/memory/stores/redaction.py:_URL": "the operator's address of the store",
    "proxy/memory/stores/redaction.py:_KEYWORD": "the operator's address of the store",
    "proxy/memory/stores/redaction.py:_PIECES": "the operator's address of the store",
    "proxy/memory/stores/redaction.py:re.split": "the operator's address of the store",
    "proxy/memory/stores/redaction.py:re.sub": "the operator's address of the store",
    "codecs/splice.py:_key": "see test_keys",
    "codecs/splice.py:_leading": "see test_keys",
    "codecs/lessons.py:_UNKNOWN": "see _LONGEST there",
    "codecs/lessons.py:_VALUE": "see _LONGEST there",
    "codecs/lessons.py:_ONLY_DEFAULT": "see _LONGEST there",
    "codecs/lessons.py:_PLACE": "see _LONGEST there",
    "codecs/lessons.py:_WORD": "see _LONGEST there",
    "codecs/lessons.py:_STEP": "names in tables and in the configuration",
    "codecs/lessons.py:_CAPITAL": "see _LONGEST there",
    "codecs/lessons.py:_CAMEL": "see _LONGEST there",
    "codecs/bedrock.py:COUNT": "a fixed text in an error's message, which is bounded",
    "proxy/exchange/objects.py:re.fullmatch": "a version, of at most seven characters",
    "codecs/lessons.py:_INTRODUCES": "see _LONGEST there",
    "codecs/lessons.py:ONLY_STREAMS": "see _LONGEST there",
    "codecs/lessons.py:MISSING_PROPERTIES": "see _LONGEST there",
    "codecs/lessons.py:ROOT_UNIONS": "see _LONGEST there",
    "codecs/lessons.py:_INSTEAD": "see _LONGEST there",
    "codecs/lessons.py:not_served": "see _LONGEST there",
    "codecs/lessons.py:surrogates": "see _LONGEST there",
    "codecs/lessons.py:re.findall": "see _LONGEST there",
    "codecs/chat/lessons.py:LESSONS": "see _LONGEST in codecs/lessons.py",
    "codecs/chat/lessons.py:_REFUSED_SEAL": "see _LONGEST in codecs/lessons.py",
    "codecs/chat/lessons.py:_TOOLS_BESIDE_REASONING": "see _LONGEST in codecs/lessons.py",
    "codecs/messages/lessons.py:LESSONS": "see _LONGEST in codecs/lessons.py",
    "codecs/responses/lessons.py:LESSONS": "see _LONGEST in codecs/lessons.py",
    "codecs/gemini/lessons.py:LESSONS": "see _LONGEST in codecs/lessons.py",
    "codecs/chat/errors_in.py:_BLAMING": "see test_words_that_blame",
    "codecs/messages/facts.py:IDS": "see test_call_ids",
    "codecs/chat/facts.py:IDS": "see test_call_ids",
    "codecs/responses/facts.py:IDS": "see test_call_ids",
    "codecs/converse/content_out.py:IDS": "see test_call_ids",
}
_CALLS = {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}


def _found() -> Iterator[str]:
    """Every expression: by the name that it is assigned to, by its function, or by how it is called."""
    for path in sorted(path for package in PACKAGES for path in (HOUSE / package).rglob("*.py")):
        module = path.relative_to(HOUSE).as_posix()
        tree = ast.parse(path.read_text())
        for top in tree.body:
            for node in ast.walk(top):
                called = node.func if isinstance(node, ast.Call) else None
                if not (isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "re"):
                    continue
                if called.attr == "compile":
                    yield f"{module}:{_named(top)}"
                elif called.attr in _CALLS:
                    yield f"{module}:re.{called.attr}"


def _named(top: ast.stmt) -> str:
    target = top.targets[0] if isinstance(top, ast.Assign) else top.target if isinstance(top, ast.AnnAssign) else top
    name = getattr(target, "id", None) or getattr(target, "name", None)
    assert name is not None, ast.dump(top)
    return str(name)


def test_all_are_listed() -> None:
    assert set(_found()) == HOSTILE.keys() | TRUSTED.keys()


def _pattern(listed: str) -> re.Pattern[Any]:
    module, _, name = listed.partition(":")
    found = getattr(importlib.import_module("dragoman." + module.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(found, re.Pattern)
    return found


def _applied(pattern: re.Pattern[Any], how: str) -> Callable[[Any], object]:
    if how == "sub":
        return lambda text: pattern.sub("" if isinstance(text, str) else b"", text)
    return getattr(pattern, how)  # type: ignore[no-any-return]


def _check(pattern: re.Pattern[Any], how: str, hostile: list[Hostile]) -> None:
    for before, pump, after in [*hostile, *(("", pump, "") for pump in PUMPS), *(("", pump, "\0") for pump in PUMPS)]:

        def make(size: int, before: str = before, pump: str = pump, after: str = after) -> Any:
            text = before + pump * (size // len(pump) + 1) + after
            return text if isinstance(pattern.pattern, str) else text.encode()

        try:
            assert_linear(make, _applied(pattern, how))
        except AssertionError as error:
            raise AssertionError(f"{before!r} {pump!r} {after!r}: {error}") from None


@pytest.mark.parametrize("listed", HOSTILE)
def test_costs(listed: str) -> None:
    how, hostile = HOSTILE[listed]
    _check(_pattern(listed), how, hostile)


def test_keys() -> None:
    hostile = [('"model"', " ", "x"), ("", '"model" ', ""), ('{"model":"', "\\\\", ""), ('{"a":"', "\\\\", ""), ("{", '"a":1,', "")]
    _check(splice._key("model"), "findall", hostile)
    for path in (("model",), ("response", "model")):
        _check(splice._leading(path), "match", hostile)


def test_call_ids() -> None:
    for form in (chat_facts.IDS, responses_facts.IDS):
        assert form.vendor is not None
        _check(form.vendor, "fullmatch", [("", "a", "!")])
    assert facts.IDS.pattern is not None
    _check(facts.IDS.pattern, "fullmatch", [("", "a", "!")])
    assert content_out.IDS.pattern is not None
    _check(content_out.IDS.pattern, "fullmatch", [("", "a", "!")])


def test_words_that_blame() -> None:
    for form, _ in errors_in._BLAMING:
        _check(form, "fullmatch", [("a", "_", ""), ("a", "_too_a", "_"), ("a", "_policy", "x"), ("failed_to_", "a", "!")])


def test_name_patterns() -> None:
    """An operator's patterns over a caller's model name."""
    for made in (providers._pattern, providers._first_of):
        _check(made(("*a*a*a*b", "?*a*x", "[a-z]*[0-9]*!")), "match", [("", "a", "c"), ("", "a0", "")])


PREFIXES = ("/", "/v1/", "/openai/", "/anthropic/v1/", "/openai/deployments/", "/openai/deployments/a/")
SLASHES: list[Hostile] = [
    (before, pump, after)
    for before in (
        "/",
        "/v1/",
        "/openai/",
        "/anthropic/v1/",
        "/openai/deployments/",
        "/openai/deployments/a/",
        "/v1/models/a",
        "/v1beta/models/a:",
        "/v1beta1/projects/a/locations/",
        "/v1/models/",
        "/v1/responses/a",
        "/v1/conversations/a/items/",
    )
    for pump in ("/", "v1/", "openai/", "anthropic/", "a/", "/a")
    for after in ("", "a", "/cancel/x")
]


@pytest.mark.parametrize("route", [route.pattern for route in routes()])
def test_paths(route: str) -> None:
    """Tornado compiles them with an end."""
    _check(re.compile(route + "$"), "match", SLASHES)


def test_the_measure_sees_quadratic_cost() -> None:
    with pytest.raises(AssertionError):
        assert_linear(lambda size: "a" * size + "\0", re.compile("a*a*b").match, SMALL // 4)
    assert TIMES > 1
