"""Claude behind Amazon Bedrock's InvokeModel, over real sockets, with a double that verifies every signature with botocore's signer."""

from __future__ import annotations

import asyncio
import os
import random
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anthropic
import orjson
import pytest

from dragoman.codecs.carriers import CARRIERS
from dragoman.proxy.credentials import sigv4
from dragoman.proxy.credentials.aws import Keys

from ..proxies import HOST
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, respond, stream_head, until_closed, wait
from .aws import KEY_ID, SECRET, Bedrock, chunk_of, event, exception, frame, refused, streamed
from .bedrock import ARN, CONFIG, EVENT_STREAM, EVENTS, IN_REQUESTS, KEYS, MESSAGE, MODEL, PATH, RAW, Answers, ask, asked, config
from .inside import Inside, inside_once
from .wire import request

CORPUS = os.environ.get("DRAGOMAN_CORPUS", "")


# ---- the request (C03, C05, C06, C07, C09) ----


@inside_once
async def test_c03_the_callers_bytes_go_to_invoke_model() -> None:
    answers = Answers()
    body = b'{ "model" : "c", "max_tokens": 1e2,\t"stream":false, "messages": [{"role":"user","content":"\\u00e9 \\"model\\": 1"}] }'
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        status, headers, answer = await ask(gateway, "messages", body, anthropic_version="2023-06-01", x_stainless_lang="python")
    assert (status, up.wrong) == (200, [])
    (sent,) = answers.seen
    assert sent.target == PATH
    kept = b'  "max_tokens": 1e2,\t "messages": [{"role":"user","content":"\\u00e9 \\"model\\": 1"}] '
    assert sent.body == b'{%b,"anthropic_version":"bedrock-2023-05-31"}' % kept
    assert sent.headers["accept"] == "application/json"
    assert not {name for name in sent.headers if name.startswith(("anthropic-", "x-stainless", "x-api-key"))}
    assert headers["x-dragoman-lane"] == "bytes"
    assert orjson.loads(answer) == MESSAGE | {"model": "c"}


