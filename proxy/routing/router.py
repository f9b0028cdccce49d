"""Routing: from the model of a request to the upstreams that can serve it, in the order to try.

Plans are computed when the configuration is loaded, so that a request costs one dictionary look-up. Names that match a wildcard are
resolved on first use and cached, up to a bound. Candidate.reason, Router.explain and check.py show each decision and its reason.
This module does not send or retry anything: that is the exchange's task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from urllib.parse import urlsplit

from ...codecs.capabilities import Capabilities
from ...codecs.errors import Missing, NoCandidate
from ...codecs.registry import SHAPES, STATEFUL, of_api
from ...conf import clouds, facts, providers
from ...conf.catalog import Catalog, Entry, Match
from ...conf.model import Aws, Config, Facts, Price, Provider, RetryPolicy
from ..credentials.source import Source
from ..wire.egress import Contexts
from .apis import carrier_of, endpoint, spoken
from .candidate import Candidate, described

LONGEST_NAME = 256  # characters
_STEPS = frozenset({".", ".."})  # parts of a path that a server takes away, with what is before them
REFUSED = "content_policy"  # the kind of error by which a provider's policy refuses
TOO_LONG = "context_too_long"
REMEMBERED = 1024  # cached plans for names that are not declared
NO_FACTS = Facts()
Lists = Callable[[bytes], Mapping[str, Mapping[str, object]]]
"""(seed of a wildcard's entry) → the models that its upstream lists, and what it says of each."""
NO_NOTES: Mapping[tuple[str, str], str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Route:
    """The candidates of one request, in the order of their places; never empty.

    ranks: the number of each candidate's place, by its seed; empty when every place has one candidate, so that nothing is to choose.
    """

    candidates: tuple[Candidate, ...]
    ranks: Mapping[bytes, int]
    instead: Mapping[tuple[bytes, str], tuple[Candidate, ...]]
    """Who stands in for a candidate, by its seed and the kind of error; mostly empty."""
    spare: tuple[Candidate, ...]
    """The candidates of `instead` that are not among `candidates`."""
    windows: Mapping[bytes, int]
    """Tokens of input that a candidate takes, by its seed: of those for which others stand in if it is too long, as far as it is known."""
    window: int
    """The least of these; 0 without any."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """An entry in the list of models: what every vendor's form of it is written from. price: None if it is unknown."""

    id: str
    owned_by: str
    facts: Facts = NO_FACTS
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Places in the order to try. Which candidate of a place comes first is decided for each request: see balance.py."""

    places: tuple[tuple[Candidate, ...], ...]
    route: Route

    @classmethod
    def of(cls, places: tuple[tuple[Candidate, ...], ...], instead: Mapping[tuple[bytes, str], tuple[Candidate, ...]]) -> _Plan:
        shared = any(len(place) > 1 for place in places)
        ranks = {candidate.seed: rank for rank, place in enumerate(places) for candidate in place} if shared else {}
        candidates = tuple(candidate for place in places for candidate in place)
        own = {candidate.seed for candidate in candidates}
        spare = {candidate.seed: candidate for others in instead.values() for candidate in others if candidate.seed not in own}
        known = {one.seed: _window(one) for one in (*candidates, *spare.values()) if (one.seed, TOO_LONG) in instead}
        windows = MappingProxyType({seed: tokens for seed, tokens in known.items() if tokens})
        least = min(windows.values(), default=0)
        return cls(places, Route(candidates, MappingProxyType(ranks), instead, tuple(spare.values()), windows, least))


class Router:
    """The routes of one configuration. contexts: see wire/egress.py. source: of an entry's credential."""

    def __init__(
        self,
        config: Config,
        contexts: Contexts = MappingProxyType({}),
        source: Callable[[Provider], Source | None] = lambda _: None,
    ) -> None:
        self.config = config
        self._contexts = contexts
        self._source = source
        self._entries = config.model_providers
        self._catalog = Catalog((Entry(p.name, p.model) for p in self._entries), config.model_aliases)
        self.default = next((p.model for p in self._entries if p.default), None)
        self._capabilities: dict[tuple[int, str], Capabilities] = {}
        self._marks = list(_marks(self._entries))
        self._declared = {f"{p.provider}/{p.called(p.model_id)}" for p in self._entries if not p.wildcard}
        self._declared |= {name for p in self._entries if p.wildcard for name in _names(p)}
        self._together: set[int] = set()
        self._accounts: tuple[Candidate, ...] | None = None  # once they are asked for
        self._plans: dict[tuple[str, str | None], _Plan] = {}
        self._met: dict[tuple[str, str | None], _Plan] = {}
        names = {model.id for model in self.models()} | {p.model_id for p in self._entries if not p.wildcard}
        for shape in SHAPES:
            for name in [None, *names] if self.default else names:
                self._plans[shape, name] = self._plan(shape, name)

    def candidates(self, shape: str, model: str | None) -> Route:
        """The route for a request of this shape and model.

        Raises NoCandidate when nothing serves the model, Missing when `model` is None and the configuration has no default.
        """
        key = (shape, model)
        plan = self._plans.get(key) or self._met.get(key) or self._meet(shape, model)
        return plan.route

    def declares(self, name: str) -> bool:
        """Whether a candidate's name comes from the configuration, so that it can be a metric's label; others are unbounded."""
        return name in self._declared

    def mark(self, provider: Provider) -> str:
        """A unique identifier of an entry, the same in every process with this configuration."""
        same = [entry for entry in self._entries if entry.name == provider.name]
        number = next((n for n, entry in enumerate(same) if any(one is provider for one in _itself(entry))), 0)
        return f"{provider.name}#{number}"

    def replaceable(self, candidate: Candidate) -> bool:
        """Whether there are others for some request that this entry serves, so that passing it over has an effect."""
        return id(candidate.provider) in self._together

    def keeper(self, mark: str | None = None) -> Candidate | None:
        """The upstream with native stored responses and this mark, or the first such upstream; None if there is none."""
        for index, provider in enumerate(self._entries):
            if mark is None or self.mark(provider) == mark:
                candidate = self._candidate(STATEFUL.name, None, index, provider.model_id, "it stores its own responses")
                if candidate.speaks.stateful and candidate.capabilities.r_stateful:
                    return candidate
        return None

    def accounts(self) -> tuple[Candidate, ...]:
        """One candidate of each upstream account, for what is asked of no model; entries that differ in their models alone are one."""
        if self._accounts is None:
            self._accounts = tuple(self._find_accounts())
        return self._accounts

    def _find_accounts(self) -> Iterator[Candidate]:
        seen: set[tuple[object, ...]] = set()
        by_default = sorted(enumerate(self._entries), key=lambda entry: not entry[1].default)  # the sort is stable
        for index, entry in by_default:
            known = providers.known()[entry.interface]
            account = (entry.provider, entry.base_url, entry.access_key, entry.way, entry.passthrough_auth, entry.headers, entry.proxy)
            models_alone = not known.stores and (isinstance(entry.way, Aws) or (known.cloud == "aws" and bool(entry.carriers)))
            if account in seen or entry.interface == "demo" or models_alone:
                continue
            seen.add(account)
            own = of_api(known.apis[0] if known.apis[0] in entry.apis else entry.apis[0])
            candidate = self._candidate(own.name, None, index, "*", "the account is asked, not a model")
            yield replace(candidate, stores=known.stores if entry.provider in providers.known() else (), price=None, others=())

    def models(self) -> list[ServedModel]:
        """The models that can be listed: declared models, entry names, aliases; of a wildcard only a provider's fixed list."""
        owners: dict[str, str] = {}
        for entry in self._entries:
            for name in _names(entry):
                owners.setdefault(name, entry.provider)
        for alias in self.config.model_aliases:
            match = self._catalog.find(alias)
            if match:
                owners.setdefault(alias, self._entries[match.entries[0]].provider)
        return [ServedModel(name, owner) for name, owner in owners.items()]

    def listers(self) -> list[Candidate]:
        """The wildcards whose upstreams are asked for their lists of models, and how to call each."""
        asked = [(index, entry) for index, entry in enumerate(self._entries) if entry.discover and not entry.passthrough_auth]
        return [self._candidate(of_api(entry.apis[0]).name, None, index, entry.model_id, "it lists its models") for index, entry in asked]

    def served(self, listed: Lists) -> list[ServedModel]:
        """As `models`, with what is known of each, and with the models that wildcards' upstreams list."""
        lists = {index: listed(self._seed(index, "*")) for index, entry in enumerate(self._entries) if entry.discover}
        places: dict[str, tuple[int, str]] = {}
        for index, entry in enumerate(self._entries):
            for name in _names(entry):
                places.setdefault(name, (index, name.partition("/")[2] if entry.wildcard else entry.model_id))
            for model_id in lists.get(index, ()):
                places.setdefault(f"{entry.provider}/{model_id}", (index, model_id))
        for alias in self.config.model_aliases:
            match = self._catalog.find(alias)
            if match:
                places.setdefault(alias, (match.entries[0], match.model_ids[0]))
        return [self._served(name, *place, lists.get(place[0], {})) for name, place in places.items()]

    def known_as(self, name: str, models: Mapping[str, ServedModel]) -> ServedModel | None:
        """The listed model that a request for this name would be for, under this name. models: of `served`, by id."""
        model = models.get(name)
        if model is None and (match := self._catalog.find(name)) is not None:
            model = models.get(f"{self._entries[match.entries[0]].provider}/{match.model_ids[0]}")
        return model and replace(model, id=name)

    def _served(self, name: str, index: int, model_id: str, listed: Mapping[str, Mapping[str, object]]) -> ServedModel:
        entry = self._entries[index]
        price = providers.price_of(self.config.prices, entry.provider, model_id)
        return ServedModel(name, entry.provider, facts.of(entry, model_id, listed.get(model_id, {})), price)

    def explain(self, shape: str, model: str | None, notes: Mapping[tuple[str, str], str] = NO_NOTES) -> list[str]:
        """One line per candidate: its name, API, URL, reason, and whether its key is set. Errors are returned as a line.

        notes: text to append to a candidate's line, by its entry's `mark` and the upstream's model.
        """
        try:
            plan = self._plan(shape, model)
        except (NoCandidate, Missing) as error:
            return [" ".join(filter(None, (error.message, error.detail)))]
        lines, after = [], self.config.routing.hedge_after
        hedge = f"another one is asked as well when a stream has no content for {after:g} s" if after else ""
        for number, place in enumerate(plan.places, 1):
            for candidate in place:
                shared = f"; shares this place {self._choice}" if len(place) > 1 else ""
                note = notes.get((self.mark(candidate.provider), candidate.model))
                hedged = f"; {hedge}" if hedge and len(plan.route.candidates) > 1 else ""
                window = plan.route.windows.get(candidate.seed)
                most = f"; what surely has more than {window} tokens is not sent to it" if window else ""
                lines.append(
                    f"{number}. {described(candidate, shared=len(place) > 1)}{shared}{most}{hedged}" + (f"; {note}" if note else "")
                )
        for number, candidate in enumerate(plan.route.spare, len(plan.places) + 1):
            note = notes.get((self.mark(candidate.provider), candidate.model))
            lines.append(f"{number}. {described(candidate)}" + (f"; {note}" if note else ""))
        return lines

    # ---- plans ----

    def _meet(self, shape: str, model: str | None) -> _Plan:
        if model is not None and (len(model) > LONGEST_NAME or not model.isascii() or not model.isprintable()):
            raise _nobody(model)  # a wildcard would pass it on to headers, logs and the cache of plans
        if model is not None and (model.rpartition("/")[2].startswith(";") or not _STEPS.isdisjoint(model.split("/"))):
            raise _nobody(model)  # in the path of a URL it would be another model's, or no model's at all
        plan = self._plan(shape, model)
        if len(self._met) >= REMEMBERED:
            del self._met[next(iter(self._met))]
        self._met[shape, model] = plan
        return plan

    def _plan(self, shape: str, model: str | None) -> _Plan:
        match = self._match(model)
        places = self._places(shape, model, match)
        for candidate in [candidate for place in places for candidate in place]:
            policy = candidate.provider.retry_policy
            for fallback in policy.fallback_models if policy else ():
                fallback_match = self._catalog.find(fallback)
                if fallback_match:
                    why = f"fallback of {candidate.provider.name}, {fallback_match.why}"
                    places += self._places(shape, model, fallback_match._replace(why=why))
        once = _once_each(places)
        plan = _Plan.of(once, self._instead(shape, model, once))
        if len(plan.route.candidates) > 1:
            self._together.update(id(candidate.provider) for candidate in plan.route.candidates)
        return plan

    def _instead(
        self, shape: str, model: str | None, places: tuple[tuple[Candidate, ...], ...]
    ) -> dict[tuple[bytes, str], tuple[Candidate, ...]]:
        """Who stands in for which candidate, by the cause. One that does is followed by the others of its list."""
        instead: dict[tuple[bytes, str], tuple[Candidate, ...]] = {}
        for candidate in [candidate for place in places for candidate in place]:
            policy = candidate.provider.retry_policy
            for kind, names, words in _causes(policy) if policy else ():
                why = f"for what is {words} {candidate.provider.name}"
                matches = [match._replace(why=f"{why}, {match.why}") for match in map(self._catalog.find, names) if match]
                candidates = [one for match in matches for place in self._places(shape, model, match) for one in place]
                others = list({one.seed: one for one in candidates if one.seed != candidate.seed}.values())
                instead[candidate.seed, kind] = tuple(others)
                for number, other in enumerate(others, 1):
                    instead.setdefault((other.seed, kind), tuple(others[number:]))
        return {key: others for key, others in instead.items() if others}

    def _match(self, model: str | None) -> Match:
        asked = self.default if model is None else model
        if asked is None:
            raise Missing("Missing required parameter: 'model'.", "no entry is the default", param="model")
        match = self._catalog.find(asked)
        if match is None:
            raise _nobody(asked)
        return match._replace(why="the default") if model is None else match

    def _places(self, shape: str, model: str | None, match: Match) -> list[tuple[Candidate, ...]]:
        """One place per candidate, in the order of the file; one place for all of them if any has a weight, or by `routing.balance`."""
        candidates = tuple(
            self._candidate(shape, model, index, model_id, match.why)
            for index, model_id in zip(match.entries, match.model_ids, strict=True)
        )
        balance = self.config.routing.balance
        if balance != "order" and (balance or any(candidate.provider.weight for candidate in candidates)):
            return [candidates]
        return [(candidate,) for candidate in candidates]

    def _candidate(self, shape: str, asked: str | None, index: int, model_id: str, why: str) -> Candidate:
        provider = self._entry(index, model_id)
        capabilities = self.capabilities_of(index, model_id)
        (upstream, because), *others = spoken(SHAPES[shape], provider, capabilities)
        # a provider's prefix does not rename the model: the caller then sees the upstream's `model` unchanged
        renamed = asked is not None and asked not in (model_id, f"{provider.provider}/{model_id}")
        first = Candidate(
            provider=provider,
            model=provider.called(model_id),
            shape=upstream.name,
            url=endpoint(upstream, provider, model_id, capabilities),
            capabilities=capabilities,
            reason=f"{why}; {because}",
            echo=asked if renamed and capabilities.echo_model == "alias" else None,
            price=providers.price_of(self.config.prices, provider.provider, clouds.known_model(provider, model_id)),
            context=self._contexts.get(provider.certificates),
            source=self._source(provider),
            seed=self._seed(index, model_id),
            carrier=carrier_of(upstream, provider),
        )
        plain = [first] + [
            replace(
                first,
                shape=other.name,
                url=endpoint(other, provider, model_id, capabilities),
                reason=f"{why}; {reason}",
                carrier=carrier_of(other, provider),
            )
            for other, reason in others
        ]
        also = [replace(one, others=tuple(other for other in plain if other is not one)) for one in plain[1:]]
        return replace(first, others=tuple(also))

    def _entry(self, index: int, model_id: str) -> Provider:
        """An entry as it is for a model."""
        entry = self._entries[index]
        return next((other for family, other in entry.families if providers.is_of(model_id, family)), entry)

    def _seed(self, index: int, model_id: str) -> bytes:
        return hashlib.blake2b(f"{self._marks[index]}\0{model_id}".encode(), digest_size=16).digest()

    def capabilities_of(self, index: int, model_id: str) -> Capabilities:
        """The capabilities of a model of an entry. index: of the entry in the file."""
        provider = self._entry(index, model_id)
        known = self._capabilities.get((index, model_id))
        if known is None:
            flags: dict[str, object] = {"owns_key": not provider.passthrough_auth, "reasoning_domain": _reasoning_domain(provider)}
            # a configured Host header names the real server behind the base URL
            path = urlsplit(provider.base_url).path
            place = f"https://{provider.http_host}{path}" if provider.http_host else provider.base_url
            flags |= providers.capabilities(provider.interface, place, clouds.known_model(provider, model_id), provider.capabilities)
            known = Capabilities.from_flags(flags)
            if not provider.wildcard:
                self._capabilities[index, model_id] = known
        return known

    @property
    def _choice(self) -> str:
        """What chooses among the candidates of one place."""
        routing = self.config.routing
        by = {"latency": "time to first content", "least_busy": "requests in progress"}.get(routing.balance or "", "weight")
        return f"by conversation, else by {by}" if routing.affinity == "auto" else f"by {by}"


def _nobody(asked: str) -> NoCandidate:
    message = f"The model `{asked[:LONGEST_NAME]}` does not exist or you do not have access to it."
    return NoCandidate(message, "no declared model, alias or wildcard matches this name")


def _window(candidate: Candidate) -> int:
    """Tokens of input that a candidate's model takes; 0 if that is not known."""
    known = facts.of(candidate.provider, clouds.known_model(candidate.provider, candidate.model), {})
    return known.max_input_tokens or known.context_window or 0


def _causes(policy: RetryPolicy) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """The kinds of errors for which a policy names other models, the models, and the cause in words."""
    return (
        (TOO_LONG, policy.on_context_window, "too long for"),
        (REFUSED, policy.on_refusal, "refused by the policy of"),
    )


def _marks(entries: tuple[Provider, ...]) -> Iterator[str]:
    """A name of each entry that other entries, and the order of the file, do not change: two accounts of one upstream are numbered."""
    seen: dict[tuple[str, str, str], int] = {}
    for entry in entries:
        key = (entry.name, entry.model, entry.base_url)
        seen[key] = number = seen.get(key, 0) + 1
        yield "\0".join((*key, str(number)))


def _itself(entry: Provider) -> tuple[Provider, ...]:
    """An entry, and what it is for families of models."""
    return (entry, *(other for _, other in entry.families))


def _names(entry: Provider) -> Iterator[str]:
    if not entry.wildcard:
        yield entry.name
        yield entry.model
    else:
        yield from (f"{entry.provider}/{model}" for model in providers.known()[entry.interface].only)


def _once_each(places: list[tuple[Candidate, ...]]) -> tuple[tuple[Candidate, ...], ...]:
    """The places without candidates of earlier places."""
    seen: set[tuple[int, str]] = set()
    distinct = []
    for place in places:
        fresh = tuple(c for c in place if (id(c.provider), c.model) not in seen)
        seen.update((id(c.provider), c.model) for c in fresh)
        if fresh:
            distinct.append(fresh)
    return tuple(distinct)


def _reasoning_domain(provider: Provider) -> str:
    """The domain in which opaque reasoning can be sent back: the provider, or one address if the operator configures the base URL.

    The address is hashed, because callers see the domain.
    """
    if not provider.own_base_url:
        return provider.provider
    host = urlsplit(provider.base_url).netloc.encode()
    return f"{provider.provider}.{hashlib.blake2s(host, digest_size=4).hexdigest()}"
