"""The Grafana dashboard asks for nothing that there is not, and shows every metric that there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dragoman.proxy.telemetry.metrics import Metrics

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"


def _asked() -> set[str]:
    board = json.loads(DASHBOARD.read_text())
    texts = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return {re.sub("_bucket$", "", name) for text in texts for name in re.findall(r"\b(?:dragoman|process)_[a-z_]+", text)}


def test_every_metric_is_shown() -> None:
    known = set()
    for family in Metrics().registry.collect():
        known.add(family.name + ("_total" if family.type == "counter" else ""))
    assert {name for name in known if name.startswith("dragoman")} == {name for name in _asked() if name.startswith("dragoman")}
    assert _asked() <= known


def test_panels_stand_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