@pytest.mark.parametrize("shape", ["chat", "responses"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@inside_once
async def test_c05_callers_of_other_apis_are_translated(shape: str, stream: bool) -> None:
    answers = Answers()
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        status, headers, answer = await ask(gateway, shape, asked(shape, stream=stream))
    assert (status, up.wrong, headers["x-dragoman-lane"]) == (200, [], "events")
    (sent,) = answers.seen
    assert sent.target == PATH + ("-with-response-stream" if stream else "")
    assert not {"model", "stream"} & sent.json.keys()
    assert sent.json["anthropic_version"] == "bedrock-2023-05-31"
    assert b"Hi" in answer or (b'"H"' in answer and b'"i"' in answer)
    if stream:
        assert sent.headers["accept"] == "application/vnd.amazon.eventstream"
        assert sent.headers["x-amzn-bedrock-accept"] == "application/json"


@inside_once
async def test_c06_an_inference_profile_has_the_flags_of_its_base_model() -> None:
    answers = Answers()
    text = config("base_model: anthropic.claude-opus-5-5").replace(f"bedrock/{MODEL}", f"bedrock/{ARN}")
    async with Bedrock(answers) as up, Inside(text, up) as gateway:
        status, _, _ = await ask(gateway, "chat", asked("chat", temperature=0.5, reasoning_effort="max"))
    assert (status, up.wrong) == (200, [])
    (sent,) = answers.seen
    assert sent.target == "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc/invoke"
    assert "temperature" not in sent.json
    assert sent.json["output_config"] == {"effort": "max"}


@inside_once
async def test_c07_a_key_is_a_bearer_and_nothing_is_signed() -> None:
    answers = Answers()
    text = config("access_key: bedrock-api-key-1").replace(KEYS, "region: us-east-1")
    async with Bedrock(answers) as up, Inside(text, up) as gateway:
        status, _, _ = await ask(gateway, "messages", asked())
    assert (status, up.wrong) == (200, [])
    assert answers.seen[0].headers["authorization"] == "Bearer bedrock-api-key-1"
    assert not {name for name in answers.seen[0].headers if name.startswith("x-amz-")}


@inside_once
async def test_c09_what_a_proxy_may_change_is_not_signed() -> None:
    answers = Answers()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        told = {"traceparent": trace, "user_agent": "me/1", "x_request_id": "mine-1"}
        status, _, _ = await ask(gateway, "messages", asked(), **told)
    assert (status, up.wrong) == (200, [])
    sent = answers.seen[0].headers
    assert (sent["user-agent"], sent["traceparent"], sent["x-request-id"]) == ("me/1", trace, "mine-1")
    on_the_way = {"user-agent": "proxy", "traceparent": f"{trace[:-2]}00", "tracestate": "a=b", "connection": "close", "via": "1.1 proxy"}
    assert up.verify(replace(answers.seen[0], headers=sent | on_the_way | {"x-request-id": "other", "expect": "100-continue"})) == ""
    signed = sent["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert signed == "accept;content-type;host;x-amz-content-sha256;x-amz-date"


def test_c08_a_thousand_requests_are_accepted() -> None:
    """By the double, which knows what was sent alone."""
    chance, up = random.Random(8), Bedrock(Answers())
    given = Keys("", None, None, KEY_ID, SECRET)
    letters = "abcXYZ019-._~:/%+ ;é\U0001f600"

    def text() -> str:
        return "".join(chance.choices(letters, k=chance.randrange(1, 40)))

    for _ in range(1000):
        target = CARRIERS["bedrock_invoke"].url("", f"a{text()}", chance.random() < 0.5)
        body = chance.randbytes(chance.randrange(200))
        headers = {"host": "bedrock:8443", "content-type": "application/json", "accept": "*/*", "x-amzn-bedrock-x": text().encode().hex()}
        headers |= {"user-agent": text(), "traceparent": text()}
        headers |= given.sign("POST", target, headers, body, ("us-east-1", "bedrock"))
        assert up.verify(Request("POST", target, headers, body, 0)) == ""


@inside_once
async def test_c38_a_proxy_is_not_signed() -> None:
    """It is asked by the whole URL, with its login; the upstream gets the path."""
    answers = Answers()
    double = Bedrock(answers)
    with Provider(lambda one: double._script(replace(one, target=one.target.removeprefix(f"http://{HOST}")))) as proxy:
        text = config(f'proxy: "http://me:p@127.0.0.1:{proxy.port}"').replace("UPSTREAM", f"http://{HOST}")
        async with Inside(text) as gateway:
            status, _, _ = await ask(gateway, "messages", asked())
    assert (status, double.wrong, proxy.requests[0].target) == (200, [], f"http://{HOST}{PATH}")
    assert "proxy-authorization" in proxy.requests[0].headers


@inside_once
async def test_c40_the_inspector_shows_what_a_signature_holds_for() -> None:
    shown: list[str] = []
    async with Bedrock(Answers()) as up, Inside(config(), up) as gateway:
        gateway.gateway.inspector.watch(lambda *said: shown.append(str(said)), True)
        await ask(gateway, "messages", asked())
        await gateway.until(lambda: "Credential=" in "".join(shown))
    day = up.requests[0].headers["x-amz-date"][:8]
    text = "".join(shown)
    assert f"authorization: AWS4-HMAC-SHA256 Credential=‹credential›/{day}/us-east-1/bedrock/aws4_request" in text
    for secret in (KEY_ID, SECRET, up.requests[0].headers["authorization"].rpartition("=")[2]):
        assert secret not in text


@inside_once
async def test_c08_one_changed_byte_is_refused() -> None:
    answers = Answers()
    with Bedrock(answers) as up:
        async with Inside(config(), up) as gateway:
            await ask(gateway, "messages", asked())
        sent = answers.seen[0]
        assert up.verify(sent) == ""
        flipped = [replace(sent, body=other.encode()) for other in _flipped(sent.body.decode())]
        flipped += [replace(sent, target=other) for other in _flipped(sent.target)]
        for name in sigv4.signed(sent.headers):
            flipped += [replace(sent, headers=sent.headers | {name: other}) for other in _flipped(sent.headers[name])]
        for changed in (*flipped, replace(sent, method="PUT")):
            try:
                assert up.verify(changed) != ""
            except ValueError:  # a date that is none
                assert changed.headers["x-amz-date"] != sent.headers["x-amz-date"]


def _flipped(text: str) -> Iterator[str]:
    """A text with one bit of one byte changed, for each byte."""
    for at, letter in enumerate(text):
        yield text[:at] + chr(ord(letter) ^ 1) + text[at + 1 :]


@inside_once
async def test_large_bodies_are_signed_apart() -> None:
    answers = Answers()
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        status, _, _ = await ask(gateway, "messages", asked(messages=[{"role": "user", "content": "é" * 1_500_000}]))
    assert (status, up.wrong) == (200, [])
    assert len(answers.seen[0].body) > 2_900_000


# ---- the answer (C04, C23, C24, C25) ----


@inside_once
async def test_c04_a_stream_comes_down_as_the_events_in_it() -> None:
    answers = Answers()
    async with Bedrock(answers) as up, Inside(config("capabilities: {echo_model: upstream}"), up) as gateway:
        status, headers, answer = await ask(gateway, "messages", asked(stream=True))
    assert (status, up.wrong, headers["x-dragoman-lane"]) == (200, [], "bytes")
    assert headers["content-type"].startswith("text/event-stream")
    wanted = b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), raw) for one, raw in zip(EVENTS, RAW, strict=True))
    assert answer == wanted


