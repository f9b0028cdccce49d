"""Which candidate of a place comes first: by conversation, weight, time to first content, or requests in progress."""

import asyncio
import random
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

from dragoman import conf
from dragoman.codecs.opening import digest, opening
from dragoman.proxy.routing import balance as module
from dragoman.proxy.routing.balance import Balance
from dragoman.proxy.routing.router import Router


def router(text):
    return Router(conf.loads(textwrap.dedent(text), environ={}))


FOUR = """
    model_providers:
      - {model: openai/a, base_url: "http://one", access_key: one, weight: 1}
      - {model: openai/a, base_url: "http://two", access_key: two}
      - {model: openai/a, base_url: "http://three", access_key: three}
      - {model: openai/a, base_url: "http://three", access_key: four}
"""
SESSIONS = [digest("session", str(number)) for number in range(4000)]


def first(served, session=None, how="weight", chosen=None, model="openai/a"):
    """The key of the entry that comes first."""
    route = served.candidates("chat", model)
    found, _ = (chosen or Balance(lambda: 0.0)).arranged(route.ranks, route.candidates, session, how)
    assert sorted(map(id, found)) == sorted(map(id, route.candidates))
    return found[0].provider.access_key


# ---- affinity ----


def test_conversations_are_spread_evenly_and_stay():
    served, again = router(FOUR), router(FOUR)
    found = Counter(first(served, session) for session in SESSIONS)
    assert all(850 < count < 1150 for count in found.values())
    assert len(found) == 4
    assert all(first(served, session) == first(again, session) for session in SESSIONS[:200])


