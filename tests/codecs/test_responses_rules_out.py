"""Rules between settings of a responses body."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import chat, messages, responses
from dragoman.codecs.capabilities import Capabilities


def written(body: dict[str, Any], **flags: Any) -> tuple[dict[str, Any], str]:
    request = messages.decode_request({"max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **body})
    encoded = responses.encode_request(request, Capabilities(**flags), "m")
    return encoded.body, request.ledger.header(request.ledger.dropped, request.body)


THINKS = {"r_sampling": "unless_reasoning", "r_reasons": "unless_off"}
ROWS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({"temperature": 0.2}, {}, {"temperature": 0.2}, ""),
    ({"temperature": 0.2}, THINKS, {"temperature": None}, "temperature"),
    ({"temperature": 1}, THINKS, {"temperature": None}, ""),
    ({"temperature": 0.2, "thinking": {"type": "disabled"}}, THINKS, {"temperature": 0.2, "reasoning": {"effort": "none"}}, ""),
    ({"temperature": 0.2}, THINKS | {"r_reasons": "asked"}, {"temperature": 0.2}, ""),
    ({}, {"leave_out": ("max_output_tokens",)}, {"max_output_tokens": None}, "max_tokens"),
    ({"system": "Be brief."}, {"r_instructions_required": True}, {"instructions": "Be brief."}, ""),
    ({}, {"r_instructions_required": True}, {"instructions": "You are a helpful assistant."}, ""),
    ({"output_config": {"effort": "high"}}, {"r_effort_values": ()}, {"reasoning": None}, "output_config.effort"),
]


@pytest.mark.parametrize(("body", "flags", "found", "dropped"), ROWS)
def test_settings(body: dict[str, Any], flags: dict[str, Any], found: dict[str, Any], dropped: str) -> None:
    upstream, lost = written(body, **flags)
    assert {name: upstream.get(name) for name in found} == found
    assert lost == dropped


def test_schemas_are_complete_where_that_is_asked() -> None:
    upstream, _ = written({"tools": [{"name": "f", "input_schema": {"type": "object"}}]}, schema_subset=("complete",))
    assert upstream["tools"][0]["parameters"] == {"type": "object", "properties": {}}


def test_system_messages_are_instructions_where_they_are_refused() -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "system", "content": "Now sing."}]
    request = chat.decode_request({"messages": said})
    body = responses.encode_request(request, Capabilities(r_instructions_required=True), "m").body
    assert not [item for item in body["input"] if item.get("role") == "system"]
    assert body["instructions"].startswith("Be brief.")
