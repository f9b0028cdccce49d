"""What a model said and the caller's API cannot say: named in a header of a whole answer, and in the log and the metrics always."""

from __future__ import annotations

import pytest

from ..scripted import Provider, Request, Steps
from .inside import CONFIG, Inside, inside_once
from .spoken import SHAPE_AT
from .upstreams import Block, completion, message, response, said, spoken

SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
ANSWERS = {
    "chat": completion({"content": "Hi", "images": [{"x": 1}]}, said={"content": "Hi", "images": [{"x": 1}]}),
    "messages": message(said("Hi"), Block(SEARCH, [], SEARCH)),
    "responses": response(spoken("Hi")),
}
LABELS = {"chat": "choices[0].message.images", "messages": "content[1]:server_tool_use", "responses": ""}


def script(request: Request) -> Steps:
    return ANSWERS[SHAPE_AT[request.target]].steps(bool(request.json.get("stream")))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("client", "upstream"),
    [("messages", "chat"), ("responses", "chat"), ("chat", "messages"), ("responses", "messages"), ("chat", "responses"), ("chat", "chat")],
)
@inside_once
async def test_it_is_told(client: str, upstream: str, stream: bool) -> None:
    label = LABELS[upstream] if client != upstream else ""  # carried as it came: nothing is lost
    async with Provider(script) as provider, Inside(CONFIG, provider) as gateway:
        async with gateway.ask(client, f"{upstream}/m", stream=stream) as caller:
            status, headers = await caller.head()
            assert status == 200
            await caller.body(headers)
        await gateway.until(lambda: gateway.lines)
        assert headers.get("x-dragoman-response-dropped", "") == ("" if stream else label)
        assert gateway.lines[0].get("response_dropped", []) == ([label] if label else [])
        assert gateway.gateway.metrics.unknown._value.get() == bool(label)
