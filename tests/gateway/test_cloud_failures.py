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
from .bedrock import KEYS, MESSAGE, ask, asked
from .bedrock import RAW as EVENTS
from .inside import Inside, inside_once
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
    with Bedrock(script) as up:
        async with Inside("model_providers:\n" + "\n".join(_entries(FAMILIES[operation])), up) as gateway:
            for number, row in enumerate(ROWS):
                if stream and row.name == "NewException":
                    continue
                before = len(up.requests)
                status, _, _ = await ask(gateway, "chat", asked("chat", model=f"t{number}", stream=stream))
                models = [one.target.split("/")[2].rpartition("-")[2] for one in up.requests[before:]]
                found = (models.count(f"t{number}") == 2, "good" in models, status == 200)
                if found != (row.again, row.elsewhere, row.elsewhere):
                    wrong.append((row, "asked again, elsewhere, answered", found))
                for shape in ("chat", "messages"):
                    status, headers, answer = await ask(gateway, shape, asked(shape, model=f"a{number}", stream=stream))
                    told, wanted = _told(status, answer), _wanted(shape, row)
                    if told != wanted or "retry-after" in headers:
                        wrong.append((row, shape, told, wanted))
    assert not up.wrong
    assert not wrong, "\n".join(map(str, wrong))


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
    with Provider(lambda _: [answer]) as up:
        async with Inside(text, up) as gateway:
            found, _, told = await ask(gateway, "responses", asked("responses", model="c"))
    assert (found, said in told, len(up.requests)) == (status, True, times)


def _told(status: int, answer: bytes) -> tuple[int, str]:
    return status, orjson.loads(answer)["error"]["type"]


def _wanted(shape: str, row: Row) -> tuple[int, str]:
    kind = errors.KINDS[row.kind]
    return (kind.messages_status, kind.messages_type) if shape == "messages" else (kind.openai_status, kind.openai_type)
