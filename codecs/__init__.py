"""Pure translation between the API shapes listed in `registry`. No I/O, no Tornado, no clock."""

from __future__ import annotations

from . import registry as registry  # fills the tables keyed by shape name
