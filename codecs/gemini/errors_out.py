"""The gemini shape's form of errors and of rate limits. Not implemented yet."""

from __future__ import annotations

from .. import errors, limits

GOOGLE = errors.OPENAI
LIMITS = limits.OPENAI