def test_another_process_agrees():
    program = (
        "from tests.proxy.test_balance import *; served = router(FOUR); print(*(first(served, session) for session in SESSIONS[:100]))"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    served = router(FOUR)
    assert found == [first(served, session) for session in SESSIONS[:100]]


def test_a_candidate_that_comes_takes_its_share_and_moves_nothing_else():
    more = FOUR + '      - {model: openai/a, base_url: "http://five", access_key: five}\n'
    first_line = '      - {model: openai/a, base_url: "http://zero", access_key: zero}\n'
    before, behind = router(FOUR), router(more)
    ahead = router(FOUR.replace("model_providers:\n", f"model_providers:\n{first_line}"))
    for other, name in ((behind, "five"), (ahead, "zero")):
        moved = [(first(before, session), first(other, session)) for session in SESSIONS]
        assert {new for old, new in moved if old != new} == {name}
        assert 600 < sum(old != new for old, new in moved) < 1000


def test_weights_are_shares_of_conversations():
    served = router(FOUR.replace("weight: 1", "weight: 3"))
    found = Counter(first(served, session) for session in SESSIONS)
    assert 1750 < found["one"] < 2250


def test_a_conversation_moves_once_and_stays():
    now = 0.0
    chosen, served = Balance(lambda: now), router(FOUR)
    route = served.candidates("chat", "openai/a")

    def order(session):
        return chosen.arranged(route.ranks, route.candidates, session, "weight")

    mine, other = SESSIONS[:2]
    (home, second, *_), by = order(mine)
    assert by == "affinity"
    chosen.answered(mine, home, second, route.ranks)  # the first had failed
    found, by = order(mine)
    assert (found[0], found[1], by) == (second, home, "moved")
    assert order(other)[1] == "affinity"
    now += module.MOVED_FOR - 1
    assert order(mine)[0][0] is second  # which prolongs it
    now += module.MOVED_FOR - 1
    assert order(mine)[0][0] is second
    now += module.MOVED_FOR + 1
    assert order(mine)[0][0] is home


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOVED", 10)
    monkeypatch.setattr(module, "PACES", 2)
    chosen, served = Balance(lambda: 0.0), router(FOUR)
    route = served.candidates("chat", "openai/a")
    for session in SESSIONS[:100]:
        chosen.answered(session, route.candidates[0], route.candidates[1], route.ranks)
    for candidate in route.candidates:
        chosen.began(candidate, 1.0, 100)
    assert (len(chosen._moved), len(chosen._paces)) == (10, 2)


def test_a_fallback_at_another_place_keeps_no_conversation():
    served = router(
        """
        model_providers:
          - {model: openai/a, base_url: "http://one", access_key: one, weight: 1, retry_policy: {fallback_models: [openai/b]}}
          - {model: openai/a, base_url: "http://two", access_key: two}
          - {model: openai/b, base_url: "http://two", access_key: two}
        """
    )
    chosen, route = Balance(lambda: 0.0), served.candidates("chat", "openai/a")
    found, _ = chosen.arranged(route.ranks, route.candidates, SESSIONS[0], "weight")
    assert found[2].model == "b"
    chosen.answered(SESSIONS[0], found[0], found[2], route.ranks)
    assert chosen.arranged(route.ranks, route.candidates, SESSIONS[0], "weight") == (found, "affinity")


# ---- what a conversation is ----


def chat(*messages, **more):
    return {"messages": [{"role": role, "content": content} for role, content in messages], **more}


MARKED = [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]
IMAGE = {"type": "image", "source": {"type": "base64", "data": "x" * 100_000}}

ALIKE = {
    "next turn": (chat(("user", "Hello")), chat(("user", "Hello"), ("assistant", "Hi"), ("user", "What?"))),
    "cache mark": (chat(("user", MARKED)), chat(("user", "Hello"))),
    "settings": (chat(("user", "Hello")), chat(("user", "Hello"), temperature=1, model="x")),
    "system": (chat(("system", "S"), ("user", "Hello")), chat(("system", MARKED and "S"), ("user", "Hello"), ("assistant", "Hi"))),
    "a string": ({"input": "Hello"}, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]}),
    "image marked": (chat(("user", [IMAGE])), chat(("user", [IMAGE | {"cache_control": {"type": "ephemeral"}}]))),
}
DIFFERENT = {
    "first word": (chat(("user", "Hello")), chat(("user", "Hello."))),
    "system": (chat(("user", "Hello"), system="S"), chat(("user", "Hello"), system="T")),
    "developer": (chat(("developer", "S"), ("user", "Hello")), chat(("developer", "T"), ("user", "Hello"))),
    "where it ends": (chat(("user", "HelloS")), chat(("user", "Hello"), system="S")),
    "image": (chat(("user", [IMAGE])), chat(("user", [IMAGE | {"source": {"type": "base64", "data": "y" * 100_000}}]))),
    "length": (chat(("user", "x" * 10_000)), chat(("user", "x" * 10_001))),
}


@pytest.mark.parametrize("name", ALIKE)
def test_one_conversation(name):
    one, other = ALIKE[name]
    assert opening(one, []) == opening(other, []) is not None


@pytest.mark.parametrize("name", DIFFERENT)
def test_two_conversations(name):
    one, other = DIFFERENT[name]
    assert opening(one, []) != opening(other, [])


def test_what_is_continued_comes_first():
    whole = {"input": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "What?"}]}
    assert opening({"input": "What?"}, whole["input"][:2]) == opening(whole, []) != opening({"input": "What?"}, [])


@pytest.mark.parametrize(
    "body", [{}, {"input": None}, {"messages": 5}, {"messages": []}, {"messages": [None, 1]}, {"input": [{"role": "user", "content": {}}]}]
)
def test_no_conversation(body):
    assert opening(body, []) is None or isinstance(opening(body, []), bytes)


def test_lone_surrogates_are_text():
    assert opening({"input": "\ud800"}, []) != opening({"input": "\ud801"}, [])


# ---- balance ----

SHARED = """
    model_providers:
      - {model: openai/a, access_key: heavy, weight: 3}
      - {model: openai/a, access_key: light}
      - {model: openai/b, access_key: alone, weight: 9, retry_policy: {fallback_models: [openai/a]}}
"""


def test_weights_share_a_place():
    served, chosen = router(SHARED), Balance(lambda: 0.0, random.Random(7))
    found = Counter(first(served, chosen=chosen) for _ in range(4000))
    assert 2.6 < found["heavy"] / found["light"] < 3.4


