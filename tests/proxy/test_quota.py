"""What access keys may use: the arithmetic, the counters of one machine's processes, and those in Redis."""

import asyncio
import os
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dragoman.codecs import errors
from dragoman.codecs.usage import Usage
from dragoman.conf.model import AccessKey, Budget, Config, Control, StateStorage
from dragoman.proxy.keys import quota, quota_redis
from dragoman.proxy.keys.identity import Identity, Limited, only_limits
from dragoman.proxy.keys.quota import NANO, LocalCounters, Quota

from .kinds import cluster, redis, stop_cluster

NOON = datetime(2026, 11, 25, 12, 30, 15, tzinfo=UTC).timestamp()  # a Wednesday


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    yield
    stop_cluster()


class Clock:
    """A time that only a test moves."""

    def __init__(self, now=1000.25):
        self.now = now

    def __call__(self):
        return self.now


def key(**limits):
    return Limited(limits.pop("name", f"key-{secrets.token_hex(6)}"), **limits)


def caller(*limited):
    """The caller that has these limits."""
    return Identity(limited[0].name, limits=only_limits(*limited))


# ---- periods ----


@pytest.mark.parametrize(
    ("per", "begins", "ends"),
    [
        ("hour", "2026-11-25 12:00", "2026-11-25 13:00"),
        ("day", "2026-11-25 00:00", "2026-11-26 00:00"),
        ("week", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("month", "2026-11-01 00:00", "2026-12-01 00:00"),
    ],
)
def test_periods(per, begins, ends):
    first, after = (datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in (begins, ends))
    found = quota.period(per, NOON)
    assert found.ends == after
    assert quota.period(per, first.timestamp()) == found
    assert quota.period(per, after.timestamp() - 1) == found
    assert quota.period(per, after.timestamp()).number != found.number
    assert quota.period(per, first.timestamp() - 1).number != found.number


@pytest.fixture(params=["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
def zone(request, monkeypatch):
    """The machine's time zone. Summer time begins and ends at other moments in each, on Lord Howe Island by half an hour."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "change",
    ["2026-03-29 01:00", "2026-10-25 01:00", "2026-03-08 07:00", "2026-11-01 06:00", "2026-04-04 15:00", "2026-10-03 15:30"],
)
@pytest.mark.parametrize("per", ["hour", "day", "week", "month"])
def test_summer_time_changes_no_period(zone, per, change, monkeypatch):
    """Periods are those of UTC, each as long as any other, at the moments when a zone's clock is changed and around."""
    budgets = pytest.importorskip("dragoman.proxy.control.budgets", reason="needs dragoman[control]")
    lengths = {"hour": [1], "day": [24], "week": [7 * 24], "month": [days * 24 for days in (28, 30, 31)]}[per]
    moment = datetime.fromisoformat(change).replace(tzinfo=UTC).timestamp()
    limited = key(budget=Budget(1, per))
    calendar = Clock()
    monkeypatch.setattr(quota.time, "time", calendar)
    before = None
    for seconds in (-90000, -7200, -3601, -1, 0, 1, 1799, 1800, 3599, 3600, 7200, 90000):
        calendar.now = now = moment + seconds
        found = quota.period(per, now)
        ends = found.ends.timestamp()
        assert found.ends.utcoffset() == timedelta(0)
        assert 0 < ends - now <= lengths[-1] * 3600
        begins = budgets._begins(per, now)
        assert begins <= now
        assert (ends - begins) / 3600 in lengths
        assert quota.period(per, begins) == quota.period(per, ends - 1) == found
        assert quota.period(per, ends).number != found.number != quota.period(per, begins - 1).number
        assert before is None or (found.number == before[0]) == (now < before[1])
        before = found.number, ends
        error = quota._refusal(limited, quota.Standing(0.0, (), 2 * NANO))
        assert error.resets_at == ends
        assert error.retry_after == ends - now
        assert f"resets at {found.ends:%Y-%m-%d %H:%M} UTC" in error.message


def test_a_year_ends_in_its_last_month():
    assert quota.period("month", datetime(2026, 12, 31, tzinfo=UTC).timestamp()).ends == datetime(2027, 1, 1, tzinfo=UTC)


# ---- one process ----


def admit(counters, one, shape="chat"):
    """The headers of an admitted request, or what it was refused with."""
    try:
        return asyncio.run(Quota(counters).admit(caller(one), shape))
    except errors.OverQuota as error:
        return error


def test_requests_are_counted_in_the_last_minute():
    clock = Clock()
    counters, one = LocalCounters(clock), key(requests_per_minute=3)
    assert admit(counters, one)["x-ratelimit-remaining-requests"] == "2"
    clock.now += 30
    assert admit(counters, one)["x-ratelimit-remaining-requests"] == "1"
    assert admit(counters, one)["x-ratelimit-remaining-requests"] == "0"
    error = admit(counters, one)
    assert isinstance(error, errors.OverQuota)
    assert (error.kind, error.retry_after, error.should_retry) == ("rate_limit", 30, None)
    assert error.message == "The limit of this API key, 3 requests per minute, is reached. Try again in 30 s."
    assert error.headers == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }
    clock.now += 29.7  # the first has left the window at 1060.0, not a moment earlier
    assert isinstance(admit(counters, one), errors.OverQuota)
    clock.now += 0.1
    assert admit(counters, one)["x-ratelimit-remaining-requests"] == "0"
    assert isinstance(admit(counters, one), errors.OverQuota)
    clock.now += 10_000
    assert admit(counters, one)["x-ratelimit-remaining-requests"] == "2"


def test_tokens_block_once_the_limit_is_reached():
    clock = Clock()
    counters, one = LocalCounters(clock), key(tokens_per_minute=100)
    limits = Quota(counters)
    assert admit(counters, one)["x-ratelimit-remaining-tokens"] == "100"
    limits.settle(caller(one), Usage(input=60, output=30), 0.0)
    assert admit(counters, one)["x-ratelimit-remaining-tokens"] == "10"
    clock.now += 5
    limits.settle(caller(one), Usage(input=60, output=30), 0.0)
    error = admit(counters, one)
    assert (error.kind, error.retry_after) == ("rate_limit", 55)
    assert error.headers["x-ratelimit-remaining-tokens"] == "0"
    clock.now += 55
    assert admit(counters, one)["x-ratelimit-remaining-tokens"] == "10"


def test_a_budget_blocks_until_its_period_ends():
    calendar = Clock(NOON)
    counters, one = LocalCounters(calendar=calendar), key(budget=Budget(0.5, "day"))
    limits = Quota(counters)
    assert admit(counters, one) == {}
    limits.settle(caller(one), Usage(), 0.499999999)
    assert admit(counters, one) == {}
    limits.settle(caller(one), Usage(), 0.000000001)
    error = admit(counters, one)
    assert (error.kind, error.should_retry) == ("billing", False)
    assert 0 < error.retry_after <= 86400
    assert (error.http_status("messages"), error.http_status("chat"), error.openai()["code"]) == (429, 429, "insufficient_quota")
    assert "0.5 USD per day" in error.message
    calendar.now += 86400
    assert admit(counters, one) == {}


def test_what_is_refused_is_not_counted():
    counters, one = LocalCounters(Clock()), key(requests_per_minute=2, tokens_per_minute=1)
    Quota(counters).settle(caller(one), Usage(output=1), 0.0)
    for _ in range(5):
        assert admit(counters, one).headers["x-ratelimit-remaining-requests"] == "2"


def test_headers_in_the_words_of_messages():
    counters, one = LocalCounters(Clock()), key(requests_per_minute=2, tokens_per_minute=10)
    found = admit(counters, one, "messages")
    moments = [datetime.fromisoformat(found.pop(f"anthropic-ratelimit-{family}-reset")) for family in ("requests", "tokens")]
    assert found == {
        "anthropic-ratelimit-requests-limit": "2",
        "anthropic-ratelimit-requests-remaining": "1",
        "anthropic-ratelimit-tokens-limit": "10",
        "anthropic-ratelimit-tokens-remaining": "10",
    }
    assert 55 < (moments[0] - moments[1]).total_seconds() < 62


def test_keys_without_limits_are_not_counted():
    class Never:
        """Counters that nobody may ask."""

    limits, free = Quota(Never()), caller(key(name="free"))
    assert asyncio.run(limits.admit(free, "chat")) == {}
    limits.settle(free, Usage(output=1), 1.0)


def test_a_request_fits_the_limits_of_its_key_its_user_and_its_team():
    counters = LocalCounters(Clock())
    team, user = key(name="team t", requests_per_minute=3, what="your team"), key(name="user u", requests_per_minute=2, what="this user")
    limits, alone = Quota(counters), caller(team)
    both = caller(key(name="k", requests_per_minute=9), user, team)
    assert [asyncio.run(limits.admit(both, "chat"))["x-ratelimit-remaining-requests"] for _ in range(2)] == ["8", "7"]
    with pytest.raises(errors.OverQuota, match="The limit of this user, 2 requests per minute"):
        asyncio.run(limits.admit(both, "chat"))
    asyncio.run(limits.admit(alone, "chat"))  # the team counted the two that were admitted
    with pytest.raises(errors.OverQuota, match="your team"):
        asyncio.run(limits.admit(alone, "chat"))


def test_a_cost_is_charged_to_each():
    counters = LocalCounters()
    members = [key(name=name, budget=Budget(1, "day")) for name in ("k", "u", "t")]
    Quota(counters).settle(caller(*members), Usage(output=1), 0.25)
    assert [asyncio.run(counters.admit(one)).spent for one in members] == [250_000_000] * 3


def test_keys_do_not_share_a_slot():
    counters = LocalCounters(Clock())
    keys = [key(requests_per_minute=number) for number in range(1, 300)]
    for number, one in enumerate(keys, 1):
        assert admit(counters, one)["x-ratelimit-remaining-requests"] == str(number - 1)


def test_what_an_operator_is_told():
    config = Config((), access_keys=(AccessKey("0" * 64, "k", requests_per_minute=1),))
    assert "state_storage of type redis" in quota.note(config)
    assert quota.note(Config((), access_keys=(AccessKey("0" * 64, "k"),))) is None
    assert quota.note(Config((), access_keys=config.access_keys, state_storage=StateStorage("redis", url="redis://h"))) is None
    kept = Control("sqlite", "folder", path="control.db")
    assert str(quota.note(replace(config, control=kept))).startswith("limits by the minute of access_keys are counted")
    of_money = replace(config, access_keys=(AccessKey("0" * 64, "k", budget=Budget(1)),))
    assert str(quota.note(of_money)).startswith("limits of access_keys are counted")
    assert quota.note(replace(of_money, control=kept)) is None, "the store has what budgets have spent"


# ---- many processes ----

PROCESSES, TRIES = 4, 100


def in_processes(work):
    """The sum of what `work` returns in each of four forked processes that begin at the same moment."""
    go_out, go_in = os.pipe()
    done_out, done_in = os.pipe()
    for _ in range(PROCESSES):
        if os.fork() == 0:
            code = 1
            try:
                os.close(go_in)
                os.read(go_out, 1)
                os.write(done_in, b"%d\n" % work())
                code = 0
            finally:
                os._exit(code)
    os.close(go_in)
    os.close(done_in)
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(PROCESSES)]
    with os.fdopen(done_out) as done:
        counts = [int(line) for line in done]
    os.close(go_out)
    assert codes == [0] * PROCESSES
    return sum(counts)


@pytest.mark.parametrize("limit", [1, 50, 399])
def test_forked_processes_admit_exactly_the_limit(limit):
    counters, one = LocalCounters(), key(requests_per_minute=limit)
    assert in_processes(lambda: sum(counters.admit_now(one).admitted for _ in range(TRIES))) == limit
    assert not counters.admit_now(one).admitted


def test_forked_processes_lose_no_token_and_no_cent():
    calendar = Clock(NOON)
    counters, one = LocalCounters(calendar=calendar), key(tokens_per_minute=10**9, budget=Budget(10**6, "month"))

    def work():
        for _ in range(TRIES):
            counters.settle(one, 3, 7)
        return 1

    in_processes(work)
    found = counters.admit_now(one)
    assert sum(bucket.tokens for bucket in found.buckets) == 3 * PROCESSES * TRIES
    assert found.spent == 7 * PROCESSES * TRIES


# ---- Redis ----


@pytest.fixture(params=["redis", "cluster"])
def address(request, monkeypatch):
    monkeypatch.setattr("dragoman.proxy.keys.quota_redis.PATIENCE", 60.0)  # a busy machine makes a cluster of servers slow
    if request.param == "cluster":
        yield cluster().url
    else:
        with redis() as url:
            yield url


def replicas(url, count=2):
    """Counters of gateways that share nothing but Redis."""
    from dragoman.proxy.keys.quota_redis import RedisCounters

    return [RedisCounters(url, LocalCounters()) for _ in range(count)]


async def closed(*counters):
    for one in counters:
        await one.close()


def test_replicas_admit_exactly_the_limit(address):
    one = key(requests_per_minute=50)

    async def main():
        first, second = replicas(address)
        standings = await asyncio.gather(*(counters.admit(one) for _ in range(100) for counters in (first, second)))
        assert sum(standing.admitted for standing in standings) == 50
        assert {sum(bucket.requests for bucket in (await c.admit(one)).buckets) for c in (first, second)} == {50}
        await closed(first, second)

    asyncio.run(main())


def test_replicas_know_what_the_others_spent(address):
    one = key(requests_per_minute=100, tokens_per_minute=100, budget=Budget(1, "month"), name=f"team {{a}}: {secrets.token_hex(6)}")

    async def main():
        first, second = replicas(address)
        assert (await first.admit(one)).admitted
        for _ in range(10):
            first.settle(one, 9, 99_000_000)
        await first.close()  # which waits for what is owed
        standing = await second.admit(one)
        assert standing.admitted
        assert (sum(bucket.tokens for bucket in standing.buckets), standing.spent) == (90, 990_000_000)
        second.settle(one, 0, 10_000_000)
        await second.close()
        (third,) = replicas(address, 1)
        standing = await third.admit(one)
        assert not standing.admitted
        assert (standing.spent, sum(bucket.requests for bucket in standing.buckets)) == (1_000_000_000, 2)
        await third.close()

    asyncio.run(main())


def test_nothing_is_left_in_redis_after_its_time(address):
    import redis as driver

    one = key(requests_per_minute=1, tokens_per_minute=1, budget=Budget(1, "hour"))

    async def main():
        (counters,) = replicas(address, 1)
        await counters.admit(one)
        counters.settle(one, 5, 5)
        await counters.close()

    asyncio.run(main())
    cluster_mode = driver.Redis.from_url(address).info("cluster")["cluster_enabled"]
    client = driver.RedisCluster.from_url(address) if cluster_mode else driver.Redis.from_url(address)
    names = list(client.scan_iter(f"dragoman:{{quota:{one.name}}}*"))
    lifetimes = sorted(client.ttl(name) for name in names)
    assert len(lifetimes) == 3
    assert all(0 < lifetime <= most for lifetime, most in zip(lifetimes, (60, 600, 3600 + quota_redis.SKEW), strict=True))
    client.delete(*names)
    client.close()


def test_without_redis_the_machine_counts_by_itself(caplog):
    pytest.importorskip("redis", reason="needs redis (dragoman[redis])")
    one = key(requests_per_minute=2, budget=Budget(1, "day"))

    async def main():
        here = LocalCounters()
        from dragoman.proxy.keys.quota_redis import RedisCounters

        counters = RedisCounters("redis://127.0.0.1:1/0", here)
        assert [(await counters.admit(one)).admitted for _ in range(4)] == [True, True, False, False]
        counters.settle(one, 0, 10**9)
        assert (await counters.admit(one)).spent == 10**9
        await counters.close()

    asyncio.run(main())
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "limits are counted on this machine only",
        "some usage is not counted",
    ]


