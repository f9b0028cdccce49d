"""The languages: pure translation between the shapes that `registry` lists. No I/O, no Tornado, no clock."""

from __future__ import annotations

from . import registry as registry  # fills the tables that are keyed by a shape's name
