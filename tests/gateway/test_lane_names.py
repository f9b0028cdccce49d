"""What an answer's lane is called, in its header and in the log: `bytes` only where it is carried as it came."""

from __future__ import annotations

from typing import Any

import pytest

from ..scripted import LAST_CHUNK, Provider, Request, Steps, respond
from .inside import CONFIG, Inside, inside_once
from .spoken import SHAPE_AT, SPEECH
from .test_faults import frames

STATELESS = CONFIG.replace("apis: [responses]", "apis: [responses], capabilities: {r.stateful: false}")
ALIASED = CONFIG + "\nmodel_aliases: {fast: {target: chat/m}}"
ALIASED = ALIASED.replace("model_providers:", 'model_providers:\n  - {model: "chat/m", base_url: "UPSTREAM/v1", access_key: k}')
ASKED_FOR = {"stream_options": {"include_usage": True}}

# configuration, caller, model, what else is asked for -> the header, the log's word
LANES: dict[str, tuple[str, str, str, dict[str, Any], str, str]] = {
    "whole": (CONFIG, "chat", "chat/m", {}, "bytes", "bytes"),
    "streamed": (CONFIG, "chat", "chat/m", {"stream": True, **ASKED_FOR}, "bytes", "bytes"),
    "a-usage-is-withheld": (CONFIG, "chat", "chat/m", {"stream": True}, "bytes", "edited"),
    "an-alias-is-shown": (ALIASED, "chat", "fast", {"stream": True, **ASKED_FOR}, "bytes", "edited"),
    "an-alias-is-shown-whole": (ALIASED, "chat", "fast", {}, "bytes", "edited"),
    "kept-by-the-upstream": (CONFIG, "responses", "responses/m", {"stream": True}, "bytes", "bytes"),
    "kept-here": (STATELESS, "responses", "responses/m", {"stream": True}, "events", "events"),
    "kept-here-whole": (STATELESS, "responses", "responses/m", {}, "events", "events"),
    "kept-nowhere": (STATELESS, "responses", "responses/m", {"stream": True, "store": False}, "bytes", "bytes"),
    "translated": (CONFIG, "messages", "chat/m", {"stream": True}, "events", "events"),
    "translated-whole": (CONFIG, "messages", "chat/m", {}, "events", "events"),
}


def script(request: Request) -> Steps:
    speech = SPEECH[SHAPE_AT[request.target]]
    return [*frames(*speech.stream), LAST_CHUNK] if request.json.get("stream") else [respond(speech.whole)]


@pytest.mark.parametrize("name", LANES)
@inside_once
async def test_lane(name: str) -> None:
    config, caller, model, more, header, word = LANES[name]
    async with Provider(script) as provider, Inside(config, provider) as gateway, gateway.ask(caller, model, **more) as asking:
        status, headers = await asking.head()
        await asking.body(headers)
        assert (status, headers["x-dragoman-lane"]) == (200, header)
        await gateway.until(lambda: gateway.lines)
        assert gateway.lines[0]["lane"] == word
