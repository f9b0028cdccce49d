"""Requests that are wrong anywhere: for every pair of shapes they are either translated or a ClientFault, and never anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, jsontext, rules, scrub, splice
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.ledger import Ledger
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.request import Request
from dragoman.codecs.subsets import RESTRICTIONS

from .bodies import BODIES
from .fuzzing import JUNK, damaged, fuzz

pytestmark = pytest.mark.slow

# as unlike each other as upstreams are
CAPABILITIES = [
    Capabilities(),
    Capabilities(
        openai_host=True,
        c_max_tokens_field="max_completion_tokens",
        c_developer_role=True,
        c_custom_tools=True,
        c_allowed_tools=True,
        c_file_parts=True,
        c_web_search=True,
        c_reasoning_in="reasoning_details",
        c_cache_breakpoints=True,
        m_sampling="full",
        m_thinking="both",
        m_mid_system=True,
        m_prefill=True,
        m_auto_cache=True,
        m_tool_search=True,
        r_tool_search=True,
        r_stateful=False,
        g_thinking="level",
        g_signatures="required",
        g_prefill=True,
        g_logprobs=True,
        g_penalties=True,
    ),
    Capabilities(
        c_single_system=True,
        c_effort_values=(),
        c_reasoning_in="none",
        c_reasoning_required_with_tools=True,
        c_strict_tools=False,
        c_json_schema=False,
        c_content_parts=False,
        m_sampling="none",
        m_thinking="manual",
        m_structured_outputs=False,
        m_strict_tools=False,
        m_web_search="",
        m_tools_required_with_history=True,
        r_encrypted_reasoning=False,
        r_summaries=False,
        g_server="vertex",
        g_thinking="budget",
        g_signatures="none",
        g_call_ids=False,
        g_json_schema=False,
        g_integer_enums=False,
        g_validated=False,
        g_tools_mixed=False,
        g_result_media=False,
        g_sampling="ignored",
        g_max_output=50,
        g_prefill=True,
    ),
    # what a provider or another can refuse of its own callers
    Capabilities.from_flags({
        "leave_out": [*("user", "n", "tool_choice", "max_tokens", "input[].status", "tools[].function.strict", "reasoning.summary")],
        "schema_subset": list(RESTRICTIONS),
        "openai_host": True,
        "c.max_tokens_field": "max_completion_tokens",
        "c.tools_beside_reasoning": False,
        "c.effort_values": ["none", "low"],
        "c.thinking_switch": "thinking",
        "c.reasons": "unless_off",
        "c.sampling": "none",
        "c.tool_choice": "required",
        "c.tool_choice_reasoning": "auto",
        "c.mixed_strict": False,
        "c.max_output": 100,
        "c.json_object": False,
        "c.json_schema": False,
        "c.json_with_tools": False,
        "c.single_system": True,
        "c.alternate": True,
        "c.user_after_tool": False,
        "c.content_parts": False,
        "c.null_content": False,
        "c.empty_content": False,
        "c.call_ids": "nine",
        "c.reasoning_required": True,
        "c.signed_calls": True,
        "m.forced_tools": False,
        "m.thinking": "adaptive_always",
        "m.effort_values": ["low"],
        "m.sampling": "temperature_or_top_p",
        "r.effort_values": ["low"],
        "r.reasons": "unless_off",
        "r.sampling": "unless_reasoning",
        "r.summaries": False,
        "r.encrypted_reasoning": False,
        "r.instructions_required": True,
    }),
    Capabilities.from_flags({"c.tools": False, "m.thinking": "manual", "m.effort_values": [], "m.sampling": "none"}),
]  # fmt: skip


def carry(shape: str, body: dict[str, Any], capabilities: Capabilities) -> None:
    """All that is done with a request of this shape on its way to each upstream."""
    data = jsontext.dumps(body)
    try:
        scan = splice.scan(data)
    except errors.ClientFault:
        return
    renamed = jsontext.loads(SHAPES[shape].rename(data, scan, "other"))
    assert renamed.get("model", "other") in ("other", "models/other")
    for upstream, codec in SHAPES.items():
        if upstream == shape:
            ledger = Ledger()
            kept = dict(scan.value)
            scrub.scrub(SHAPES[shape].scrub, kept, capabilities, ledger)
            assert isinstance(jsontext.loads(jsontext.dumps(kept)), dict)
            try:
                kept = amended(shape, kept, capabilities, ledger)
            except errors.ClientFault as fault:
                told(fault, body)
                continue
            assert amended(shape, kept, capabilities, Ledger()) is kept  # what it has become breaks no rule
        else:
            try:
                request = SHAPES[shape].decode_request(jsontext.loads(data))
                encoded = codec.encode_request(request, capabilities, "other")
            except errors.ClientFault as fault:
                told(fault, body)
                continue
            written = jsontext.loads(jsontext.dumps(encoded.body))
            assert written["model"] == "other" if codec.url is None else "model" not in written
            ledger = request.ledger
        for lost in (ledger.dropped, ledger.adapted):
            header = ledger.header(lost, body)
            assert header.isascii()
            assert header.isprintable()


def amended(shape: str, body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> dict[str, Any]:
    """A caller's own body, as it is carried to an upstream."""
    own, before = SHAPES[shape], jsontext.dumps(body)
    known = rules.for_carried(own.rules, capabilities)
    request = Request(shape, "other", body, ledger=ledger)
    after = rules.amended(known, own.Draft(body, request, capabilities, own=True))
    assert jsontext.dumps(body) == before
    assert (after is body) or jsontext.loads(jsontext.dumps(after)) != body
    return after


