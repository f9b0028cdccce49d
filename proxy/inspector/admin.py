"""The data of an admin listener, in whichever process it runs: metrics, `explain`, `capabilities`, and the inspector's ring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any

from ...codecs import errors, lessons
from ...codecs.lessons import Lesson
from ...codecs.opening import digest
from ...codecs.registry import SHAPES, of_api
from ...codecs.shape import Shape
from ...conf.model import Config
from ..keys.gate import Gate
from ..routing import survey
from ..routing.balance import Balance
from ..routing.candidate import Candidate
from ..routing.router import Router, ServedModel
from .links import Note
from .ring import Ring


class Admin:
    """metrics: returns Prometheus' text. ring: the inspector's exchanges. notes: the workers' notes on upstreams."""

    _config: Config
    gate: Gate
    _router: Router
    gateway: dict[str, Any]  # where requests can be sent, and whether there are pages for a team

    def __init__(self, config: Config, ring: Ring, metrics: Callable[[], bytes], notes: Callable[[], dict[int, list[Note]]]) -> None:
        self.ring = ring
        self.metrics = metrics
        self._notes_of_workers = notes
        self.adopting(config)()

    def adopting(self, config: Config) -> Callable[[], None]:
        """What puts a configuration in force, and cannot fail."""
        gate, router = Gate(config), Router(config)
        model = next(one for one in config.listeners if one.type == "model")
        gateway = {"scheme": "https" if model.tls else "http", "port": model.port, "team": config.control is not None}

        def put() -> None:
            self._config, self.gate, self._router, self.gateway = config, gate, router, gateway

        return put

    def explain(self, model: str | None, shape: str | None) -> dict[str, list[str]]:
        """The candidates in order, each with its reason, by shape of the caller. Raises KeyError for an unknown shape."""
        shapes = [own for own in SHAPES if shape in (None, own)]
        if not shapes:
            raise KeyError(shape)
        notes = _notes(self._notes_of_workers())
        return {own: self._router.explain(own, model, notes) for own in shapes}

    def routing(self) -> dict[str, Any]:
        """How one of several candidates is chosen: the section `routing`."""
        return asdict(self._config.routing)

    def places(self, model: str | None, shape: str | None, session: str) -> dict[str, list[str]]:
        """The candidates in the order in which a conversation tries them that `x-dragoman-session` names, none ejected or moved."""
        by_shape = {}
        for own in [own for own in SHAPES if shape in (None, own)]:
            try:
                route = self._router.candidates(own, model)
            except errors.GatewayError:
                continue
            ordered = route.candidates
            if route.ranks:  # else each has a place of its own
                ordered, _ = Balance(monotonic).arranged(route.ranks, ordered, digest("session", session), "weight")
            by_shape[own] = [candidate.called for candidate in ordered]
        return by_shape if self._config.routing.affinity == "auto" else {}

    def capabilities(self, model: str | None) -> dict[str, list[dict[str, Any]]]:
        """What becomes of each field of a request, by shape of the caller and candidate. Takes tens of milliseconds for each.

        Raises NoCandidate, Missing.
        """
        learned = self._learned()
        by_shape: dict[str, list[dict[str, Any]]] = {}
        for name, own in SHAPES.items():
            candidates = self._router.candidates(name, model).candidates
            by_shape[name] = [_surveyed(own, one, learned.get((self._router.mark(one.provider), one.model), [])) for one in candidates]
        return by_shape

    def _learned(self) -> dict[tuple[str, str], list[Note]]:
        """What any of the workers learned of an upstream's model, each once: the note that ends last."""
        now, latest = time(), dict[tuple[str, str, str], Note]()
        for note in sorted((note for notes in self._notes_of_workers().values() for note in notes), key=lambda note: note.until):
            if note.lesson is not None and note.until > now:
                latest[note.mark, note.model, note.text] = note
        by_model: dict[tuple[str, str], list[Note]] = {}
        for note in latest.values():
            by_model.setdefault((note.mark, note.model), []).append(note)
        return by_model

    def served(self) -> list[ServedModel]:
        """The models that `explain` accepts, with what is known of each."""
        return self._router.served(lambda _: {})

    def upstreams(self) -> list[dict[str, Any]]:
        """The providers in the order of the configuration, with their entries' names and the notes on them."""
        entries = {self._router.mark(entry): entry for entry in self._config.model_providers}
        by_provider: dict[str, dict[str, Any]] = {}
        for entry in entries.values():
            upstream = by_provider.setdefault(entry.provider, {"provider": entry.provider, "entries": [], "notes": []})
            upstream["entries"].append(entry.name)
        now = time()
        for worker, notes in sorted(self._notes_of_workers().items()):
            for mark, model, text, until, _ in notes:
                if until > now and mark in entries:
                    note = {"entry": entries[mark].name, "model": model, "text": text, "until": until, "worker": worker}
                    by_provider[entries[mark].provider]["notes"].append(note)
        return list(by_provider.values())


def _surveyed(own: Shape, candidate: Candidate, notes: list[Note]) -> dict[str, Any]:
    """notes: with what was learned of the candidate."""
    learned: dict[str, tuple[Lesson, ...]] = {}
    for note in notes:
        assert note.lesson is not None
        api = note.lesson["api"]
        lesson = lessons.recalled(of_api(api).lessons, note.lesson)
        if lesson is not None:
            learned[api] = (*learned.get(api, ()), lesson)
    return {
        "upstream": candidate.called,
        "api": candidate.speaks.api,
        "lane": "bytes" if candidate.speaks is own else "events",
        "why": candidate.reason,
        "learned": [f"{note.text} until {_moment(note.until)}" for note in notes],
        "fields": [field._asdict() for field in survey.fields(own, candidate, learned)],
    }


def _moment(until: float) -> str:
    return f"{datetime.fromtimestamp(until, UTC):%H:%M:%S} UTC"


def _notes(by_worker: dict[int, list[Note]]) -> dict[tuple[str, str], str]:
    """The notes on each candidate for Router.explain, with their end, and the worker if there are several."""
    now, by_candidate = time(), dict[tuple[str, str], dict[str, list[str]]]()
    for worker, notes in sorted(by_worker.items()):
        for mark, model, text, until, _ in notes:
            if until > now:
                moment = _moment(until)
                moments = by_candidate.setdefault((mark, model), {}).setdefault(text, [])
                moments.append(f"{moment} by worker {worker}" if worker else moment)
    return {
        place: "; ".join(f"{text} until {', '.join(moments)}" for text, moments in texts.items()) for place, texts in by_candidate.items()
    }