@inside_once
async def test_the_model_is_shown_as_it_was_asked_for() -> None:
    async with Bedrock(Answers()) as up, Inside(config(), up) as gateway:
        _, _, answer = await ask(gateway, "messages", asked(stream=True))
    assert b'"model":"c"' in answer
    assert b"claude-sonnet" not in answer


@pytest.mark.parametrize("shape", ["messages", "chat"])
@inside_once
async def test_events_that_are_unknown_are_passed_over(shape: str) -> None:
    odd = (event("chunk", {"bytes": "bm8="}), event("chunk", {}), event("other", {"x": 1}), frame({":message-type": "odd"}, b"{}"))
    pretty = [chunk_of(orjson.dumps(one, option=orjson.OPT_INDENT_2)) for one in EVENTS]
    async with Bedrock(Answers(*odd, *pretty)) as up, Inside(config(), up) as gateway:
        status, _, answer = await ask(gateway, shape, asked(shape, stream=True))
    assert status == 200
    assert b"error" not in answer
    assert (b"message_stop" if shape == "messages" else b"[DONE]") in answer


FAULTS = {
    "cut": (chunk_of(RAW[3])[:-20], b"ended before"),
    "crc": (chunk_of(RAW[3])[:-1] + b"\0", b"damaged"),
    "length": (b"\xff" * 40, b"damaged"),
    "oversize": (chunk_of(b"x" * (1 << 20)), b"damaged or too long"),
    "early": (b"", b"ended before"),
    "exception": (exception("modelStreamErrorException", "It broke."), b"It broke."),
    "error": (frame({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "It broke."}, b""), b"It broke."),
}


@pytest.mark.parametrize("shape", ["messages", "chat", "responses"])
@pytest.mark.parametrize("fault", FAULTS)
@inside_once
async def test_c23_c24_a_stream_that_fails_says_so_in_the_callers_api(shape: str, fault: str) -> None:
    rest, words = FAULTS[fault]
    gate = Gate()
    begun = [stream_head(content_type=EVENT_STREAM), chunk(b"".join(map(chunk_of, RAW[:3])))]
    with Bedrock(lambda _: [*begun, wait(gate), *([chunk(rest)] if rest else []), LAST_CHUNK]) as up:
        async with Inside(f"limits: {{max_event: 1MB}}\n{config()}", up) as gateway:
            async with gateway.ask(shape, "c", stream=True) as caller:
                status, _ = await caller.head()
                answer = await caller.until(b'"H"')
                gate.open()
                while piece := await caller.chunk():
                    answer += piece
            await ask(gateway, shape, asked(shape, stream=True))
        assert len(up.connections) == 2 or b"damaged" not in words, "what was damaged is not used again"
    assert status == 200
    assert b"error" in answer
    assert words in answer
    assert b"message_stop" not in answer
    assert b"response.completed" not in answer


