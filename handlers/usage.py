"""GET /api/oauth/usage: what a key has spent of its budget, in the form in which coding agents ask for it.

Claude Code calls it when it is signed in to a gateway, and adds the dollars to what the headers of answers tell. Source: "Usage-limit
headers" of the protocol that `claude gateway` 2.1.332 serves at /protocol.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import Any

from ..codecs.limits import Cap
from ..proxy.keys.quota import NANO
from ..proxy.wire import headers as travel
from .base import Handler

_CENT = NANO // 100
_GROUPS = {"hour": "hourly", "day": "daily", "week": "weekly", "month": "monthly"}
_SEVERITIES = ((0.95, "critical"), (0.75, "warning"))


class Usage(Handler):
    """A caller without a budget has no limits to report; what it spends is not counted here."""

    shape = "messages"

    async def get(self) -> None:
        services = self.services
        identity = services.access.admit(travel.key(self.request.headers, self.shape))
        budgets = await services.quota.budgets(identity)
        self.set_header("Cache-Control", "no-store")
        if not budgets:
            self.write({"limits": []})
            return
        budget, spent, fullest = max(budgets, key=lambda one: one[2].used)
        extra = {
            "is_enabled": True,
            "monthly_limit": round(budget.usd * 100),
            "used_credits": spent // _CENT,
            "utilization": _percent(fullest),
            "currency": "USD",
        }
        self.write({"extra_usage": extra, "limits": [_row(cap, active=cap is fullest) for _, _, cap in budgets]})


def _percent(cap: Cap) -> int:
    return round(100 * (cap.used if cap.reached else cap.shown))


def _row(cap: Cap, *, active: bool) -> dict[str, Any]:
    return {
        "kind": "spend",
        "group": _GROUPS[cap.per],
        "percent": _percent(cap),
        "resets_at": datetime.fromtimestamp(ceil(cap.resets_at), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "severity": next((name for least, name in _SEVERITIES if cap.used > least), "normal"),
        "is_active": active,
    }
