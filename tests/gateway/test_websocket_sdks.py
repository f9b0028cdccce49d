"""The vendors' clients over a WebSocket: openai-python's responses.connect(), and the agents SDK where it is installed (R26, R37)."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from ..scripted import Provider
from .inside import Inside, inside_once
from .spoken import SHAPES
from .test_websocket_state import NATIVE, PLAIN, TOOL, Upstream
from .upstreams import text_answer, tool_answer

UPSTREAMS = [*SHAPES, "native"]


def client_of(gateway: Inside) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="k", base_url=f"http://127.0.0.1:{gateway.port}/v1")


def config(upstream: str) -> str:
    return NATIVE if upstream == "native" else PLAIN


def model(upstream: str) -> str:
    return "responses/m" if upstream == "native" else f"{upstream}/m"


def shape(upstream: str) -> str:
    return "responses" if upstream == "native" else upstream


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("upstream", UPSTREAMS)
@inside_once
async def test_two_turns_of_openais_client(upstream: str, store: bool) -> None:
    turns = Upstream(tool_answer(shape(upstream), "f", '{"x":', "1}"), text_answer(shape(upstream), "The answer", " is 4."))
    with Provider(turns) as provider:
        async with Inside(config(upstream), provider) as gateway, client_of(gateway) as client, client.responses.connect() as connection:
            first = await turn(connection, model=model(upstream), input="2+2?", tools=[TOOL], store=store)
            (call,) = [item for item in first.output if item.type == "function_call"]
            assert (call.name, call.arguments) == ("f", '{"x":1}')
            output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "4"}
            more = {"input": [output], "tools": [TOOL], "previous_response_id": first.id, "store": store}
            second = await turn(connection, model=model(upstream), **more)
            assert second.output_text == "The answer is 4."
            assert second.usage is not None
            if upstream == "native":  # an id that the gateway does not know may be one of that upstream's
                return
            with pytest.raises(AssertionError, match="previous_response_not_found"):
                await turn(connection, model=model(upstream), input="x", previous_response_id="dgresp_nothing", store=False)


async def turn(connection: Any, **members: Any) -> Any:
    """The whole response, as the SDK reads it."""
    await connection.response.create(**members)
    async for event in connection:
        assert event.type != "error", event.error.code
        if event.type in ("response.completed", "response.failed", "response.incomplete"):
            return event.response
    raise EOFError


@pytest.mark.parametrize("upstream", UPSTREAMS)
@inside_once
async def test_a_run_of_the_agents_sdk(upstream: str) -> None:
    agents = pytest.importorskip("agents")
    from agents.models.openai_responses import OpenAIResponsesWSModel

    called: list[int] = []

    @agents.function_tool  # type: ignore[untyped-decorator]
    def f(x: int) -> str:
        """Adds."""
        called.append(x)
        return "4"

    agents.set_tracing_disabled(True)
    turns = Upstream(tool_answer(shape(upstream), "f", '{"x":', "1}"), text_answer(shape(upstream), "The answer", " is 4."))
    async with Provider(turns) as provider, Inside(config(upstream), provider) as gateway:
        async with client_of(gateway) as client:
            chosen = OpenAIResponsesWSModel(model=model(upstream), openai_client=client)
            agent = agents.Agent(name="a", instructions="Answer.", model=chosen, tools=[f])
            result = await agents.Runner.run(agent, "2+2?")
            assert result.final_output == "The answer is 4."
            streamed = agents.Runner.run_streamed(agent, "And again?")
            kinds = [event.data.type async for event in streamed.stream_events() if event.type == "raw_response_event"]
            assert streamed.final_output == "The answer is 4."
            assert kinds[-1] == "response.completed"
            assert called == [1]
            await chosen.close()
        assert len({line["connection"] for line in gateway.lines if line["operation"] == "responses"}) == 1
        assert all(line["transport"] == "websocket" for line in gateway.lines)


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@inside_once
async def test_tools_that_the_agents_sdk_runs(upstream: str) -> None:
    """R37: calls of a shell and of a patch, and their outputs."""
    agents = pytest.importorskip("agents")
    from agents.models.openai_responses import OpenAIResponsesWSModel

    ran: list[Any] = []

    async def shell(request: Any) -> str:
        ran.append(request.data.action.commands)
        return "a.txt"

    class Editor:
        def update_file(self, operation: Any) -> Any:
            ran.append((operation.path, operation.diff))
            return agents.ApplyPatchResult(status="completed", output="Done.")

        create_file = delete_file = update_file

    agents.set_tracing_disabled(True)
    patch = '{"operation":{"type":"update_file","path":"a.txt","diff":"@@\\n-a\\n+b\\n"}}'
    turns = Upstream(
        tool_answer(upstream, "shell", '{"commands":["ls"]}'),
        tool_answer(upstream, "apply_patch", patch, id="call_2"),
        text_answer(upstream, "Patched."),
    )
    async with Provider(turns) as provider, Inside(config(upstream), provider) as gateway, client_of(gateway) as client:
        chosen = OpenAIResponsesWSModel(model=model(upstream), openai_client=client)
        tools = [agents.ShellTool(executor=shell), agents.ApplyPatchTool(editor=Editor())]
        result = await agents.Runner.run(agents.Agent(name="a", model=chosen, tools=tools), "Go.")
        assert result.final_output == "Patched."
        await chosen.close()
    assert ran == [["ls"], ("a.txt", "@@\n-a\n+b\n")]
    last = provider.requests[-1].body
    assert b"a.txt" in last
    assert b"Done." in last
