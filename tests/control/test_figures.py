"""What was used, by any dimensions; single exchanges; and what budgets have spent."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from dragoman.codecs import errors
from dragoman.conf.model import Budget
from dragoman.proxy.control import budgets, figures, layout
from dragoman.proxy.control.figures import Invalid, Question
from dragoman.proxy.control.units import cover
from dragoman.proxy.keys.identity import Limited
from dragoman.proxy.keys.quota import NANO, LocalCounters, period
from dragoman.proxy.telemetry.account import failure

from .using import NOON, TARGET, account, looped, opened, written

DAY = 86400.0


async def filled(store, *accounts):
    await written(store, secrets.token_hex(), *accounts)


OTHER = TARGET._replace(provider="anthropic", model="claude")


@looped
async def test_sums(control, monkeypatch):
    monkeypatch.setattr(figures, "time", lambda: NOON + 30 * DAY)
    async with opened(control) as (store, _):
        await filled(
            store,
            account(key="a", team="t", time=NOON),
            account(key="a", team="t", time=NOON + 1, target=OTHER, cost=0.003, user="u"),
            account(key="b", time=NOON + DAY, status=500),
            account(key="b", time=NOON + 2 * DAY, cost=None),
            account(key="b", time=NOON + 3 * DAY),
        )

        async def of(*by, since=NOON, until=NOON + 2.5 * DAY, most=1000, **where):
            found = await figures.sums(store, Question(since, until, by, where, most))
            return [(*(row[name] for name in by), row["requests"], row["cost_usd"]) for row in found]

        assert await of("key") == [("a", 2, 0.004), ("b", 2, 0.001)]
        assert await of("key", most=1) == [("a", 2, 0.004)]
        assert await of("model", "key") == [("claude", "a", 1, 0.003), ("gpt", "b", 2, 0.001), ("gpt", "a", 1, 0.001)]
        assert await of("team", "user") == [("t", "u", 1, 0.003), ("", "", 2, 0.001), ("t", "", 1, 0.001)]
        assert await of("day") == [(NOON - NOON % DAY, 2, 0.004), (NOON - NOON % DAY + DAY, 1, 0.001), (NOON - NOON % DAY + 2 * DAY, 1, 0)]
        assert await of("hour", until=NOON + DAY) == [(NOON, 2, 0.004)]
        assert await of("provider", key="a") == [("anthropic", 1, 0.003), ("openai", 1, 0.001)]
        assert await of() == [(4, 0.005)]
        assert await of(since=NOON + 3600) == [(2, 0.001)]
        assert await of(until=NOON + DAY) == [(2, 0.004)]
        assert await of(until=NOON) == await of(since=NOON + 9 * DAY, until=NOON + 19 * DAY) == []
        (whole,) = await figures.sums(store, Question(NOON, NOON + DAY + 1, (), {"key": "b"}))
        assert (whole["errors"], whole["ms_total"], whole["ms_first"], whole["unpriced"]) == (1, 500.0, 200.0, 0)
        for wrong in (Question(0, NOON, ("colour",)), Question(0, NOON, ("hour",)), Question(NOON, NOON, ("key", "key"))):
            with pytest.raises(Invalid):
                await figures.sums(store, wrong)


@looped
async def test_sums_of_users_with_models(control, monkeypatch):
    """By the hour for a day, whose rows are added up as long as they are held; else whole days."""
    now = NOON + 2 * DAY
    monkeypatch.setattr(figures, "time", lambda: now)
    async with opened(control) as (store, _):
        await filled(
            store,
            account(user="u", time=NOON),
            account(user="u", time=NOON + 3600.5, target=OTHER, cost=0.002, status=500),
            account(user="u", time=NOON + 7199.999, target=OTHER, cost=0.002),
            account(user="v", time=NOON + DAY),
            account(user="u", time=now - 1, cost=None),
        )

        async def of(*by, since=NOON + 3600, until=now, **where):
            found = await figures.sums(store, Question(since, until, by, where))
            return [(*(row[name] for name in by), row["requests"], row["cost_usd"]) for row in found]

        whole = [("u", "claude", 2, 0.004), ("u", "gpt", 2, 0.001), ("v", "gpt", 1, 0.001)]
        assert await of("user", "model") == await of("user", "model", since=NOON) == whole
        assert await of("user", "model", until=NOON + 7200) == whole[:1]
        assert await of("provider", user="u", until=NOON + 7200) == [("anthropic", 2, 0.004)]
        midnight = NOON - NOON % DAY
        assert await of("day", "user", model="gpt", since=NOON + DAY) == [(midnight + DAY, "v", 1, 0.001), (midnight + 2 * DAY, "u", 1, 0)]
        assert await of("day", user="u", model="claude") == [(midnight, 2, 0.004)]
        assert await of("hour", "model", user="u", until=NOON + 7200) == [(NOON + 3600, "claude", 2, 0.004)]
        assert await of("hour", "user", until=NOON + 3600, since=NOON - DAY) == [(NOON, "u", 1, 0.001)]
        (one,) = await figures.sums(store, Question(NOON, NOON + 7200, (), {"user": "u", "model": "claude"}))
        assert (one["errors"], one["input"], one["ms_total"], one["ms_first"], one["unpriced"]) == (1, 20, 500.0, 200.0, 0)
        with pytest.raises(Invalid, match="for one day"):
            await of("hour", "model", user="u")
        now += store.control.retention
        assert await of("user", "model", until=NOON + 7200) == [("u", "claude", 2, 0.004), ("u", "gpt", 1, 0.001)]  # the whole day
        assert await of("user", until=NOON + 7200) == [("u", 2, 0.004)]
        with pytest.raises(Invalid, match="retention"):
            await of("hour", "model", until=NOON + 7200, user="u")


@looped
async def test_users_and_models_within_a_day(control, monkeypatch):
    """Whatever hours they are: requests are read, and the day's sums added or subtracted, and both count the same."""
    rng = random.Random(2)
    midnight = NOON - NOON % DAY
    accounts = [
        account(
            time=midnight + rng.randrange(3 * 24) * 3600 + 1,
            user=rng.choice("uv"),
            target=rng.choice((TARGET, OTHER)),
            cost=rng.choice((None, 0.25)),
            status=rng.choice((200, 500)),
        )
        for _ in range(400)
    ]
    monkeypatch.setattr(figures, "time", lambda: midnight + 3 * DAY)
    async with opened(control) as (store, _):
        await filled(store, *accounts)
        for first, hours in ((0, 24), (1, 24), (11, 24), (13, 24), (23, 24), (25, 1), (30, 20), (47, 25), (49, 24), (60, 24)):
            since, until = midnight + first * 3600, midnight + (first + hours) * 3600
            wanted = Counter()
            for one in accounts:
                if since <= one.time < until:
                    place = one.user, one.last.target.model
                    wanted[*place, "requests"] += 1
                    wanted[*place, "errors"] += one.status == 500
                    wanted[*place, "unpriced"] += one.last.cost is None
                    wanted[*place, "input"] += 10
            for by in (("user", "model"), ("user", "model", "day")):
                found = Counter()
                for row in await figures.sums(store, Question(since, until, by)):
                    for name in ("requests", "errors", "unpriced", "input"):
                        found[row["user"], row["model"], name] += row[name]
                assert +found == +wanted