def test_a_fallbacks_place_is_shared_behind_the_first():
    served, chosen = router(SHARED), Balance(lambda: 0.0, random.Random(7))
    route = served.candidates("chat", "openai/b")
    found = [chosen.arranged(route.ranks, route.candidates, None, "weight") for _ in range(50)]
    orders = {tuple(c.provider.access_key for c in candidates) for candidates, _ in found}
    assert orders == {("alone", "heavy", "light"), ("alone", "light", "heavy")}
    assert {by for _, by in found} == {""}  # nothing was chosen for the first


@pytest.mark.parametrize(("balance", "shared"), [("", False), ("order", False), ("weight", True), ("latency", True), ("least_busy", True)])
def test_which_entries_share_a_place(balance, shared):
    plain = "\n".join(line.replace(", weight: 1", "") for line in textwrap.dedent(FOUR).splitlines())
    served = router(plain + (f"\nrouting: {{balance: {balance}}}" if balance else ""))
    route = served.candidates("chat", "openai/a")
    assert bool(route.ranks) == shared
    assert [c.provider.access_key for c in route.candidates] == ["one", "two", "three", "four"]
    assert route is served.candidates("chat", "openai/a")  # planned once
    told = served.explain("chat", "openai/a")[0]
    assert ("shares this place by conversation, else by" in told) == shared


def test_the_order_of_the_file_can_be_asked_for_in_spite_of_weights():
    served = router(SHARED + "    routing: {balance: order}\n")
    assert not served.candidates("chat", "openai/a").ranks


def test_the_faster_of_two_is_asked_and_the_slower_again_later():
    now = 100.0
    served, chosen = router(FOUR), Balance(lambda: now, random.Random(7))
    route = served.candidates("chat", "openai/a")
    for candidate in route.candidates:
        slow = candidate.provider.access_key == "two"
        chosen.began(candidate, 10.0 if slow else 1.0, 4000)
    found = Counter(first(served, None, "latency", chosen) for _ in range(1000))
    assert found["two"] == 0
    assert min(found["one"], found["three"], found["four"]) > 200
    now += 10 * module.HALVED
    for candidate in route.candidates:
        if candidate.provider.access_key != "two":
            chosen.began(candidate, 1.0, 4000)
    assert Counter(first(served, None, "latency", chosen) for _ in range(1000))["two"] == 1
    for candidate in route.candidates:
        chosen.began(candidate, 0.1 if candidate.provider.access_key == "two" else 1.0, 4000)
    assert Counter(first(served, None, "latency", chosen) for _ in range(1000))["two"] > 200


def test_a_pace_is_of_tokens_and_not_of_requests():
    """A candidate that is given the longer requests is not the slower one."""
    chosen, served = Balance(lambda: 1.0), router(FOUR)
    one, two, *_ = served.candidates("chat", "openai/a").candidates
    chosen.began(one, 0.2, 400)
    chosen.began(one, 8.0, 40_000)
    chosen.began(two, 0.2, 400)
    assert chosen.pace(one) < chosen.pace(two)
    assert chosen.pace(two) == pytest.approx(0.002)


def test_the_least_busy_is_asked():
    served, chosen = router(FOUR.replace("weight: 1", "weight: 2")), Balance(lambda: 0.0, random.Random(7))
    one, two, three, _ = served.candidates("chat", "openai/a").candidates

    async def main():
        gate = asyncio.Event()

        async def attempt(fails):
            await gate.wait()
            if fails:
                raise ValueError

        tasks = [asyncio.ensure_future(chosen.counted(at, attempt(at is two))) for at in (one, one, one, two, three)]
        await asyncio.sleep(0)
        assert (chosen.busy(one), chosen.busy(two)) == (3, 1)
        assert {first(served, None, "least_busy", chosen) for _ in range(50)} == {"four"}
        gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not chosen._busy
        assert len({first(served, None, "least_busy", chosen) for _ in range(50)}) == 4

    asyncio.run(main())
