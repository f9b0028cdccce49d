"""What coding agents and their SDKs expect of a gateway, by the vendors' own SDKs over real sockets, with their own retries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from ..scripted import respond
from .stage import ALICE, KEY, Stage
from .upstreams import text_answer

ASK: Any = [{"role": "user", "content": "Hi"}]
OVER_ANOTHER = ["chat", "responses"]


class Patient:
    """SDKs that repeat requests as they do by default. asked: how often the gateway was asked."""

    def __init__(self, url: str, key: str) -> None:
        self.asked = 0
        hooks: Any = {"request": [self._count]}
        self.oai = openai.OpenAI(api_key=key, base_url=f"{url}/v1", http_client=openai.DefaultHttpxClient(event_hooks=hooks))
        self.ant = anthropic.Anthropic(api_key=key, base_url=url, http_client=anthropic.DefaultHttpxClient(event_hooks=hooks))

    def _count(self, _: Any) -> None:
        self.asked += 1

    def ask(self, shape: str, model: str) -> Any:
        if shape == "messages":
            return self.ant.messages.create(model=model, max_tokens=9, messages=ASK)
        if shape == "chat":
            return self.oai.chat.completions.create(model=model, messages=ASK)
        return self.oai.responses.create(model=model, input="Hi")

    def close(self) -> None:
        self.oai.close()
        self.ant.close()


@pytest.fixture
def patient() -> Any:
    made: list[Patient] = []

    def make(url: str, key: str = ALICE) -> Patient:
        made.append(Patient(url, key))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., Patient]

# ---- a limit that is reached; the gateway's own are in test_access_keys.py ----

USED_UP = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus", "resets_at": 1}


@pytest.mark.parametrize("shape", ["chat", "messages"])
def test_a_subscription_that_is_used_up(stage: Stage, patient: Make, shape: str) -> None:
    """Only the error tells when it begins anew: an SDK that repeats at once would ask in vain."""
    stage.play([respond({"error": USED_UP | {"resets_in_seconds": 3600.4}}, 429)])
    one = patient(stage.url)
    with pytest.raises((anthropic.RateLimitError, openai.RateLimitError)) as caught:
        one.ask(shape, "responses/m")
    headers = caught.value.response.headers
    assert (headers["retry-after"], headers["x-should-retry"], one.asked) == ("3601", "false", 1)


@pytest.mark.parametrize("wait", [None, "3600", True, -1, 1e300])
def test_a_wait_of_another_form_is_none(stage: Stage, wait: Any) -> None:
    stage.play([respond({"error": USED_UP | {"resets_in_seconds": wait}}, 429)])
    with pytest.raises(anthropic.RateLimitError) as caught:
        stage.ant.messages.create(model="responses/m", max_tokens=9, messages=ASK)
    assert "retry-after" not in caught.value.response.headers


# ---- what must not be left out, and what stands for it ----


@pytest.mark.parametrize("upstream", OVER_ANOTHER)
def test_safeguards_are_refused_by_name(stage: Stage, upstream: str) -> None:
    """Claude Code asks again without them."""
    stage.play(text_answer(upstream, "ok"))
    with pytest.raises(anthropic.BadRequestError, match="safeguards is not supported") as caught:
        stage.ant.messages.create(model=f"{upstream}/m", max_tokens=9, messages=ASK, extra_body={"safeguards": [{"type": "x"}]})
    assert (caught.value.body["error"]["type"], stage.asked) == ("invalid_request_error", [])  # type: ignore[index,call-overload]


def test_safeguards_are_carried(stage: Stage) -> None:
    stage.play(text_answer("messages", "ok"))
    stage.ant.messages.create(model="messages/m", max_tokens=9, messages=ASK, extra_body={"safeguards": [{"type": "x"}]})
    assert stage.asked[0]["safeguards"] == [{"type": "x"}]


@pytest.mark.parametrize("upstream", OVER_ANOTHER)
def test_a_thread_goes_on_without_one(stage: Stage, upstream: str) -> None:
    """No upstream of another API keeps it: the SDK sends all of the conversation then, and no turn goes up alone."""
    stage.play(text_answer(upstream, "One"))
    threads = stage.ant.beta.messages
    thread = threads.thread(model=f"{upstream}/m", max_tokens=50, unsupported_request_behavior="continue_unthreaded")
    thread.send({"role": "user", "content": "Hi"})
    thread.send({"role": "user", "content": "And?"})
    turns = [body["messages" if upstream == "chat" else "input"] for body in stage.asked]
    assert [len(turn) for turn in turns] == [1, 3]
    refusing = threads.thread(model=f"{upstream}/m", max_tokens=50)
    refusing.send({"role": "user", "content": "Hi"})
    with pytest.raises(anthropic.BadRequestError, match="thread_unsupported_request"):
        refusing.send({"role": "user", "content": "And?"})


def test_a_thread_is_carried(stage: Stage) -> None:
    stage.play(text_answer("messages", "One"))
    thread = stage.ant.beta.messages.thread(model="messages/m", max_tokens=50)
    for text in ("Hi", "And?"):
        thread.send({"role": "user", "content": text})
    assert [body["thread"] for body in stage.asked] == [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}]


# ---- headers and metadata, as the SDKs have them ----


@pytest.mark.parametrize(("model", "arrives"), [("messages-own/m", True), ("messages/m", False), ("chat/m", False)])
@pytest.mark.parametrize("operation", ["create", "stream", "count_tokens"])
def test_a_workspace_and_a_profile(stage: Stage, model: str, arrives: bool, operation: str) -> None:
    """They are of the account whose credential goes up, and reported where that is another."""
    asked = {"model": model, "messages": ASK, "workspace_id": "w", "user_profile_id": "p"}
    if operation == "count_tokens":
        if model == "chat/m":
            return  # estimated: nothing goes up
        stage.play([respond({"input_tokens": 3})])
        headers = stage.ant.messages.with_raw_response.count_tokens(**asked).headers  # type: ignore[arg-type]
    elif operation == "stream":
        stage.play(text_answer(model.partition("/")[0].partition("-")[0], "ok"))
        with stage.ant.messages.stream(**asked, max_tokens=9) as stream:  # type: ignore[arg-type]
            stream.until_done()
            headers = stream.response.headers
    else:
        stage.play(text_answer(model.partition("/")[0].partition("-")[0], "ok"))
        headers = stage.ant.messages.with_raw_response.create(**asked, max_tokens=9).headers  # type: ignore[call-overload]
    sent = stage.requests[0].headers
    names = ("anthropic-workspace-id", "anthropic-user-profile-id")
    assert [sent.get(name) for name in names] == (["w", "p"] if arrives else [None, None])
    told = headers.get("x-dragoman-dropped", "")
    assert all((f"header:{name}" in told) is not arrives for name in names)
    assert arrives or KEY in sent.get("authorization", "") + sent.get("x-api-key", "")


@pytest.mark.parametrize("stream", [False, True])
def test_codexs_own_members_and_its_turn(stage: Stage, stream: bool) -> None:
    """They go up as they are, and what the upstream says of the turn comes back; over another API neither does."""
    extra: Any = {"extra_body": {"client_metadata": {"a": "b"}}, "extra_headers": {"x-codex-turn-state": "T"}}
    whole: Any = text_answer("responses", "ok")
    for upstream, arrives in (("responses", True), ("chat", False)):
        stage.play(text_answer(upstream, "ok") if not arrives or stream else [respond(whole.whole, x_codex_turn_state="U")])
        told = stage.oai.responses.with_raw_response.create(model=f"{upstream}/m", input="Hi", stream=stream, **extra)
        assert stage.asked[0].get("client_metadata") == ({"a": "b"} if arrives else None)
        assert stage.requests[0].headers.get("x-codex-turn-state") == ("T" if arrives else None)
        assert told.headers.get("x-codex-turn-state") == ("U" if arrives and not stream else None)
        assert "client_metadata" not in told.headers.get("x-dragoman-dropped", "")
        if stream:
            told.parse().close()