@pytest.mark.parametrize("shape", ["messages", "chat"])
@inside_once
async def test_c23_an_exception_before_the_first_content_goes_to_the_next_candidate(shape: str) -> None:
    def script(request: Request) -> Steps:
        if "haiku" in request.target:
            return streamed(*map(chunk_of, RAW))
        return streamed(chunk_of(RAW[0]), exception("throttlingException", "Too many requests"))

    second = f'  - {{model: "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0", name: c, base_url: "UPSTREAM", aws: {{{KEYS}}}}}\n'
    async with Bedrock(script) as up, Inside(config() + second, up) as gateway:
        status, headers, answer = await ask(gateway, shape, asked(shape, stream=True))
    assert status == 200
    assert headers["x-dragoman-upstream"] == "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0"
    assert b"Too many" not in answer


@inside_once
async def test_c24_another_content_type_is_no_stream() -> None:
    with Bedrock(lambda _: [respond(b"<html>", content_type="text/html")]) as up:
        async with Inside(config(), up) as gateway:
            status, _, answer = await ask(gateway, "messages", asked(stream=True))
            assert status == 502
            assert orjson.loads(answer)["error"]["type"] == "api_error"
            await ask(gateway, "messages", asked(stream=True))
        assert len(up.connections) == 2


@pytest.mark.parametrize(
    ("status", "name", "message", "caller", "kind", "shown"),
    [
        (429, "ThrottlingException", "Too many requests", 429, "rate_limit_error", "Too many requests"),
        (429, "ModelNotReadyException", "Not ready", 529, "overloaded_error", "Not ready"),
        (503, "ServiceUnavailableException", "Model is getting throttled. Try your request again.", 429, "rate_limit_error", "throttled"),
        (503, "ServiceUnavailableException", "Down", 529, "overloaded_error", "Down"),
        (408, "ModelTimeoutException", "Slow", 504, "timeout_error", "Slow"),
        (404, "ResourceNotFoundException", "This model is at the end of its life", 404, "not_found_error", "end of its life"),
        (400, "ValidationException", "Input is too long for requested model.", 400, "invalid_request_error", "Input is too long"),
        (400, "ValidationException", "The provided model identifier is invalid.", 502, "api_error", "identifier is invalid"),
        (400, "ValidationException", "Operation not allowed", 403, "permission_error", "credential"),
        (403, "AccessDeniedException", "arn:aws:iam::1:user/x is not authorized", 403, "permission_error", "credential"),
        (400, "ServiceQuotaExceededException", "Your quota", 429, "rate_limit_error", "Your quota"),
        (
            400,
            "ValidationException",
            "The model returned the following errors: messages: bad",
            400,
            "invalid_request_error",
            "messages: bad",
        ),
        (418, "NewException", "Odd", 400, "invalid_request_error", "Odd"),
    ],
)
@inside_once
async def test_c25_c26_errors(status: int, name: str, message: str, caller: int, kind: str, shown: str) -> None:
    async with Bedrock(lambda _: refused(status, name, message)) as up, Inside(config(), up) as gateway:
        code, headers, answer = await ask(gateway, "messages", asked())
    assert (code, orjson.loads(answer)["error"]["type"]) == (caller, kind)
    said = orjson.loads(answer)["error"]["message"]
    assert shown in said
    assert "following errors" not in said
    assert "retry-after" not in headers


