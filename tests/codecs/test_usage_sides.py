"""What was counted, by providers that do not agree on what is inside of what."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import usage as counting
from dragoman.codecs.usage import Usage


def chat(prompt: int, made: int, total: int | None = None, reasoning: int | None = None, cached: int | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": made}
    body |= {} if total is None else {"total_tokens": total}
    body |= {} if reasoning is None else {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    return body | ({} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}})


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        # the reference: parts inside
        (chat(32, 103, 135, 94, 6), (32, 103, 135)),
        # reasoning beside (xAI)
        (chat(32, 9, 135, 94, 6), (32, 103, 135)),
        (chat(32, 100, 226, 94), (32, 194, 226)),
        # the same without details (Google)
        (chat(20, 198, 623), (20, 603, 623)),
        (chat(7, 0, 8), (7, 1, 8)),
        # cached tokens beside, and both
        (chat(10, 5, 115, None, 100), (110, 5, 115)),
        (chat(10, 5, 165, 50, 100), (110, 55, 165)),
        # no total: a part that is more than its side
        (chat(10, 5, None, 50, 100), (110, 55, 165)),
        (chat(10, 5, None, 3, 4), (10, 5, 15)),
        # a total that counts both sides proves that the parts are inside, however they were counted (OpenRouter)
        (chat(21, 107, 128, 118, 21), (21, 107, 128)),
        # what nothing explains is told as it came (Cerebras: a token that ended the answer)
        (chat(79, 2, 83, 0), (79, 2, 83)),
        (chat(10, 5, 12), (10, 5, 12)),
    ],
)
def test_parts_beside_their_side(given: dict[str, Any], counts: tuple[int, int, int]) -> None:
    usage = counting.from_chat(given)
    assert (usage.input, usage.output, usage.all) == counts
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "total_tokens": "total_tokens"}
    names |= {"completion_tokens_details": "output_tokens_details", "prompt_tokens_details": "input_tokens_details"}
    same = counting.from_responses({names[key]: value for key, value in given.items()})
    assert (same.input, same.output, same.all) == counts


START = {"input_tokens": 15, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 2, "output_tokens": 1}


@pytest.mark.parametrize(
    ("later", "counts"),
    [
        ({"output_tokens": 12}, (24, 12, 7)),
        ({"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 12}, (24, 12, 7)),
        ({"input_tokens": None, "output_tokens": 0}, (24, 1, 7)),
        ({"input_tokens": 0, "cache_read_input_tokens": 22, "output_tokens": 12}, (24, 12, 22)),  # all of it was cached
        ({"input_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}, (3, 1, 0)),  # another model went on
    ],
)
def test_a_side_of_zeros_says_nothing(later: dict[str, Any], counts: tuple[int, int, int]) -> None:
    usage = counting.from_messages(counting.merged(START, later, partial=True))
    assert (usage.input, usage.output, usage.cache_read) == counts


def test_neither_does_one_in_a_chat_stream() -> None:
    last = counting.merged(chat(32, 9, 41, 3, 6), chat(0, 12, 0))
    assert counting.from_chat(last) == Usage(32, 12, cache_read=6, reasoning=None, total=41)
    assert counting.merged(chat(32, 9, 41, 3, 6), chat(33, 9, 42)) == chat(33, 9, 42)


def test_how_long_a_cache_entry_stays() -> None:
    given = START | {"cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 2}}
    usage = counting.from_messages(given)
    details = counting.to_responses(usage)["input_tokens_details"]
    assert details["cache_write_tokens_details"] == {"ttl_30m_tokens": 0, "ttl_12h_tokens": 2}
    assert counting.to_messages(counting.from_responses(counting.to_responses(usage)))["cache_creation"] == given["cache_creation"]


def test_what_was_stored_and_read_in_one_go_is_one_prompt() -> None:
    """The three counts of a message's input exclude each other, those of other APIs do not."""
    details = {"cached_tokens": 96, "cache_write_tokens": 96}
    usage = counting.from_chat({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "prompt_tokens_details": details})
    assert counting.to_responses(usage)["input_tokens_details"] == details
    message = counting.to_messages(usage)
    counted = [message[name] for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")]
    assert counted == [0, 96, 4]
    long = counting.to_messages(Usage(100, 5, cache_read=96, cache_write=96, cache_write_long=90))
    assert long["cache_creation"] == {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 4}


def test_a_message_used_what_its_iterations_did() -> None:
    iterations = [{"type": "compaction", "input_tokens": 1000, "output_tokens": 50}, {"type": "message", "output_tokens": 5}]
    usage = counting.from_messages({"input_tokens": 0, "output_tokens": 0, "iterations": iterations})
    assert (usage.input, usage.output) == (1000, 55)
    usage = counting.from_messages({"input_tokens": 7, "output_tokens": 5, "iterations": iterations})
    assert (usage.input, usage.output) == (1000, 55), "the counts at the top leave out the compaction"
    for none in (None, [], [{"type": "message"}], "x"):
        assert counting.from_messages(START | {"iterations": none}).input == 24


def test_rounds_have_lifetimes_and_models_of_their_own() -> None:
    counts = {"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 4}
    hour = counts | {"cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 3}}
    usage = counting.from_messages(counts | {"iterations": [hour | {"model": "a"}, hour | {"model": None}, counts]})
    assert usage == Usage(15, 6, 0, 12, 6, 0, rounds=(("a", Usage(5, 2, 0, 4, 3)),))
    top = hour | {"iterations": [counts]}
    assert counting.from_messages(top).cache_write_long == 3, "of rounds that do not say, what stands at the top counts"


def test_what_the_providers_own_tools_did() -> None:
    given = {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}, "speed": "fast"}
    usage = counting.from_messages(given)
    assert (usage.tools, usage.fast) == ({"web_search": 2}, True)
    tools = {"web_search": {"num_requests": 3}, "image_gen": {"total_tokens": 40, "input_tokens": 10}, "of_tomorrow": {"a": 1}}
    usage = counting.from_responses({"input_tokens": 1, "output_tokens": 1}, None, tools)
    assert (usage.tools, usage.fast) == ({"web_search": 3, "image_tokens": 40}, False)
    for odd in (None, 5, [], {"web_search": 7}, {"web_search": {"num_requests": -1}}):
        assert counting.from_responses({"input_tokens": 1}, None, odd).tools is None
        assert counting.from_messages({"input_tokens": 1, "server_tool_use": odd}).tools is None


def test_lifetimes_are_told_where_they_are_known() -> None:
    """Also that nothing stays for long."""
    given = {"input_tokens": 1, "cache_creation_input_tokens": 5, "output_tokens": 1}
    short = {"cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 0}}
    usage = counting.from_messages(given | short)
    assert counting.to_messages(usage)["cache_creation"] == short["cache_creation"]
    details = counting.to_responses(usage)["input_tokens_details"]
    assert details["cache_write_tokens_details"] == {"ttl_30m_tokens": 5, "ttl_12h_tokens": 0}
    unknown = counting.from_messages(given)
    assert "cache_creation" not in counting.to_messages(unknown)
    assert "cache_write_tokens_details" not in counting.to_responses(unknown)["input_tokens_details"]
