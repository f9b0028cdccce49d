"""The stage of the acceptance tests: one gateway for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..conftest import Start
from ..scripted import Provider, Request, Steps, respond
from .gemini_stage import CONFIG, Google
from .stage import ALICE, Stage, configuration


@pytest.fixture(scope="session")
def _stage(start_session: Start) -> Iterator[Stage]:
    stages: list[Stage] = []

    def script(request: Request) -> Steps:
        return stages[0].answer(request)

    with Provider(script) as provider:
        gateway = start_session(configuration(provider.url))
        stages.append(Stage(gateway.url, provider))
        with stages[0] as stage:
            yield stage
        log = gateway.log().lower()
        assert "traceback" not in log
        assert "sk-upstream" not in log


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    yield _stage
    failures = _stage.provider.failures
    assert not failures, failures.pop()


@pytest.fixture(scope="session")
def _google(start_session: Start) -> Iterator[Google]:
    stages: list[Google] = []

    def script(request: Request) -> Steps:
        return stages[0].answer(request) if stages else [respond({}, 404)]  # at its start the gateway asks for lists of models

    with Provider(script) as provider:
        gateway = start_session(CONFIG.replace("UPSTREAM", provider.url))
        stages.append(Google(gateway.url, provider))
        with stages[0] as stage:
            yield stage
        log = gateway.log().lower()
        assert "traceback" not in log
        assert "sk-upstream" not in log
        assert ALICE not in log


@pytest.fixture
def google(_google: Google) -> Iterator[Google]:
    yield _google
    failures = _google.provider.failures
    assert not failures, failures.pop()