def test_a_use_that_was_sent_twice_is_counted_once(address):
    """As after an answer of Redis that got lost on its way."""
    from dragoman.proxy.keys.quota_redis import _Owed

    one = key(tokens_per_minute=100, budget=Budget(1, "month"))

    async def main():
        (counters,) = replicas(address, 1)
        owed = _Owed(one, 7, 70)
        for _ in range(3):
            await counters._send(owed)
        standing = await counters.admit(one)
        assert (sum(bucket.tokens for bucket in standing.buckets), standing.spent) == (7, 70)
        await closed(counters)

    asyncio.run(main())


@pytest.mark.parametrize("tokens", [2**62, 2**64, 10**400, -5, -(10**30)], ids=["2^62", "2^64", "10^400", "-5", "-10^30"])
@pytest.mark.parametrize("usd", [0.0, 1e300, float("inf"), float("nan"), -3.0], ids=str)
def test_absurd_usage_is_counted_within_bounds(tokens, usd):
    """What an upstream says is added up without an error, and gives no room back."""
    counters, one = LocalCounters(calendar=Clock(NOON)), key(tokens_per_minute=10**13, budget=Budget(10**7, "month"))
    limits = Quota(counters)
    for _ in range(12):
        limits.settle(caller(one), Usage(input=1, output=1, total=tokens), usd)
    standing = counters.admit_now(one)
    assert sum(bucket.tokens for bucket in standing.buckets) == (12 * 10**12 if tokens > 0 else 0)
    assert standing.spent == (12 * 10**15 if usd > 0 else 0)
    assert standing.admitted == (tokens < 0 and not usd > 0)


def test_a_count_stays_at_the_greatest_number(address):
    one = key(tokens_per_minute=10**13, budget=Budget(10**7, "month"))

    async def main():
        (counters,) = replicas(address, 1)
        for _ in range(3):
            counters.settle(one, 2**62, 2**62)
            await counters._paying
        standing = await counters.admit(one)
        assert not standing.admitted
        assert standing.spent >= 2**62
        here = counters._here.admit_now(one)
        assert here.spent == 2**63 - 1
        await closed(counters)

    asyncio.run(main())
