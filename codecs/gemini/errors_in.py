"""Decode a gemini upstream's errors. Not implemented yet."""

from __future__ import annotations

from ..chat.errors_in import decode_error

__all__ = ["decode_error"]
