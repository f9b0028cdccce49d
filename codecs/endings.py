"""Endings of answers that no shape defines. A possible failure is never reported as success."""

from __future__ import annotations

from . import errors, quirks

UNKNOWN = "length"
"""The neutral reason of an unknown end: the answer may be incomplete."""


def failed(word: str) -> errors.GatewayError:
    """The error for an upstream that reports a failure as its finish reason. word: the reason."""
    return errors.Broken("The upstream reported that it failed to answer.", word[:100])


def empty_answer(hosted: str = "") -> errors.GatewayError:
    """The answer ended, and holds nothing that another API has a word for. hosted: what it holds instead, "" when it is nothing at all."""
    return errors.Broken("The upstream's answer holds nothing that can be told in this API" + (f": {hosted[:100]}." if hosted else "."))


def reason_of(finish: str | None, called: bool, sequence: str | None = None) -> str:
    """A chat answer's neutral reason; quirks.FAILED for a failure, "" if unknown. sequence: vLLM's `stop_reason`."""
    reason = "end" if finish is None else quirks.ending(finish)
    if reason in ("end", "tool"):
        return "tool" if called else "stop_sequence" if sequence else "end"
    return reason
