"""Error answers of any upstream, whatever form they have: kind, words, code and place, and how each shape's client reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs import chat, messages, responses
from dragoman.codecs.errors import Answered


def decode(status: int, value: Any) -> Answered:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return chat.decode_error(status, data, "")


def openai(message: str = "m", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | more}


def test_all_shapes_read_with_one_reader() -> None:
    assert chat.decode_error is messages.decode_error is responses.decode_error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "bad_request"), (401, "auth"), (402, "billing"), (403, "permission"), (404, "not_found"), (405, "method_not_allowed"),
        (408, "timeout"), (409, "conflict"), (413, "too_large"), (415, "unsupported_media"), (418, "bad_request"), (422, "bad_request"),
        (429, "rate_limit"), (500, "server"), (502, "bad_gateway"), (503, "overloaded"), (504, "timeout"), (520, "bad_gateway"),
        (524, "timeout"), (529, "overloaded"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [b"", b"<h1>x</h1>", {"error": {"message": "m"}}])
def test_statuses(status: int, kind: str, value: Any) -> None:
    assert decode(status, value).kind == kind


@pytest.mark.parametrize(
    ("status", "value", "kind", "message", "code", "param"),
    [
        # a router's, with the words of the provider behind it (OpenRouter), and Cloudflare's
        (
            400,
            {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":{"message":"no such thing"}}'}}},
            "bad_request",
            "Provider returned error: no such thing",
            None,
            None,
        ),
        (
            400,
            {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "no such thing", "provider_name": "x"}}},
            "bad_request",
            "Provider returned error: no such thing",
            None,
            None,
        ),
        (
            400,
            {"errors": [{"code": 5006, "message": "bad input"}], "success": False, "result": None},
            "bad_request",
            "bad input",
            None,
            None,
        ),
        # the OpenAI shapes' form, and the messages shape's
        (400, openai(param="temperature", code="invalid_value"), "bad_request", "m", "invalid_value", "temperature"),
        (429, openai(code="insufficient_quota", type="insufficient_quota"), "billing", "m", None, None),
        (400, openai(code="context_length_exceeded", param="messages"), "context_too_long", "m", None, "messages"),
        (
            400,
            openai("This model's maximum context length is 8 tokens"),
            "context_too_long",
            "This model's maximum context length is 8 tokens",
            None,
            None,
        ),
        (400, openai(code="content_filter"), "content_policy", "m", "content_filter", None),
        (
            404,
            openai("The model `x` does not exist", code="model_not_found"),
            "not_found",
            "The model `x` does not exist",
            "model_not_found",
            None,
        ),
        (404, openai("The model `x` does not exist"), "not_found", "The model `x` does not exist", "model_not_found", None),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded", "Overloaded", None, None),
        (402, {"type": "error", "error": {"type": "billing_error", "message": "m"}}, "billing", "m", None, None),
        (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9"}},
            "context_too_long",
            "prompt is too long: 9",
            None,
            None,
        ),
        *(
            (400, openai(message), "context_too_long", message, None, None)
            for message in (
                "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)",  # Kimi
                "The input (345516 tokens) is longer than the model's context length (262144 tokens).",  # SGLang
                "You passed 40001 input tokens. However, the model's context length is only 40960 tokens.",  # vLLM
                "Prompt exceeds max length",  # GLM
                "Range of input length should be [1, 98304]",  # Qwen
                "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",  # xAI
                "Please reduce the length of the messages or completion. Current length is 10000 while limit is 8192",  # Cerebras
                "prompt token count of 140000 exceeds the limit of 128000",  # Copilot
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",  # Google
                "`inputs` tokens + `max_new_tokens` must be <= 32769.",  # Together
                "The number of tokens to keep from the initial prompt is greater than the context length",  # LM Studio
                "Please reduce the length of the input messages or the number of requested output tokens.",
                "Please reduce the length of either one, or use the middle-out transform.",  # OpenRouter
            )
        ),
        # of a part that no shorter conversation would mend
        *(
            (400, openai(message), "bad_request", message, None, None)
            for message in ("Please reduce the length of the tool name.", "Please reduce the length of your stop sequences.")
        ),
        # a plain string (xAI, Venice, Pollinations), also with a code beside it
        (400, {"error": "m"}, "bad_request", "m", None, None),
        (400, {"code": "Client specified an invalid argument", "error": "m"}, "bad_request", "m", None, None),
        # none at all (Mistral, Cerebras)
        (
            400,
            {"object": "error", "message": "m", "type": "invalid_request", "param": None, "code": "1234"},
            "bad_request",
            "m",
            None,
            None,
        ),
        (
            422,
            {"message": "m", "type": "invalid_request_error", "param": "validation_error", "code": "wrong_api_format"},
            "bad_request",
            "m",
            "wrong_api_format",
            "validation_error",
        ),
        (
            422,
            {"detail": [{"loc": ["body", "messages", 0], "msg": "m", "type": "missing"}]},
            "bad_request",
            "body.messages.0: m",
            None,
            None,
        ),
        (422, {"detail": "m"}, "bad_request", "m", None, None),
        (422, {"object": "error", "message": {"detail": [{"loc": ["body"], "msg": "m"}]}}, "bad_request", "body: m", None, None),
        # a number as code (OpenRouter, llama.cpp, Perplexity)
        (400, {"error": {"message": "m", "code": 400}}, "bad_request", "m", None, None),
        (500, {"error": {"code": 500, "message": "m", "type": "server_error"}}, "server", "m", None, None),
        (
            400,
            {"error": {"code": 400, "message": "m", "type": "exceed_context_size_error", "n_ctx": 8}},
            "context_too_long",
            "m",
            None,
            None,
        ),
        # an account that has nothing left (MiniMax, Venice)
        (429, {"error": {"http_code": "429", "message": "m", "type": "insufficient_balance_error"}}, "billing", "m", None, None),
        (403, {"code": "INSUFFICIENT_BALANCE", "message": "m"}, "billing", "m", None, None),
        # with HTTP 200 the object says what it is
        (200, {"error": {"message": "m", "code": 429}}, "rate_limit", "m", None, None),
        (200, {"error": {"message": "m", "code": "503"}}, "overloaded", "m", None, None),
        (200, {"error": {"message": "m", "type": "authentication_error"}}, "auth", "m", None, None),
        (200, {"error": {"message": "m"}}, "server", "m", None, None),
        (
            200,
            {"error": {"message": "m", "type": "service_unavailable_error", "code": "server_is_overloaded"}},
            "overloaded",
            "m",
            None,
            None,
        ),
        (200, {"error": {"message": "m", "code": "slow_down"}}, "overloaded", "m", None, None),
        (200, {"error": {"message": "m", "type": "engine_overloaded_error"}}, "overloaded", "m", None, None),
        # others
        (429, [{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}], "rate_limit", "m", None, None),
        (400, {"error": {"message": "outer", "error": {"message": "inner", "param": "p"}}}, "bad_request", "outer", None, "p"),
        (
            502,
            b"<html><head><title>502</title></head><body><h1>502 Bad   Gateway</h1></body></html>",
            "bad_gateway",
            "502 Bad Gateway",
            None,
            None,
        ),
        (503, b"upstream connect error", "overloaded", "upstream connect error", None, None),
        (500, b'"m"', "server", "m", None, None),
        (500, b"", "server", "The upstream answered with status 500.", None, None),
        (500, b"null", "server", "null", None, None),
    ],
)
def test_forms(status: int, value: Any, kind: str, message: str, code: str | None, param: str | None) -> None:
    error = decode(status, value)
    assert error.kind == kind
    assert error.param == param
    assert error.message == message
    assert (error.code or None) == code


@pytest.mark.parametrize(
    ("kind", "chat_status", "chat_type", "chat_code", "messages_status", "messages_type"),
    [
        (429, 429, "rate_limit_error", "rate_limit_exceeded", 429, "rate_limit_error"),
        (529, 503, "server_error", "overloaded", 529, "overloaded_error"),
        (402, 429, "insufficient_quota", "insufficient_quota", 402, "billing_error"),
        (404, 404, "invalid_request_error", None, 404, "not_found_error"),
        (500, 500, "server_error", None, 500, "api_error"),
    ],
)
def test_how_clients_read_them(
    kind: int, chat_status: int, chat_type: str, chat_code: str | None, messages_status: int, messages_type: str
) -> None:
    error = decode(kind, {"error": {"message": "m"}})
    assert error.http_status("chat") == error.http_status("responses") == chat_status
    told = json.loads(error.body("chat", "req_1"))["error"]
    assert told == {"message": "m", "type": chat_type, "param": None, "code": chat_code}
    assert error.http_status("messages") == messages_status
    other = json.loads(error.body("messages", "req_1"))
    assert other == {"type": "error", "error": {"type": messages_type, "message": "m"}, "request_id": "req_1"}


def test_odd_statuses_are_kept() -> None:
    assert decode(418, openai()).http_status("chat") == 418
    assert decode(599, openai()).http_status("chat") == 502


def test_a_page_is_shortened() -> None:
    assert len(decode(500, b"x " * 100_000).message) <= 500
    assert len(decode(500, b"<" * 100_000).message) <= 500


def test_what_is_owed_is_not_tried_again() -> None:
    assert decode(402, openai()).should_retry is False
    assert decode(429, openai()).should_retry is None