@pytest.mark.parametrize(
    ("status", "name", "message"),
    [
        (408, "ModelTimeoutException", "Slow"),
        (424, "ModelErrorException", "Odd"),
        (400, "ServiceQuotaExceededException", "Your quota"),
        (404, "ResourceNotFoundException", "Gone"),
        (400, "ValidationException", "The provided model identifier is invalid."),
        (400, "ValidationException", "Operation not allowed"),
        (403, "AccessDeniedException", "no"),
        (429, "ThrottlingException", "Too many tokens per day, please wait"),
    ],
)
@inside_once
async def test_c25_what_another_upstream_may_answer_goes_there_at_once(status: int, name: str, message: str) -> None:
    def script(request: Request) -> Steps:
        return [respond(MESSAGE)] if "haiku" in request.target else refused(status, name, message)

    second = f'  - {{model: "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0", name: c, base_url: "UPSTREAM", aws: {{{KEYS}}}}}\n'
    async with Bedrock(script) as up, Inside(config("retry_policy: {max_attempts: 3, backoff: {base: 1ms}}") + second, up) as gateway:
        code, _, _ = await ask(gateway, "messages", asked())
    assert (code, len([one for one in up.requests if "haiku" not in one.target])) == (200, 1)


@pytest.mark.parametrize(("original", "asked_times"), [(500, 3), (529, 3), (400, 1), (None, 1), ("500", 1)])
@inside_once
async def test_c25_the_status_of_the_model_s_own_server_decides(original: Any, asked_times: int) -> None:
    body = {"message": "Odd", "originalStatusCode": original}
    with Bedrock(lambda _: [respond(body, 424, x_amzn_errortype="ModelErrorException")]) as up:
        async with Inside(config("retry_policy: {max_attempts: 3, backoff: {base: 1ms}}"), up) as gateway:
            await ask(gateway, "messages", asked())
    assert len(up.requests) == asked_times


# ---- what an entry asks for in every request ----


@inside_once
async def test_guardrails_of_an_entry_are_headers_of_invoke_model() -> None:
    answers = Answers()
    async with Bedrock(answers) as up, Inside(config().replace(KEYS, f"{KEYS}, {IN_REQUESTS}"), up) as gateway:
        status, _, _ = await ask(gateway, "messages", asked())
    assert (status, up.wrong) == (200, [])
    sent = {name: value for name, value in answers.seen[0].headers.items() if name.startswith("x-amzn-bedrock")}
    assert sent == {
        "x-amzn-bedrock-guardrailidentifier": "gr1",
        "x-amzn-bedrock-guardrailversion": "3",
        "x-amzn-bedrock-trace": "ENABLED",
        "x-amzn-bedrock-request-metadata": '{"team":"a"}',
        "x-amzn-bedrock-projectidentifier": "p1",
    }


# ---- betas (C17) ----


@inside_once
async def test_c17_betas_that_bedrock_does_not_know_are_held_back() -> None:
    answers = Answers()
    betas = "effort-2025-11-24,claude-code-20250219, advanced-tool-use-2025-11-20"
    async with Bedrock(answers) as up, Inside(config(), up) as gateway:
        _, headers, _ = await ask(gateway, "messages", asked(), anthropic_beta=betas)
    assert answers.seen[0].json["anthropic_beta"] == ["effort-2025-11-24", "tool-search-tool-2025-10-19"]
    assert headers["x-dragoman-dropped"] == "header:anthropic-beta"


@pytest.mark.parametrize(("provider", "service"), [("bedrock", "bedrock"), ("bedrock_mantle", "bedrock-mantle")])
@inside_once
async def test_c17_a_caller_who_wants_nothing_left_out_is_told_which_beta_is(provider: str, service: str) -> None:
    answers = Answers()
    async with Bedrock(answers, service=service) as up, Inside(config().replace("bedrock/", f"{provider}/"), up) as gateway:
        for betas, wanted in (("effort-2025-11-24", 200), ("effort-2025-11-24, files-api-2025-04-14", 400)):
            status, _, body = await ask(gateway, "messages", asked(), anthropic_beta=betas, x_dragoman_strict="1")
            assert status == wanted
    assert orjson.loads(body)["error"]["message"] == "The beta `files-api-2025-04-14` cannot be carried to the selected model."
    assert (len(answers.seen), up.wrong) == (1, [])


