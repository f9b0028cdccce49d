"""A credential that ends: who waits for its renewal, what a failure means, and what a program may print."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman.conf.model import TokenCommand
from dragoman.proxy.child import BEHIND
from dragoman.proxy.credentials import credential
from dragoman.proxy.credentials.command import Command, read
from dragoman.proxy.credentials.credential import Credential, Fault, bearer
from dragoman.proxy.credentials.program import FAR_BEHIND, Program
from dragoman.proxy.credentials.source import AHEAD, AT_ONCE, Source, Turns

START = 1_800_000_000.0
HOUR = 3600.0


class Service:
    """A giver whose answers a test decides: `get` waits for the next. asked: how often it was asked; hurried: of each time whether
    somebody waited.
    """

    name = "service"

    def __init__(self) -> None:
        self.asked = self.at_once = self.most_at_once = 0
        self.hurried: list[bool] = []
        self._answers: queue.Queue[Credential | BaseException] = queue.Queue()
        self.closed = False

    def give(self, token: str = "t", ends: float | None = START + HOUR, renew_at: float | None = None) -> None:
        self._answers.put(Credential(token, ends, renew_at))

    def fail(self, error: BaseException | None = None) -> None:
        self._answers.put(error or Fault("the token service cannot be reached", passing=True))

    def get(self, *, ahead: bool = False) -> Credential:
        self.hurried.append(not ahead)
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            found = self._answers.get(timeout=30)
        finally:
            self.at_once -= 1
        if isinstance(found, Credential):
            return found
        raise found

    def close(self) -> None:
        self.closed = True


class Stage:
    """A source, its service and a clock that stands still."""

    def __init__(self, patience: float = 20.0, turns: Turns | None = None) -> None:
        self.now = START
        self.service = Service()
        self.told: list[tuple[str, str, float | None]] = []
        self.source = Source(
            self.service, "up/m", patience, lambda *told: self.told.append(told), lambda: self.now, lambda: self.now, turns
        )

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - a thread tells nobody
                await asyncio.sleep(0.001)

    async def settled(self, renewals: int) -> None:
        await self.until(lambda: len(self.told) == renewals)

    def token(self) -> str | None:
        held = self.source.ready()
        return None if held is None else held.token


def run(test: Callable[[Stage], Any]) -> Callable[[], None]:
    def ran() -> None:
        asyncio.run(test(Stage()))

    ran.__name__ = test.__name__
    return ran


@run
async def test_c12_a_hundred_requests_are_one_question(stage: Stage) -> None:
    waiting = [asyncio.create_task(stage.source.fresh()) for _ in range(100)]
    await stage.until(lambda: stage.service.asked)
    stage.service.give("one")
    assert {found.token for found in await asyncio.gather(*waiting)} == {"one"}
    assert stage.service.asked == 1


def test_many_sources_take_turns() -> None:
    """A start gets so many credentials at once; one that a request waits for comes before the others."""

    async def play() -> None:
        turns = Turns()
        stages = [Stage(turns=turns) for _ in range(AT_ONCE + 3)]
        for stage in stages:
            stage.source.warm()
        *first, fifth, sixth, last = stages
        await first[0].until(lambda: all(stage.service.asked for stage in first))
        wanted = asyncio.create_task(last.source.fresh())
        await asyncio.sleep(0)
        assert [stage.service.asked for stage in (fifth, sixth, last)] == [0, 0, 0]
        first[1].service.give()
        await last.until(lambda: last.service.asked)
        assert (fifth.service.asked, sixth.service.asked) == (0, 0)
        last.service.give("wanted")
        assert (await wanted).token == "wanted"
        for stage in (*first, fifth, sixth):
            stage.service.give()
            await stage.settled(1)

    asyncio.run(play())


def test_one_that_hangs_keeps_nobody_from_its_turn() -> None:
    async def play() -> None:
        turns = Turns(1)
        hangs, other = Stage(0.05, turns), Stage(20.0, turns)
        hangs.source.warm()
        other.service.give("other")
        assert (await other.source.fresh()).token == "other"
        hangs.service.give("late")
        await hangs.settled(1)
        assert hangs.token() == "late"

    asyncio.run(play())


@run
async def test_c13_in_the_soft_window_nobody_waits_and_one_asks(stage: Stage) -> None:
    stage.service.give("old")
    await stage.source.fresh()
    stage.now += 0.7 * HOUR
    assert stage.token() == "old"
    assert stage.service.asked == 1
    stage.now = START + 0.89 * HOUR
    for _ in range(100):
        assert stage.token() == "old"
    await stage.until(lambda: stage.service.asked == 2)
    assert stage.token() == "old"
    stage.service.give("new", START + 2 * HOUR)
    await stage.settled(2)
    assert stage.token() == "new"
    assert (stage.service.asked, stage.service.most_at_once) == (2, 1)


@run
async def test_c13_a_renewal_hurries_when_somebody_waits_or_will_soon(stage: Stage) -> None:
    stage.service.give("first")
    await stage.source.fresh()
    stage.now += 0.89 * HOUR
    stage.service.fail()
    assert stage.token() == "first"
    await stage.settled(2)
    stage.now += 5
    stage.service.give("second", stage.now + HOUR)
    assert stage.token() == "first"
    await stage.settled(3)
    stage.now += HOUR - 60 - AHEAD + 1
    stage.service.give("third", stage.now + HOUR)
    assert stage.token() == "second"
    await stage.settled(4)
    assert stage.service.hurried == [True, False, True, True], "the first, ahead of time, after a failure, shortly before the hard time"


@pytest.mark.parametrize("waited", [True, False])
def test_who_waits_for_a_turn_with_a_request_hurries(waited: bool) -> None:
    async def play() -> None:
        turns = Turns(1)
        stage, other = Stage(turns=turns), Stage(turns=turns)
        stage.service.give("old")
        await stage.source.fresh()
        other.source.warm()
        stage.now += 0.89 * HOUR
        assert stage.token() == "old"
        assert stage.service.asked == 1, "it waits for its turn"
        if waited:
            stage.now = START + HOUR
            waiting = asyncio.create_task(stage.source.fresh())
            await asyncio.sleep(0)
        other.service.give()
        stage.service.give("new", START + 2 * HOUR)
        await stage.settled(2)
        assert stage.service.hurried == [True, waited]
        if waited:
            assert (await waiting).token == "new"

    asyncio.run(play())


@run
async def test_c13_in_the_hard_window_requests_wait(stage: Stage) -> None:
    stage.service.give("old")
    await stage.source.fresh()
    stage.now = START + HOUR - 59
    assert stage.token() is None
    waiting = asyncio.create_task(stage.source.fresh())
    await stage.until(lambda: stage.service.asked == 2)
    stage.service.give("new", START + 2 * HOUR)
    assert (await waiting).token == "new"


@run
async def test_c13_the_old_one_is_used_until_its_end_while_the_service_is_down(stage: Stage) -> None:
    stage.service.give("old")
    await stage.source.fresh()
    stage.now = START + 0.89 * HOUR
    for failures, pause in enumerate((5, 15, 45, 60, 60), 1):
        stage.service.fail()
        assert stage.token() == "old"
        await stage.settled(1 + failures)
        stage.now += pause - 1
        assert stage.token() == "old"
        assert stage.service.asked == 1 + failures, "asked again before its time"
        stage.now += 1
    stage.now = START + HOUR
    assert stage.token() is None
    stage.service.fail()
    with pytest.raises(Fault, match="service: the token service cannot be reached") as caught:
        await stage.source.fresh()
    assert caught.value.passing
    stage.service.give("new", START + 2 * HOUR)
    with pytest.raises(Fault):  # the failure stands for five seconds
        await stage.source.fresh()
    assert stage.service.asked == 7
    stage.now += 5
    assert (await stage.source.fresh()).token == "new"


@run
async def test_a_waiter_that_leaves_stops_nothing(stage: Stage) -> None:
    one, other = (asyncio.create_task(stage.source.fresh()) for _ in range(2))
    await stage.until(lambda: stage.service.asked)
    one.cancel()
    await asyncio.wait([one])
    stage.service.give("t")
    assert (await other).token == "t"
    assert stage.service.asked == 1


def test_a_service_that_hangs_is_left_alone_and_its_late_answer_is_used() -> None:
    async def main() -> None:
        stage = Stage(patience=0.05)
        for _ in range(3):
            with pytest.raises(Fault, match=r"service: no answer within 0\.05 s"):
                await stage.source.fresh()
        assert stage.service.asked == 1
        stage.service.give("late")
        await stage.settled(1)
        assert stage.token() == "late"

    asyncio.run(main())


@run
async def test_a_refused_one_is_thrown_away_once_a_minute(stage: Stage) -> None:
    stage.service.give("bad")
    bad = await stage.source.fresh()
    assert stage.source.refused(bad)
    assert stage.token() is None
    stage.service.give("bad too")
    other = await stage.source.fresh()
    assert stage.source.refused(bad), "it has been replaced: there is another"
    assert not stage.source.refused(other)
    assert stage.token() == "bad too"
    stage.now += 60
    assert stage.source.refused(other)


@run
async def test_what_has_ended_is_not_used(stage: Stage) -> None:
    stage.service.give("old", START - 1)
    with pytest.raises(Fault, match="has ended already"):
        await stage.source.fresh()


@run
async def test_a_life_without_an_end(stage: Stage) -> None:
    stage.service.give("one", None, START + 300)
    await stage.source.fresh()
    stage.now += 301
    assert stage.token() == "one"
    stage.service.give("two", None, START + 900)
    await stage.settled(2)
    assert stage.token() == "two"


@run
async def test_c36_a_giver_that_says_when_it_has_another(stage: Stage) -> None:
    stage.service.give("one", START + HOUR, renew_at=START + 0.5 * HOUR)
    await stage.source.fresh()
    stage.now = START + 0.5 * HOUR - 1
    assert stage.token() == "one"
    assert stage.service.asked == 1
    stage.now += 1
    assert stage.token() == "one"
    await stage.until(lambda: stage.service.asked == 2)
    stage.service.give("two", START + 1.5 * HOUR)
    await stage.settled(2)
    assert stage.token() == "two"


@run
async def test_c40_what_a_library_says_is_not_repeated(stage: Stage) -> None:
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign]
    logging.getLogger("dragoman").addHandler(handler)
    try:
        stage.service.fail(RuntimeError("client_secret=hunter2hunter2"))
        with pytest.raises(Fault) as caught:
            await stage.source.fresh()
    finally:
        logging.getLogger("dragoman").removeHandler(handler)
    assert caught.value.message == "service: failed (RuntimeError)"
    assert [record.getMessage().partition(" after ")[0] for record in seen] == ["credential of up/m could not be had"]
    assert "hunter2" not in str(seen)
    assert "hunter2" not in repr(Credential("hunter2hunter2", None))


@pytest.mark.parametrize("life", [1.0, 30.0, 299.0, 601.0, 1200.0, HOUR, 24 * HOUR])
def test_the_windows_of_any_life(life: float) -> None:
    """It is not asked for again at once, and there is time for it before the hard window."""

    async def main() -> None:
        stage = Stage()
        stage.service.give("t", START + life)
        await stage.source.fresh()
        asks = gone = None
        stage.service.fail()
        for step in range(1, 1001):
            stage.now = START + life * step / 1000
            if stage.source.ready() is None:
                gone = step / 1000
                break
            if asks is None and stage.source._under_way is not None:
                asks = step / 1000
        assert asks is not None
        assert gone is not None
        assert 0.4 <= asks <= 0.89 < gone
        await stage.settled(2)

    asyncio.run(main())


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        stage = Stage()
        monkeypatch.setattr(threading.Thread, "start", _no_thread)
        with pytest.raises(Fault, match="no thread can be started"):
            await stage.source.fresh()
        monkeypatch.undo()
        stage.now += 5
        stage.service.give("t")
        assert (await stage.source.fresh()).token == "t"

    asyncio.run(main())


def _no_thread(*_: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("token", ["", None, 7, "a b", "a\r\nx: y", "a\x00", "é", "x" * (credential.LONGEST + 1)])
def test_what_cannot_stand_in_a_header_is_no_token(token: object) -> None:
    with pytest.raises(Fault):
        bearer(token, None)


# ---- what a program prints ----


@pytest.mark.parametrize(
    ("printed", "token", "ends"),
    [
        (b"abc\n", "abc", None),
        (b"  abc\r\n", "abc", None),
        (b'{"token": "abc"}', "abc", None),
        (b'{"access_token": "abc", "expires_in": 60, "token_type": "Bearer"}', "abc", START + 60),
        (b'{"access_token": "abc", "expires_in": "60"}', "abc", START + 60),
        # az account get-access-token: expiresOn is local time
        (b'{"accessToken": "abc", "expiresOn": "2027-01-15 09:00:00.000000", "expires_on": 1800000060, "tenant": "t"}', "abc", START + 60),
        (b'{"token": "abc", "expires_at": 1800000060.5}', "abc", START + 60.5),
        (b'{"token": "abc", "expiry": "2027-01-15T08:01:00Z"}', "abc", START + 60),
        (b'{"token": "abc", "expiration": "2027-01-15T09:01:00+01:00"}', "abc", START + 60),
    ],
)
def test_what_is_printed(printed: bytes, token: str, ends: float | None) -> None:
    found = read(printed, START)
    assert (found.token, found.ends) == (token, ends)
    assert found.renew_at == (START + credential.PLAIN_LIFE if ends is None else None)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (b"", "printed nothing"),
        (b" \n", "printed nothing"),
        (b"one\ntwo", "the token is not one"),
        (b"Error: log in first", "the token is not one"),
        ("schlüssel".encode(), "not ASCII"),
        (b'{"token": ', "JSON that cannot be read"),
        (b"{" * 100_000, "JSON that cannot be read"),
        (b"{}", "holds no token"),
        (b'{"token": null}', "holds no token"),
        (b'{"token": {"a": 1}}', "holds no token"),
        (b'{"token": "abc", "expires_in": "soon"}', "no number"),
        (b'{"token": "abc", "expires_in": true}', "no number"),
        (b'{"token": "abc", "expires_in": "1e999"}', "no number"),
        (b'{"token": "abc", "expiry": "2027-01-15T08:01:00"}', "not a time with a zone"),
        (b'{"token": "abc", "expiry": "tomorrow"}', "not a time with a zone"),
        (b'{"token": "abc", "expires_at": []}', "no number"),
        (b'{"token": "abc", "expires_in": 1e30}', "end is no time"),
    ],
)
def test_what_is_no_credential(printed: bytes, said: str) -> None:
    with pytest.raises(Fault, match=said) as caught:
        read(printed, START)
    assert "abc" not in caught.value.message


def sh(script: str, timeout: float = 20.0) -> Command:
    return Command(TokenCommand(("sh", "-c", script)), timeout)


def test_no_shell_reads_the_arguments() -> None:
    program = "import sys; print(sys.argv[1])"
    assert Command(TokenCommand((sys.executable, "-c", program, "$HOME;`id`")), 20).get().token == "$HOME;`id`"


@pytest.mark.parametrize(
    ("giver", "said", "missing", "passing"),
    [
        (Command(TokenCommand(("/no/such/program",)), 20), "cannot be started: No such file or directory", True, False),
        (Command(TokenCommand(("/etc/passwd",)), 20), "cannot be started: Permission denied", True, False),
        (sh("echo secret-token; echo secret-reason >&2; exit 3"), "ended with status 3", False, True),
        (sh("kill -9 $$"), "was ended by signal 9", False, True),
        (sh("yes"), "printed more than 64 kB", False, False),
        (sh("sleep 60", 0.2), "did not end within 0.2 s", False, True),
        (sh("exec >&-; sleep 60", 0.2), "did not end within 0.2 s", False, True),
    ],
)
def test_a_program_that_gives_nothing(giver: Command, said: str, missing: bool, passing: bool, capfd: Any) -> None:
    with pytest.raises(Fault) as caught:
        giver.get()
    fault = caught.value
    assert (fault.message, fault.missing, fault.passing) == (said, missing, passing)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("ahead", "steps"), [(False, BEHIND), (True, FAR_BEHIND)])
def test_it_runs_behind_the_gateway(ahead: bool, steps: int) -> None:
    """In its session, among whose processes Linux shares a processor by their priority; but in a group of its own, to be ended with it."""
    look = "import os, sys; sys.stdin.read(); print(os.nice(0), os.getsid(0), os.getpgid(0) == os.getpid())"
    found = Program([sys.executable, "-c", look], 20).output(b"now", ahead=ahead)
    assert found.split() == [str(os.nice(0) + steps).encode(), str(os.getsid(0)).encode(), b"True"]


def test_what_it_leaves_running_is_ended_and_not_waited_for() -> None:
    _wait_until_gone(int(sh("sleep 60 & echo $!").get().token))


def test_what_it_has_started_in_another_session_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    giver = sh(f"setsid sh -c 'echo $$ >{file}.new; mv {file}.new {file}; exec sleep 60' & wait")

    def get() -> None:
        with pytest.raises(Fault):
            giver.get()

    thread = threading.Thread(target=get)
    thread.start()
    while not file.exists():
        threading.Event().wait(0.001)
    giver.close()
    thread.join(20)
    _wait_until_gone(int(file.read_text()))


def _wait_until_gone(pid: int) -> None:
    for _ in range(2000):
        if _gone(pid):
            return
        threading.Event().wait(0.005)
    pytest.fail("it still runs")


def _gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_closing_ends_the_program() -> None:
    giver = sh("sleep 60")
    faults: list[str] = []

    def get() -> None:
        try:
            giver.get()
        except Fault as fault:
            faults.append(fault.message)

    thread = threading.Thread(target=get)
    thread.start()
    while giver._program._process is None:
        threading.Event().wait(0.001)
    giver.close()
    thread.join(20)
    assert faults == ["was ended with the gateway"]
    get()
    assert len(faults) == 2
