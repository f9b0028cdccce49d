"""A configuration of one entry: what becomes of it, and what is wrong with it."""

from __future__ import annotations

import pytest

from dragoman import conf
from dragoman.conf.model import Provider


def entry(text: str, **environ: str) -> Provider:
    (found,) = conf.loads(f"model_providers: [{{{text}}}]", environ=environ).model_providers
    return found


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(conf.ConfigError) as caught:
        entry(text, **environ)
    return [f"{problem.path.removeprefix('model_providers[0].')}: {problem.message}" for problem in caught.value.problems]
