"""What is kept outlives the gateway that kept it; and a store that cannot keep it is an error that the caller sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from ..conftest import Start, refusing_socket
from ..scripted import Provider
from .talk import KINDS, Said, Talk, config, storage

pytestmark = pytest.mark.slow

LASTING = [kind for kind in KINDS if kind != "memory"]


def caller(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="alice-key", max_retries=0)


@pytest.mark.parametrize("kind", LASTING)
def test_killed_between_two_turns(start: Start, tmp_path: Path, kind: str) -> None:
    """SIGKILL as soon as the caller was told of completion; another gateway goes on."""
    talk = Talk()
    with Provider(talk.script) as provider, storage(kind, tmp_path) as section:
        last, conversation = "", ""
        for turn in range(4):
            gateway = start(config(provider, section))
            with caller(gateway.url) as client:
                talk.says(Said(text=f"Answer {turn}."), Said(text=f"Aside {turn}."))
                conversation = conversation or client.conversations.create().id
                continued = {"previous_response_id": last} if last else {}
                with client.responses.stream(model="chat/m", input=f"Question {turn}?", **continued) as stream:
                    final = next(event.response for event in stream if event.type == "response.completed")
                    if turn % 2:
                        client.responses.create(model="messages/m", input=f"Aside {turn}?", conversation=conversation)
                    gateway.process.kill()
                last = final.id
            gateway.process.wait()
            told = [message["content"] for message in talk.asked[0]["messages"]]
            assert told == [text for n in range(turn) for text in (f"Question {n}?", f"Answer {n}.")] + [f"Question {turn}?"]
            talk.answers.clear()
        gateway = start(config(provider, section))
        with caller(gateway.url) as client:
            assert client.responses.retrieve(last).output_text == "Answer 3."
            items = client.conversations.items.list(conversation, order="asc")
            assert [item.content[0].text for item in items] == ["Aside 1?", "Aside 1.", "Aside 3?", "Aside 3."]  # type: ignore[union-attr]


UNREACHABLE: dict[str, Callable[[int], str]] = {
    "redis": lambda port: f'{{type: redis, url: "redis://127.0.0.1:{port}/0"}}',
    "postgres": lambda port: f'{{type: postgres, connection_string: "postgresql://nobody@127.0.0.1:{port}/none?connect_timeout=1"}}',
}


def ended(client: openai.OpenAI, streamed: bool) -> None:
    """The answer, to its end."""
    answer = client.responses.create(model="chat/m", input="Hi", stream=streamed)
    if streamed:
        assert "response.completed" not in [event.type for event in answer]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", UNREACHABLE)
def test_a_store_that_does_not_answer(start: Start, kind: str, streamed: bool) -> None:
    talk = Talk()
    with Provider(talk.script) as provider, refusing_socket() as store:
        gateway = start(config(provider, f"state_storage: {UNREACHABLE[kind](store.getsockname()[1])}"))
        with caller(gateway.url) as client:
            talk.says(Said(text="Lost."))
            with pytest.raises(openai.APIError) as caught:
                ended(client, streamed)
            assert "state storage" in str(caught.value)
            talk.answers.clear()
            talk.says(Said(text="Fine."), Said(text="Fine."))
            assert client.responses.create(model="chat/m", input="Hi", store=False).output_text == "Fine."
            chat = client.chat.completions.create(model="chat/m", messages=[{"role": "user", "content": "Hi"}])
            assert chat.choices[0].message.content == "Fine."
