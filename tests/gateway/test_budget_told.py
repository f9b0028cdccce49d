"""What a coding agent is told of its key's budget: by the headers of answers, by the refusal, and at /api/oauth/usage."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from dragoman.codecs import errors
from dragoman.codecs.usage import Usage
from dragoman.proxy.keys import quota

from .inside import Inside, inside_once
from .spoken import ASKED, PATHS
from .wire import request

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers: [{model: demo/*}]
access_keys:
  - {key: key-capped, name: capped, budget: {usd: 10, per: PER}}
  - {key: key-free, name: free, requests_per_minute: 100}
"""
UNIFIED = "anthropic-ratelimit-unified-"
CODEX = "x-codex-primary-"


def told(headers: dict[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in headers.items() if name.startswith(prefix)}


async def ask(gateway: Inside, shape: str, key: str = "key-capped", stream: bool = False) -> tuple[int, dict[str, str], bytes]:
    body = {"model": "demo/echo", **ASKED[shape], "stream": stream}
    async with gateway.call(request(PATHS[shape], body, authorization=f"Bearer {key}")) as caller:
        status, headers = await caller.head()
        return status, headers, await caller.body(headers)


def spend(gateway: Inside, usd: float) -> None:
    services = gateway.gateway.services
    services.quota.settle(services.access.admit("key-capped"), Usage(1, 1), usd)


ANSWERED = [  # dollars of 10, and what Claude Code is told: status, utilization, threshold
    (0.0, "allowed", "0", None),
    (7.5, "allowed", "0.75", None),
    (7.51, "allowed_warning", "0.75", "0.75"),
    (9.6, "allowed_warning", "0.96", "0.95"),
    (9.999, "allowed_warning", "0.99", "0.95"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("usd", "status", "used", "threshold"), ANSWERED)
@inside_once
async def test_answers_tell_claude_code(usd: float, status: str, used: str, threshold: str | None, stream: bool) -> None:
    async with Inside(CONFIG, PER="month") as gateway:
        spend(gateway, usd)
        code, headers, _ = await ask(gateway, "messages", stream=stream)
        ends = str(round(quota.period("month", time.time()).ends.timestamp()))
        expected = {
            "status": status,
            "overage-status": status,
            "representative-claim": "overage",
            "overage-utilization": used,
            "reset": ends,
            "overage-reset": ends,
        }
        assert code == 200
        assert told(headers, UNIFIED) == expected | ({} if threshold is None else {"overage-surpassed-threshold": threshold})


@pytest.mark.parametrize(("per", "period"), [("hour", None), ("day", "daily"), ("week", "weekly"), ("month", "monthly")])
@inside_once
async def test_the_refusal_is_as_claude_code_expects_it(per: str, period: str | None) -> None:
    async with Inside(CONFIG, PER=per) as gateway:
        spend(gateway, 10)
        code, headers, body = await ask(gateway, "messages")
        ends = quota.period(per, time.time()).ends.timestamp()
        expected = {
            "status": "rejected",
            "reset": str(round(ends)),
            "overage-reset": str(round(ends)),
            "overage-utilization": "1",
            "overage-surpassed-threshold": "1",
            "overage-disabled-reason": "org_spend_cap_reached",
        }
        assert (code, headers["x-should-retry"]) == (429, "false")
        assert 0 <= ends - time.time() - int(headers["retry-after"]) + 2 <= 5
        assert told(headers, UNIFIED) == expected | ({"overage-period": period} if period else {})
        error = orjson.loads(body)
        assert error["error"]["type"] == "billing_error"
        assert "It resets at" in error["error"]["message"]


@inside_once
async def test_codex_is_told_over_responses() -> None:
    async with Inside(CONFIG, PER="day") as gateway:
        spend(gateway, 4.2)
        ends = str(round(quota.period("day", time.time()).ends.timestamp()))
        code, headers, _ = await ask(gateway, "responses", stream=True)
        assert (code, told(headers, CODEX)) == (200, {"used-percent": "42", "window-minutes": "1440", "reset-at": ends})
        spend(gateway, 6)
        code, headers, body = await ask(gateway, "responses")
        assert (code, told(headers, CODEX)) == (429, {"used-percent": "100", "window-minutes": "1440", "reset-at": ends})
        error = orjson.loads(body)["error"]
        assert (error["type"], error["resets_at"]) == ("usage_limit_reached", int(ends))
        assert not told(headers, UNIFIED)


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
@inside_once
async def test_nothing_is_told_without_a_budget(shape: str) -> None:
    async with Inside(CONFIG, PER="day") as gateway:
        _, headers, _ = await ask(gateway, shape, "key-free")
        assert not told(headers, UNIFIED)
        assert not told(headers, CODEX)


async def standing(gateway: Inside, key: str | None) -> tuple[int, dict[str, str], Any]:
    credential = f"Authorization: Bearer {key}\r\n" if key else ""
    async with gateway.call(f"GET /api/oauth/usage HTTP/1.1\r\nHost: localhost\r\n{credential}\r\n".encode()) as caller:
        status, headers = await caller.head()
        return status, headers, orjson.loads(await caller.body(headers))


STANDINGS = [  # dollars of 10; cents, percent, severity
    (0.0, 0, 0, "normal"),
    (2.7149, 271, 27, "normal"),
    (8.0, 800, 80, "warning"),
    (9.999, 999, 99, "critical"),
    (12.5, 1250, 125, "critical"),
]


@pytest.mark.parametrize(("usd", "cents", "percent", "severity"), STANDINGS)
@inside_once
async def test_the_dollars(usd: float, cents: int, percent: int, severity: str) -> None:
    async with Inside(CONFIG, PER="week") as gateway:
        spend(gateway, usd)
        status, headers, found = await standing(gateway, "key-capped")
        ends = quota.period("week", time.time()).ends.astimezone(UTC)
        assert (status, headers["cache-control"]) == (200, "no-store")
        assert found["extra_usage"] == {
            "is_enabled": True,
            "monthly_limit": 1000,
            "used_credits": cents,
            "utilization": percent,
            "currency": "USD",
        }
        (row,) = found["limits"]
        assert datetime.fromisoformat(row.pop("resets_at")) == ends
        assert row == {"kind": "spend", "group": "weekly", "percent": percent, "severity": severity, "is_active": True}


@inside_once
async def test_who_may_see_the_dollars() -> None:
    async with Inside(CONFIG, PER="week") as gateway:
        assert (await standing(gateway, "key-free"))[2] == {"limits": []}
        for key in (None, "key-wrong"):
            status, headers, found = await standing(gateway, key)
            assert (status, headers["x-should-retry"], found["error"]["type"]) == (401, "false", "authentication_error")


TOO_LONG = [
    ("prompt is too long: 9 tokens > 8 maximum", "prompt is too long: 9 tokens > 8 maximum"),
    ("This model's maximum context length is 8 tokens.", "This model's maximum context length is 8 tokens."),
    ("Zu lang!", "prompt is too long: Zu lang!"),
]


@pytest.mark.parametrize(("upstream", "caller"), TOO_LONG)
def test_claude_code_sees_that_a_conversation_is_too_long(upstream: str, caller: str) -> None:
    error = errors.Answered(upstream, kind="context_too_long")
    assert orjson.loads(error.body("messages", "r"))["error"]["message"] == caller
    assert orjson.loads(error.body("chat", "r"))["error"]["message"] == upstream


@pytest.mark.parametrize(("block", "token"), [("image", "image_block"), ("document", "document_block")])
@inside_once
async def test_claude_code_learns_what_the_model_does_not_take(block: str, token: str) -> None:
    """It leaves such blocks out then, and asks again."""
    config = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - {model: m/m, base_url: "http://127.0.0.1:9/v1", apis: [chat_completions], capabilities: {c.images: false, c.file_parts: false}}
"""
    source = {"type": "base64", "media_type": "image/png" if block == "image" else "application/zip", "data": "aGk="}
    body = {"model": "m/m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": block, "source": source}]}]}
    async with Inside(config) as gateway, gateway.call(request(PATHS["messages"], body)) as caller:
        status, headers = await caller.head()
        error = orjson.loads(await caller.body(headers))["error"]
        assert (status, error["type"]) == (400, "invalid_request_error")
        assert f"(capability_rejected: {token})" in error["message"]
