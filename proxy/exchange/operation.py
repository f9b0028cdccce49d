"""What can be asked of an upstream: one row for each operation, and all that tells one from another.

A handler takes the row of its path; the exchange reads from it which lane the answer takes, which candidates fit, where the model's
name stands and whether the caller's limits count the request. Nothing else in the gateway asks what a request is for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from ...codecs import errors
from ...codecs.registry import SHAPES, STATEFUL, USUAL
from ..routing.candidate import Candidate

if TYPE_CHECKING:
    from .exchange import Exchange

LaneKind = Literal["shape", "raw", "count", "compact"]
Fits = Callable[[Candidate], bool]


def _unserved(model: str) -> errors.GatewayError:
    return errors.NoCandidate(f"The model `{model[:200]}` is not served here.", param="model")


@dataclass(frozen=True, slots=True)
class Operation:
    """One row.

    name: in the log and in traces. shape: the caller's, which decides its credential and the form of errors. path: of an upstream,
    behind its base URL; `{id}` in it is filled in by who asks. lane: "shape" (bytes or events, by what the upstream speaks), "raw"
    (bytes, whatever they are), "count" (raw where the upstream counts itself, else estimated) or "compact" (raw where the upstream
    compacts by itself, else an answer of the model in which it sums up). model: whether a body without one
    means the default model, is refused, or whether there is no model at all because a stored record names the upstream. form: the
    body may be a multipart form. fits: which candidates can do it, None for all; unfit: the error when none can, made of the model's
    name. counted: whether the limits of the caller's key apply. retried: whether the same upstream may be asked twice. metered: whether
    a usage in the answer is this request's. upstreams: finds the candidates instead of the model's name. claims: awaited with the whole
    of an answer that is JSON, before any of it is sent. requests: of something stored, the path of requests for answers in its body.
    """

    name: str
    shape: str
    path: str
    method: str = "POST"
    lane: LaneKind = "raw"
    model: Literal["default", "required", "none"] = "default"
    form: bool = False
    fits: Fits | None = None
    unfit: Callable[[str], errors.GatewayError] = _unserved
    counted: bool = True
    retried: bool = True
    metered: bool = True
    upstreams: Callable[[Exchange], Awaitable[tuple[Candidate, ...]]] | None = None
    claims: Callable[[Exchange, Candidate, bytes], Awaitable[None]] | None = None
    requests: str = ""


@lru_cache(64)
def asking(shape: str) -> Operation:
    """The row of an answer of the model in this API."""
    return Operation(shape, shape, SHAPES[shape].path, lane="shape")


@lru_cache(64)
def counting(shape: str) -> Operation:
    """The row of a token count in this API, which has one."""
    count = SHAPES[shape].count
    assert count is not None
    name = count.path.replace(":", "/").rpartition("/")[2]
    return Operation(name, shape, count.path, lane="count", counted=False)


COMPACT = Operation(
    "compact",
    STATEFUL.name,
    f"{STATEFUL.path}/compact",
    lane="compact",
    model="required",
)

_STORED = f"{STATEFUL.path}/{{id}}"
RESPONSE_READ = Operation("response.read", STATEFUL.name, _STORED, "GET", model="none", counted=False)
RESPONSE_DELETE = Operation("response.delete", STATEFUL.name, _STORED, "DELETE", model="none", counted=False, retried=False)
RESPONSE_CANCEL = Operation("response.cancel", STATEFUL.name, f"{_STORED}/cancel", model="none", counted=False, retried=False)
RESPONSE_INPUT = Operation("response.input_items", STATEFUL.name, f"{_STORED}/input_items", "GET", model="none", counted=False)


@lru_cache(64)
def carried_method(shape: str, method: str) -> Operation:
    """The row of another method of a model, of an API with the model in the path, that is carried as it is."""
    return Operation(
        method,
        shape,
        f"{SHAPES[shape].path}/{{model}}:{method}",
        model="required",
        fits=lambda candidate: candidate.shape == shape,
        unfit=lambda model: errors.NoCandidate(f"The model `{model[:200]}` does not serve `{method[:64]}`.", param="model"),
    )


@lru_cache(64)
def carried(path: str) -> Operation:
    """The row of an OpenAI path that is carried as it is. path: without /v1, as `audio/speech`."""

    def fits(candidate: Candidate) -> bool:
        served, carrier = candidate.speaks.operations, candidate.carrier
        known = not candidate.built_in and (carrier is None or carrier.beside != "")
        return known and served is not None and served.fullmatch(f"/{path}") is not None

    return Operation(
        path.replace("/", "."),
        USUAL.name,
        f"/{path}",
        model="required",
        form=True,
        fits=fits,
        unfit=lambda model: errors.NoCandidate(f"The model `{model[:200]}` does not serve /{path}.", param="model"),
    )