@inside_once
async def test_c17_a_beta_that_is_refused_is_left_out_from_then_on() -> None:
    seen: list[Request] = []

    def script(request: Request) -> Steps:
        seen.append(request)
        return refused(400, "ValidationException", "invalid beta flag") if "anthropic_beta" in request.json else [respond(MESSAGE)]

    async with Bedrock(script) as up, Inside(config(), up) as gateway:
        for _ in range(2):
            status, _, _ = await ask(gateway, "messages", asked(), anthropic_beta="effort-2025-11-24")
            assert status == 200
    assert ["anthropic_beta" in one.json for one in seen] == [True, False, False]


@pytest.mark.parametrize(("model", "sent"), [(MODEL, False), ("anthropic.claude-opus-5", True)])
@inside_once
async def test_members_that_bedrock_refuses_are_left_out(model: str, sent: bool) -> None:
    answers = Answers()
    more = {"cache_control": {"type": "ephemeral"}, "tags": ["x"], "service_tier": "flex"}
    async with Bedrock(answers) as up, Inside(config().replace(MODEL, model), up) as gateway:
        _, headers, _ = await ask(gateway, "messages", asked(**more))
    assert ("cache_control" in answers.seen[0].json) == sent
    assert not {"tags", "service_tier"} & answers.seen[0].json.keys()
    assert answers.seen[0].headers["x-amzn-bedrock-service-tier"] == "flex"
    assert headers["x-dragoman-dropped"] == ("tags" if sent else "cache_control,tags")


# ---- clocks and keys (C10, C11) ----


@inside_once
async def test_c10_a_clock_that_is_wrong_is_set() -> None:
    answers = Answers()
    with Bedrock(answers) as up:
        up.offset = timedelta(minutes=10)
        async with Inside(config(), up) as gateway:
            for count in (1, 1):
                status, _, _ = await ask(gateway, "messages", asked())
                assert status == 200
                assert len(up.wrong) == count
    assert len(answers.seen) == 2


@inside_once
async def test_c10_a_signature_that_stays_wrong_is_the_operators_fault() -> None:
    async with Bedrock(Answers(), keys={KEY_ID: "another secret"}) as up, Inside(config(), up) as gateway:
        status, headers, answer = await ask(gateway, "messages", asked())
    assert (status, len(up.wrong)) == (502, 1)
    assert headers["x-should-retry"] == "false"
    assert SECRET.encode() not in answer


@inside_once
async def test_c10_a_clock_that_is_another_each_time_is_set_once() -> None:
    def script(request: Request) -> Steps:
        now = f"{datetime.now(UTC) + timedelta(hours=len(up.requests)):%Y%m%dT%H%M%SZ}"
        told = f"Signature expired: 20261129T115500Z is now earlier than {now} ({now} - 5 min.)"
        return [respond({"message": told}, 403, x_amzn_errortype="InvalidSignatureException")]

    async with Provider(script) as up, Inside(config(), up) as gateway:
        status, headers, _ = await ask(gateway, "messages", asked())
    assert (status, headers["x-should-retry"], len(up.requests)) == (502, "false", 2)


@inside_once
async def test_c11_a_key_that_has_ended_is_asked_for_once() -> None:
    second = CONFIG.replace("MORE", "").replace("model_providers:", "").replace(KEY_ID, "AKIDOTHER")
    async with Bedrock(Answers(), keys={"AKIDOTHER": SECRET}) as up, Inside(config() + second, up) as gateway:
        status, _, _ = await ask(gateway, "messages", asked())
    assert status == 200
    assert up.wrong == ["the key is unknown"] * 2


# ---- the caller leaves (C27) ----