def test_units_cover_a_time_once_and_are_few():
    rng = random.Random(1)
    for _ in range(100):
        first = rng.randrange(400_000, 500_000)
        end = first + rng.choice((0, 1, 23, 24, 191, 400, 2160, 8760)) + rng.randrange(30)
        spans = cover(first, end, layout.UNITS)
        hours = Counter()
        for span in spans:
            for hour in range(span.first * span.hours, span.end * span.hours):
                hours[hour] += span.sign
        assert {hour for hour, times in hours.items() if times} == set(range(first, end))
        assert set(hours.values()) <= {0, 1}
        assert sum(span.end - span.first for span in spans) <= 2 * (12 + 4 + 4) + (end - first) // layout.UNITS[-1]


@looped
async def test_sums_of_any_time_are_those_of_its_requests(control, monkeypatch):
    """Against the requests themselves, added up here."""
    rng = random.Random(7)
    monkeypatch.setattr(figures, "time", lambda: NOON + 200 * DAY)
    names = ("key", "team", "user", "model", "provider")
    each = []
    for _ in range(400):
        target = rng.choice((TARGET, OTHER))
        one = {"key": rng.choice("abc"), "team": rng.choice(("", "t")), "user": rng.choice(("", "u", "v")), "model": target.model}
        at = NOON + rng.randrange(200 * 24) * 3600 + rng.choice((0, 1800.5, 3599.9))
        each.append((at, {**one, "provider": target.provider}, account(time=at, target=target, **{n: one[n] for n in names[:3]})))
    async with opened(control) as (store, _):
        await filled(store, *(one for *_, one in each))
        for _ in range(40):
            by = tuple(rng.sample(names, rng.randrange(3))) + rng.choice(((), (), ("day",)))
            where = {name: rng.choice(("a", "t", "u", "gpt", "openai", "")) for name in rng.sample(names, rng.randrange(2))}
            since = NOON + rng.randrange(150 * 24) * 3600
            until = since + rng.choice((1, 24, 30, 24 * 9, 24 * 70, 24 * 150)) * 3600
            if "user" in (*by, *where) and {"model", "provider"} & {*by, *where}:
                since, until = since - since % DAY, until + -until % DAY
            wanted = Counter(
                tuple((at // DAY * DAY) if name == "day" else one[name] for name in by)
                for at, one, _ in each
                if since <= at < until and all(one[name] == value for name, value in where.items())
            )
            question = Question(since, until, by, where)
            found = await figures.sums(store, question)
            assert {tuple(row[name] for name in by): row["requests"] for row in found} == wanted, question
            if len(by) == 2 and by[1] == "day":
                over = await figures.series(store, question, 2)
                shown = {row[by[0]] for row in over} - {None}
                assert len(shown) == min(2, len({name for name, _ in wanted}))
                for day in {day for _, day in wanted}:
                    others = sum(count for (name, when), count in wanted.items() if when == day and name not in shown)
                    assert sum(row["requests"] for row in over if row["day"] == day and row[by[0]] is None) == others
        for wrong in (Question(0, NOON, ("day",)), Question(0, NOON, ("key", "team")), Question(0, NOON, ("key",), order="age")):
            with pytest.raises(Invalid):
                await figures.series(store, wrong, 3)


@looped
async def test_single_exchanges(control, monkeypatch):
    async with opened(control) as (store, _):
        each = [account(request_id=f"r{n}", time=NOON + n // 2, key="ab"[n % 2], status=(200, 500)[n == 3]) for n in range(7)]
        await filled(store, *each)

        async def ids(**more):
            found, before = await figures.rows(store, more.pop("where", {}), **more)
            return [row["request_id"] for row in found], before

        assert await ids() == ([f"r{n}" for n in (6, 5, 4, 3, 2, 1, 0)], "")
        seen, before = await ids(most=3)
        assert seen == ["r6", "r5", "r4"]
        seen, before = await ids(most=3, before=before)
        assert seen == ["r3", "r2", "r1"]
        assert await ids(most=3, before=before) == (["r0"], "")
        assert (await ids(where={"key": "b"}))[0] == ["r5", "r3", "r1"]
        assert (await ids(where={"request_id": "r2"}))[0] == ["r2"]
        assert (
            (await ids(where={"key": "b", "model": "gpt"}))[0]
            == (await ids(where={"team": "", "key": "b", "user": ""}))[0]
            == ["r5", "r3", "r1"]
        )
        assert (await ids(where={"key": "a", "provider": "x"}))[0] == (await ids(where={"provider": "x"}))[0] == []
        assert (await ids(where={"provider": "openai", "key": "b"}))[0] == ["r5", "r3", "r1"]
        assert (await ids(where={"team": "x"}))[0] == (await ids(where={"error": "x"}))[0] == []
        assert (await ids(failed=True))[0] == (await ids(status=500))[0] == ["r3"]
        assert (await ids(status=200, since=NOON + 1, until=NOON + 2))[0] == ["r2"]
        monkeypatch.setattr(figures, "SEARCHED", 3)  # at once; where to go on is said though nothing is found
        assert await ids(where={"provider": "x"}) == ([], f"{NOON + 2!r}:0")
        assert await ids(where={"provider": "openai"}, most=9) == (["r6", "r5", "r4"], f"{NOON + 2!r}:0")
        assert await ids(where={"provider": "openai"}, before=f"{NOON + 2!r}:0") == (["r3", "r2", "r1", "r0"], f"{NOON!r}:0")
        assert await ids(where={"key": "b", "provider": "x"}) == ([], f"{NOON!r}:0")
        assert await ids(where={"key": "a", "team": "x"}, before=f"{NOON + 1!r}:0") == ([], "")
        assert await ids(status=500) == (["r3"], "")
        assert await ids(status=201) == ([], f"{NOON + 2!r}:0")
        (row,) = (await figures.rows(store, {"request_id": "r2"}))[0]
        assert (row["key"], row["user"], row["cost_usd"], row["stream"]) == ("a", "", 0.001, False)
        with pytest.raises(Invalid):
            await ids(before="x")


@pytest.mark.parametrize(
    ("per", "now", "begins"),
    [
        ("hour", "2026-11-25 12:30", "2026-11-25 12:00"),
        ("day", "2026-11-25 12:30", "2026-11-25 00:00"),
        ("week", "2026-11-25 12:30", "2026-11-23 00:00"),
        ("month", "2026-11-25 12:30", "2026-11-01 00:00"),
        ("month", "2026-12-31 23:59", "2026-12-01 00:00"),
        ("month", "2027-01-01 00:00", "2027-01-01 00:00"),
    ],
)
def test_when_a_period_began(per, now, begins):
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (now, begins)]
    assert budgets._begins(per, moments[0]) == moments[1]


@looped
async def test_counts_are_raised_to_what_the_store_has(control, monkeypatch):
    monkeypatch.setattr(budgets, "time", lambda: NOON + 10)
    counters = LocalCounters(calendar=lambda: NOON + 10)
    limited = [
        Limited("a", budget=Budget(1, "day")),
        Limited("b", budget=Budget(1, "hour")),
        Limited("team\0t", budget=Budget(1, "month")),
        Limited("user\0t\0u", budget=Budget(1, "week")),
        Limited("user\0\0u", budget=Budget(1, "week")),
        Limited("c", requests_per_minute=1),
    ]
    async with opened(control) as (store, _):
        await filled(
            store,
            account(key="a", team="t", user="u", time=NOON, cost=0.25),
            account(key="a", team="t", time=NOON - DAY, cost=0.5),
            account(key="b", time=NOON - 10, cost=0.125),
        )
        found = {one.name: spent.nano for one, spent in (await budgets.spent(store, limited)).items()}
        assert found == {"a": 250_000_000, "b": 0, "team\0t": 750_000_000, "user\0t\0u": 250_000_000, "user\0\0u": 0}
        counters.settle(limited[2], 0, 900_000_000)
        await budgets.raise_counts(store, limited, counters)
        spent = [(await counters.admit(one)).spent for one in limited]
        assert spent == [250_000_000, 0, 900_000_000, 250_000_000, 0, 0]


@looped
async def test_replicas_whose_clocks_differ_count_each_dollar_in_one_period(control, monkeypatch):
    """Two gateways with counts of their own on one store, one of them three seconds ahead, around the end of all four periods.

    Each request costs a dollar. What a gateway counts is the sum of its period in the store, whoever was in it when.
    """
    limited = [
        Limited("k", budget=Budget(1000, "hour")),
        Limited("team\0t", budget=Budget(1000, "day")),
        Limited("user\0t\0u", budget=Budget(1000, "week")),
        Limited("m", budget=Budget(1000, "month")),
    ]
    midnight = datetime(2026, 6, 1, tzinfo=UTC).timestamp()  # a Monday's
    clocks = {"behind": 0.0, "ahead": 3.0}
    now = dict.fromkeys(clocks, midnight - 60)
    counters = {name: LocalCounters(calendar=lambda name=name: now[name]) for name in clocks}
    requests = Counter()
    async with opened(control) as (store, _):
        for second in range(-5, 4):
            for name, ahead in clocks.items():
                now[name] = midnight + second + ahead + 0.5
                each = [account(key="k", team="t", user="u", time=now[name], cost=1.0), account(key="m", time=now[name], cost=1.0)]
                await written(store, f"{name} {second}", *each)
                for one in limited:
                    counters[name].settle(one, 10, NANO)
                requests[now[name] >= midnight] += 1
            for name in clocks:
                monkeypatch.setattr(budgets, "time", lambda name=name: now[name])
                await budgets.raise_counts(store, limited, counters[name])
                spent = [(await counters[name].look(one)).spent for one in limited]
                assert spent == [requests[now[name] >= midnight] * NANO] * 4, (second, name)
    assert requests == {False: 7, True: 11}


@looped
async def test_a_period_does_not_inherit_what_the_one_before_has_spent(control, monkeypatch):
    """It begins between the question and the counts."""
    one = Limited("a", budget=Budget(1, "hour"))
    monkeypatch.setattr(budgets, "time", lambda: NOON - 1)
    counters = LocalCounters(calendar=lambda: NOON)
    async with opened(control) as (store, _):
        await filled(store, account(key="a", time=NOON - 10, cost=2.0))
        await budgets.raise_counts(store, [one], counters)
    standing = await counters.admit(one)
    assert (standing.admitted, standing.spent) == (True, 0)


def test_two_processes_raise_redis_once():
    import secrets

    from dragoman.proxy.keys.quota_redis import RedisCounters, _spent

    from ..proxy.kinds import redis

    one = Limited(f"key-{secrets.token_hex(6)}", budget=Budget(1, "month"))
    number = period("month", time.time()).number

    async def main(url):
        first, second = RedisCounters(url, LocalCounters()), RedisCounters(url, LocalCounters())
        try:
            for counters, nano in ((first, 500), (second, 400), (second, 700)):
                await counters.at_least(one, nano, number)
            await second.at_least(one, 700, number + 1)  # as much as in the month before
            assert await second._store.script("return redis.call('GET', KEYS[1])", [_spent(one, number + 1)]) == b"700"
            await second.at_least(one, 900, number - 1)  # what the month before has spent is not this month's
            assert (await first.admit(one)).spent == 700
            first.settle(one, 0, 50)
            await first.at_least(one, 10_000, number)  # it may hold the 50
            await first._paying
            assert (await second.admit(one)).spent == 750
        finally:
            await first.close()
            await second.close()

    with redis() as url:
        asyncio.run(main(url))


@looped
async def test_what_is_searched_as_failed_is_what_is_counted_as_an_error(control):
    broken = errors.Truncated("The answer broke off.")
    each = [
        account(request_id=f"{status}{'-' if error else ''}", status=status, error=None if error is None else failure(error))
        for status, error in ((200, None), (200, broken), (404, None), (499, None), (499, broken), (500, broken))
    ]
    async with opened(control) as (store, _):
        await filled(store, *each)
        found, _ = await figures.rows(store, {}, failed=True)
        assert sorted(row["request_id"] for row in found) == ["200-", "404", "500-"]
        beside, _ = await figures.rows(store, {"key": "k"}, failed=True)  # another filter's index
        assert len(beside) == len(found)
        (line,) = await figures.sums(store, Question(NOON - DAY, NOON + DAY, ("key",)))
        assert line["errors"] == len(found)
        left, _ = await figures.rows(store, {}, status=499)
        assert len(left) == 2
