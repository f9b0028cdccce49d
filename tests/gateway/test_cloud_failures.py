"""Every failure that a cloud tells, and what a caller of each API gets of it, over running gateways: tables, row by row.

Each row has candidates of its own, because one that fails is passed over for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pytest

from dragoman.codecs import errors

from ..scripted import Provider, Request, Steps, respond
from .aws import Bedrock, chunk_of, exception, streamed
from .bedrock import KEYS, MESSAGE, ask, asked, config
from .bedrock import RAW as EVENTS
from .inside import Inside, inside_once
from .spoken import SPEECH
from .test_converse import START, delta, ends, stop, whole


class Row(NamedTuple):
    """What Bedrock says, and what comes of it: the kind of error; whether the same model is asked again, and whether another is."""

    status: int
    name: str
    message: str
    kind: str
    again: bool
    elsewhere: bool
    original: int | None = None  # what the model's own server said


ROWS = (
    Row(429, "ThrottlingException", "Too many requests", "rate_limit", True, True),
    Row(429, "ThrottlingException", "Too many tokens per day, please wait", "rate_limit", False, True),
    Row(429, "ModelNotReadyException", "Not ready", "overloaded", True, True),
    Row(503, "ServiceUnavailableException", "Down", "overloaded", True, True),
    Row(503, "ServiceUnavailableException", "Model is getting throttled. Try your request again.", "rate_limit", True, True),
    Row(500, "InternalServerException", "Odd", "server", True, True),
    Row(408, "ModelTimeoutException", "Slow", "timeout", False, True),
    Row(424, "ModelErrorException", "Odd", "bad_gateway", False, True),
    Row(424, "ModelErrorException", "Odd", "server", True, True, 500),
    Row(424, "ModelErrorException", "Odd", "overloaded", True, True, 503),
    Row(424, "ModelErrorException", "Odd", "rate_limit", False, True, 429),
    Row(424, "ModelErrorException", "Odd", "bad_request", False, True, 400),
    Row(424, "ModelStreamErrorException", "Odd", "server", True, True, 500),
    Row(400, "ServiceQuotaExceededException", "Your quota", "rate_limit", False, True),
    Row(403, "AccessDeniedException", "arn:aws:iam::1:user/x may not", "upstream_auth", False, True),
    Row(404, "ResourceNotFoundException", "This model version has reached the end of its life.", "not_found", False, True),
    Row(400, "ValidationException", "Malformed input request: odd", "bad_request", False, False),
    Row(400, "ValidationException", "This model doesn't support odd.", "bad_request", False, False),
    Row(400, "ValidationException", "Input is too long for requested model.", "context_too_long", False, False),
    Row(400, "ValidationException", "prompt is too long: 9 tokens > 8 maximum", "context_too_long", False, False),
    Row(400, "ValidationException", "Input Tokens Exceeded: Number of input tokens exceeds", "context_too_long", False, False),
    Row(400, "ValidationException", "too many total text bytes: 9 > 8", "too_large", False, False),
    Row(400, "ValidationException", "The provided model identifier is invalid.", "bad_gateway", False, True),
    Row(400, "ValidationException", "with on-demand throughput isn\u2019t supported.", "bad_gateway", False, True),
    Row(400, "ValidationException", "This model needs a data retention mode.", "upstream_auth", False, True),
    Row(400, "ValidationException", "Operation not allowed", "upstream_auth", False, True),
    Row(418, "NewException", "Odd", "bad_request", False, False),
    Row(507, "NewException", "Odd", "server", False, False),
)  # fmt: skip


FRAMES = {
    "invoke": [chunk_of(one) for one in EVENTS],
    "converse": [START, delta(0, text="H"), delta(0, text="i"), stop(0), *ends()],
}
WHOLE = {"invoke": MESSAGE, "converse": whole({"text": "Hi"})}


def _entries(family: str) -> Iterator[str]:
    """For each row one candidate with another behind it (t0, t1, …), and one alone (a0, a1, …)."""
    policy = ", retry_policy: {max_attempts: 2, backoff: {base: 1ms}}"
    for number in range(len(ROWS)):
        for name, model, more in ((f"t{number}",) * 2 + (policy,), (f"t{number}", "good", ""), (f"a{number}",) * 2 + ("",)):
            yield f'  - {{model: "bedrock/{family}-{model}", name: {name}, base_url: "UPSTREAM", aws: {{{KEYS}}}{more}}}'


FAMILIES = {"invoke": "anthropic.claude-sonnet-4-5", "converse": "amazon.nova-2-lite"}
TOLD = {"invoke": "messages", "converse": "chat"}  # the API of who is told; another's callers are given to the next candidate


@pytest.mark.parametrize("stream", [False, True], ids=["answer", "stream"])
@pytest.mark.parametrize("operation", FAMILIES)
@inside_once
async def test_c25_c26_the_failures_of_bedrock(operation: str, stream: bool) -> None:
    """stream: within the stream, before anything of it."""

    def script(request: Request) -> Steps:
        model = request.target.split("/")[2].rpartition("-")[2]
        if model == "good":
            return streamed(*FRAMES[operation]) if stream else [respond(WHOLE[operation])]
        row = ROWS[int(model[1:])]
        more = {} if row.original is None else {"originalStatusCode": row.original}
        if stream:
            return streamed(exception(row.name[0].lower() + row.name[1:], row.message, **more))
        return [respond({"message": row.message, **more}, row.status, x_amzn_errortype=row.name)]

    wrong: list[tuple[Any, ...]] = []
    async with Bedrock(script) as up, Inside("model_providers:\n" + "\n".join(_entries(FAMILIES[operation])), up) as gateway:
        for number, row in enumerate(ROWS):
            if stream and row.name == "NewException":
                continue
            before = len(up.requests)
            other = "chat" if operation == "invoke" else "messages"
            status, _, _ = await ask(gateway, other, asked(other, model=f"t{number}", stream=stream))
            models = [one.target.split("/")[2].rpartition("-")[2] for one in up.requests[before:]]
            found = (models.count(f"t{number}") == 2, "good" in models, status == 200)
            if found != (row.again, row.elsewhere, row.elsewhere):
                wrong.append((row, "asked again, elsewhere, answered", found))
            shape = TOLD[operation]
            status, headers, answer = await ask(gateway, shape, asked(shape, model=f"a{number}", stream=stream))
            told, wanted = _code_in(status, answer), _wanted(shape, row)
            if told != wanted or "retry-after" in headers:
                wrong.append((row, shape, told, wanted))
    assert not up.wrong
    assert not wrong, "\n".join(map(str, wrong))


@inside_once
async def test_the_log_says_what_an_operator_has_to_change() -> None:
    with Bedrock(lambda _: [respond({"message": "Data retention of Q"}, 400, x_amzn_errortype="ValidationException")]) as up:
        async with Inside(config(), up) as gateway:
            await ask(gateway, "messages", asked())
            (line,) = gateway.lines
    assert (line["status"], line["error_detail"]) == (403, "status 400, ValidationException: Data retention")


AWS = respond({"message": "Odd", "originalStatusCode": 500}, 424, x_amzn_errortype="ModelErrorException")
DENIED = respond({"message": "arn:aws:iam::1:user/x may not"}, 403, x_amzn_errortype="AccessDeniedException:http://x/")
OWN = respond({"error": {"message": "Odd", "type": "invalid_request_error", "param": "input", "code": "odd"}}, 400)


@pytest.mark.parametrize("entry", ["bedrock/openai.gpt-5.6-luna", "bedrock_mantle/openai.gpt-5.5"])
@pytest.mark.parametrize(
    ("answer", "status", "said", "times"),
    [(AWS, 500, b"Odd", 2), (DENIED, 403, b"credential was refused", 1), (OWN, 400, b'"odd"', 1)],
)
@inside_once
async def test_errors_of_aws_where_a_vendors_api_is_served(entry: str, answer: bytes, status: int, said: bytes, times: int) -> None:
    policy = "retry_policy: {max_attempts: 2, backoff: {base: 1ms}}"
    text = f'model_providers: [{{model: {entry}, name: c, base_url: "UPSTREAM", access_key: sk-key, aws: {{region: us-east-1}}, {policy}}}]'
    async with Provider(lambda _: [answer]) as up, Inside(text, up) as gateway:
        found, _, told = await ask(gateway, "responses", asked("responses", model="c"))
    assert (found, said in told, len(up.requests)) == (status, True, times)


def _code_in(status: int, answer: bytes) -> tuple[int, str | None]:
    return status, orjson.loads(answer)["error"].get("type")


def _wanted(shape: str, row: Row | Other) -> tuple[int, str]:
    kind = errors.KINDS[row.kind]
    return (kind.messages_status, kind.messages_type) if shape == "messages" else (kind.openai_status, kind.openai_type)


# ---- Azure, Foundry and Vertex AI ----


class Other(NamedTuple):
    """cloud: whose entry it is. body: of the answer. The rest as in Row."""

    cloud: str
    status: int
    body: dict[str, Any]
    kind: str
    again: bool
    elsewhere: bool


def _error(**members: Any) -> dict[str, Any]:
    return {"error": {"message": "Odd"} | members}


def _anthropic(kind: str, message: str = "Odd") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


FILTERED = _error(code="content_filter", innererror={"content_filter_result": {"hate": {"filtered": True}}})
OTHERS = (
    Other("azure", 400, FILTERED, "content_policy", False, False),
    Other("azure", 400, _error(code="context_length_exceeded"), "context_too_long", False, False),
    Other("azure", 404, _error(code="DeploymentNotFound"), "bad_gateway", False, True),
    Other("azure", 404, _error(code="404", message="Resource not found"), "bad_gateway", False, True),
    Other("azure", 401, _error(code="401", message="Access denied due to invalid subscription key"), "upstream_auth", False, True),
    Other("azure", 403, _error(code="Forbidden"), "upstream_auth", False, True),
    Other("azure", 429, _error(code="429"), "rate_limit", True, True),
    Other("azure", 429, _error(code="insufficient_quota"), "upstream_auth", False, True),
    Other("azure", 500, _error(code="InternalServerError"), "server", True, True),
    Other("azure", 503, _error(code="ServiceUnavailable"), "overloaded", True, True),
    Other("foundry", 404, _error(code="DeploymentNotFound"), "bad_gateway", False, True),
    Other("foundry", 401, _error(code="401"), "upstream_auth", False, True),
    Other("foundry", 529, _anthropic("overloaded_error"), "overloaded", True, True),
    Other("foundry", 400, _anthropic("invalid_request_error", "prompt is too long: 9 > 8"), "context_too_long", False, False),
    Other("vertex", 429, _error(code=429, status="RESOURCE_EXHAUSTED"), "rate_limit", True, True),
    Other("vertex", 503, _error(code=503, status="UNAVAILABLE"), "overloaded", True, True),
    Other("vertex", 500, _error(code=500, status="INTERNAL"), "server", True, True),
    Other("vertex", 403, _error(code=403, status="PERMISSION_DENIED"), "upstream_auth", False, True),
    Other("vertex", 404, _error(code=404, status="NOT_FOUND"), "not_found", False, False),
    Other("vertex", 400, _error(code=400, status="FAILED_PRECONDITION"), "bad_request", False, False),
    Other("vertex", 429, _anthropic("rate_limit_error"), "rate_limit", True, True),
    Other("vertex", 529, _anthropic("overloaded_error"), "overloaded", True, True),
    Other("vertex", 400, _anthropic("invalid_request_error", "prompt is too long: 9 > 8"), "context_too_long", False, False),
)
CLOUDS = {
    "azure": "model: azure_openai/NAME, base_model: gpt-4.1, base_url: UPSTREAM/NAME, access_key: sk-cloud-key",
    "foundry": "model: foundry/NAME, base_url: UPSTREAM/NAME/anthropic/v1, access_key: sk-cloud-key",
    "vertex": "model: vertex/claude-NAME, base_url: UPSTREAM/NAME, token_command: [echo, sk-cloud-key], gcp: {project: p}",
}


@inside_once
async def test_the_failures_of_azure_and_vertex() -> None:
    def script(request: Request) -> Steps:
        name = request.target.split("/")[1]
        if name == "good":
            return [respond(SPEECH["chat"].whole)]
        row = OTHERS[int(name[1:])]
        return [respond(row.body, row.status, **({"retry_after_ms": "20"} if row.kind == "rate_limit" else {}))]

    policy, good = "retry_policy: {max_attempts: 2, backoff: {base: 1ms}}", "model: openai/good, base_url: UPSTREAM/good/v1, access_key: k"
    lines = ["model_providers:"]
    for number, row in enumerate(OTHERS):
        entry = CLOUDS[row.cloud]
        lines += [f"  - {{name: t{number}, {policy}, {entry.replace('NAME', f't{number}')}}}", f"  - {{name: t{number}, {good}}}"]
        lines.append(f"  - {{name: a{number}, {entry.replace('NAME', f'a{number}')}}}")
    wrong: list[tuple[Any, ...]] = []
    async with Provider(script) as up, Inside("\n".join(lines), up) as gateway:
        for number, row in enumerate(OTHERS):
            before = len(up.requests)
            status, _, _ = await ask(gateway, "chat", asked("chat", model=f"t{number}"))
            names = [one.target.split("/")[1] for one in up.requests[before:]]
            found = (names.count(f"t{number}") == 2, "good" in names, status == 200)
            if found != (row.again, row.elsewhere, row.elsewhere):
                wrong.append((row, "asked again, elsewhere, answered", found))
            for shape in ("messages",) if row.cloud == "azure" else ("chat", "messages"):
                status, headers, answer = await ask(gateway, shape, asked(shape, model=f"a{number}"))
                own = orjson.loads(answer) == row.body  # the same API's, as it came
                told, wanted = _code_in(status, answer), _wanted(shape, row)
                if (not own and told != wanted) or (own and status != row.status) or b"sk-cloud-key" in answer:
                    wrong.append((row, shape, told, wanted))
                if row.kind == "rate_limit" and "retry-after-ms" not in headers and "retry-after" not in headers:
                    wrong.append((row, shape, "no time"))
    assert not wrong, "\n".join(map(str, wrong))
