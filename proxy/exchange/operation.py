"""What can be asked of an upstream: one row for each operation, and all that tells one from another.

A handler takes the row of its path; the exchange reads from it which lane the answer takes, which candidates fit, where the model's
name stands and whether the caller's limits count the request. Nothing else in the gateway asks what a request is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ...codecs import errors
from ..routing.router import API_OF, PATH_OF, Candidate, Shape

LaneKind = Literal["shape", "raw", "count"]
Fits = Callable[[Candidate], bool]


def _unserved(model: str) -> errors.GatewayError:
    return errors.NoCandidate(f"The model `{model[:200]}` is not served here.", param="model")


@dataclass(frozen=True, slots=True)
class Operation:
    """One row.

    name: in the log and in traces. shape: the caller's, which decides its credential and the form of errors. path: of an upstream,
    behind its base URL; `{id}` in it is filled in by who asks. lane: "shape" (bytes or events, by what the upstream speaks), "raw"
    (bytes, whatever they are) or "count" (raw where the upstream counts itself, else estimated). model: whether a body without one
    means the default model, is refused, or whether there is no model at all because a stored record names the upstream. form: the
    body may be a multipart form. fits: which candidates can do it, None for all; unfit: the error when none can, made of the model's
    name. counts: which candidates count tokens themselves. counted: whether the limits of the caller's key apply. retried: whether the same
    upstream may be asked twice.
    """

    name: str
    shape: Shape
    path: str
    method: str = "POST"
    lane: LaneKind = "raw"
    model: Literal["default", "required", "none"] = "default"
    form: bool = False
    fits: Fits | None = None
    unfit: Callable[[str], errors.GatewayError] = _unserved
    counts: Fits | None = None
    counted: bool = True
    retried: bool = True


SHAPE_OPERATIONS: dict[Shape, Operation] = {shape: Operation(shape, shape, PATH_OF[api], lane="shape") for shape, api in API_OF.items()}

COUNT_TOKENS = Operation(
    "count_tokens",
    "messages",
    "/messages/count_tokens",
    lane="count",
    counts=lambda candidate: candidate.shape == "messages" and candidate.capabilities.m_count_tokens,
    counted=False,
)
INPUT_TOKENS = Operation(
    "input_tokens",
    "responses",
    "/responses/input_tokens",
    lane="count",
    counts=lambda candidate: candidate.shape == "responses" and candidate.capabilities.r_input_tokens,
    counted=False,
)

COMPACT = Operation(
    "compact",
    "responses",
    "/responses/compact",
    fits=lambda candidate: candidate.shape == "responses" and candidate.capabilities.r_stateful,
    unfit=lambda model: errors.ClientFault("Compaction is not supported by the selected model.", code="unsupported_endpoint"),
)

RESPONSE_READ = Operation("response.read", "responses", "/responses/{id}", "GET", model="none", counted=False)
RESPONSE_DELETE = Operation("response.delete", "responses", "/responses/{id}", "DELETE", model="none", counted=False, retried=False)
RESPONSE_CANCEL = Operation("response.cancel", "responses", "/responses/{id}/cancel", model="none", counted=False, retried=False)
RESPONSE_INPUT = Operation("response.input_items", "responses", "/responses/{id}/input_items", "GET", model="none", counted=False)


@lru_cache(64)
def carried(path: str) -> Operation:
    """The row of an OpenAI path that is carried as it is. path: without /v1, as `audio/speech`."""
    return Operation(
        path.replace("/", "."),
        "chat",
        f"/{path}",
        model="required",
        form=True,
        fits=lambda candidate: not candidate.built_in and candidate.shape != "messages",
        unfit=lambda model: errors.NoCandidate(f"The model `{model[:200]}` does not serve /{path}.", param="model"),
    )