def told(fault: errors.ClientFault, body: dict[str, Any]) -> None:
    """What the caller reads is bounded, and well-formed in each shape."""
    assert 400 <= fault.http_status("chat") < 500
    assert len(fault.message) < 2000
    assert fault.param is None or len(fault.param) < 2000
    for shape in SHAPES:
        assert jsontext.loads(fault.body(shape, "req_1"))["error"]["message"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("capabilities", CAPABILITIES, ids=["usual", "all", "little", "strict", "bare"])
def test_the_bodies_themselves(shape: str, capabilities: Capabilities) -> None:
    carry(shape, BODIES[shape], capabilities)
    for key in BODIES[shape]:
        carry(shape, {name: value for name, value in BODIES[shape].items() if name != key}, capabilities)


@pytest.mark.parametrize("shape", SHAPES)
@fuzz(120)
@given(data=st.data())
def test_damaged(shape: str, data: st.DataObject) -> None:
    full = BODIES[shape]
    kept = data.draw(st.sets(st.sampled_from(sorted(full)), min_size=2))
    required = {"model", "messages", "input", "max_tokens", "contents"}
    body = {key: value for key, value in full.items() if key in kept or key in required}
    carry(shape, data.draw(damaged(body)), data.draw(st.sampled_from(CAPABILITIES)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("key", sorted({key for body in BODIES.values() for key in body}))
@fuzz(3)
@given(value=JUNK)
def test_each_member(shape: str, key: str, value: Any) -> None:
    """Any value for any known member, in the plainest request."""
    plain: dict[str, dict[str, Any]] = {
        "chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
        "messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
        "responses": {"model": "m", "input": "Hi"},
        "gemini": {"contents": [{"parts": [{"text": "Hi"}]}]},
    }
    carry(shape, plain[shape] | {key: value}, CAPABILITIES[0])


LONG = "x" * 5000
TOOL = {"name": LONG, "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    "member",
    [
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": LONG}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": LONG}}]}]},
        {"messages": [{"role": "user", "content": [{"type": LONG}]}]},
        {"messages": [{"role": LONG, "content": "Hi"}]},
        {"tools": [TOOL, TOOL]},
        {"tools": [{"type": LONG, "name": "f"}]},
        {"tool_choice": {"type": LONG}},
        {"thinking": {"type": LONG}},
    ],
    ids=lambda member: f"{member}"[:60],
)
def test_the_callers_own_words_do_not_make_an_error_long(member: dict[str, Any]) -> None:
    """Found by fuzzing: an unknown type came back whole."""
    carry("messages", {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]} | member, CAPABILITIES[0])