@inside_once
async def test_c27_the_upstream_is_let_go_when_the_caller_leaves() -> None:
    def script(request: Request) -> Steps:
        head = stream_head(content_type=EVENT_STREAM)
        return [head, *(chunk(chunk_of(raw)) for raw in RAW[:3]), until_closed]

    async with Provider(script) as up, Inside(config(), up) as gateway:
        async with gateway.ask("messages", "c", stream=True) as caller:
            await caller.head()
            await caller.until(b"text_delta")
            caller.leave()
            await gateway.until(lambda: gateway.idle)
        await up.seen(lambda: up.connections[0].closed_by == "peer")
    await asyncio.sleep(0)


# ---- counts (C28) ----

COUNTED = "anthropic.claude-sonnet-4-20250514-v1:0"  # without a geography


@pytest.mark.parametrize(
    ("model", "answer", "counted", "questions"),
    [
        (COUNTED, respond({"inputTokens": 42}), 42, 2),
        (COUNTED, refused(400, "ValidationException", "server tools")[0], None, 2),
        (COUNTED, refused(400, "ValidationException", "The provided model doesn't support counting tokens.")[0], None, 1),  # remembered
        (COUNTED, refused(503, "ServiceUnavailableException", "Down")[0], None, 2),
        (MODEL, b"", None, 0),
    ],
)
@inside_once
async def test_c28_token_counts(model: str, answer: bytes, counted: int | None, questions: int) -> None:
    seen: list[Request] = []

    def script(request: Request) -> Steps:
        seen.append(request)
        return [answer]

    async with Bedrock(script) as up, Inside(config().replace(MODEL, model), up) as gateway:
        body = {"model": "c", "messages": [{"role": "user", "content": "count me"}]}
        for _ in range(2):
            async with gateway.call(request("/v1/messages/count_tokens", body)) as caller:
                status, headers = await caller.head()
                found = orjson.loads(await caller.body(headers))["input_tokens"]
            assert (status, up.wrong, "x-dragoman-estimate" in headers) == (200, [], counted is None)
            assert found == counted or (counted is None and found > 0)
    assert [one.target for one in seen] == [f"/model/{model.replace(':', '%3A')}/count-tokens"] * questions
    if seen:
        inner = orjson.loads(b64decode(seen[0].json["input"]["invokeModel"]["body"]))
        assert inner == {"messages": body["messages"], "max_tokens": 1, "anthropic_version": "bedrock-2023-05-31"}


# ---- the vendor's SDK as the judge (C04) ----


def _is_claude(path: Path) -> bool:
    recorded = orjson.loads((path.parent / "meta.json").read_bytes())
    return "anthropic.claude" in str(recorded["model"]) and "invoke" in recorded["api"] and "instant" not in recorded["model"]


RECORDED = [path for path in sorted(Path(CORPUS).glob("recordings/*/stream/*/response.eventstream")) if _is_claude(path)] if CORPUS else []


STREAMS = {"scripted": b"".join(map(chunk_of, RAW))} | {path.parent.name: path.read_bytes() for path in RECORDED}


@pytest.mark.parametrize("name", STREAMS)
@inside_once
async def test_c04_the_sdk_assembles_what_its_bedrock_client_does(name: str) -> None:
    frames = STREAMS[name]
    asks: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "q"}]}
    async with Bedrock(lambda _: streamed(frames)) as up, Inside(config("capabilities: {echo_model: upstream}"), up) as gateway:
        ours = anthropic.AsyncAnthropic(api_key="k", base_url=f"http://127.0.0.1:{gateway.port}", max_retries=0)
        theirs = anthropic.AsyncAnthropicBedrock(api_key="k", base_url=up.url, aws_region="us-east-1", max_retries=0)
        async with ours, theirs:
            async with ours.messages.stream(model="c", **asks) as stream:
                found = await stream.get_final_message()
            async with theirs.messages.stream(model=MODEL, **asks) as stream:
                wanted = await stream.get_final_message()
    assert up.wrong == []
    assert found == wanted
    assert [unquote(one.target) for one in up.requests] == [f"/model/{MODEL}/invoke-with-response-stream"] * 2
    assert up.requests[0].json == up.requests[1].json
