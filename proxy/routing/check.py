"""The routes of a configuration as text, for `dragoman check`."""

from __future__ import annotations

from collections.abc import Iterator

from ...codecs.registry import SHAPES, USUAL
from ...codecs.shape import Shape
from ...conf import providers
from ...conf.model import Config, Provider
from .apis import HAS_TOOLS, endpoint, spoken
from .candidate import address, key_state
from .router import Router


def check_lines(config: Config) -> list[str]:
    """The resolved routes as text: model, provider, upstream API, URL, whether the key is set, and the callers' shapes.

    Aliases follow, then each name with several candidates, in the order to try and with their reasons.
    """
    router = Router(config)
    rows = []
    for index, entry, name, model in ((index, *row) for index, one in enumerate(config.model_providers) for row in _checked(one)):
        callers: dict[Shape, list[str]] = {}
        capabilities = router.capabilities_of(index, model)
        for own in SHAPES.values():
            (upstream, _), *others = spoken(own, entry, capabilities)
            callers.setdefault(upstream, []).append(own.name if upstream is own else f"{own.name} (translated)")
            if others and upstream.refuses(HAS_TOOLS, capabilities, False):  # not known for a wildcard; see `explain`
                callers.setdefault(others[0][0], []).append(f"{own.name} with tools beside reasoning (translated)")
        state = key_state(entry)
        for shape, names in callers.items():
            place = address(entry, endpoint(shape, entry, entry.model_id, capabilities))
            listed = ", ".join(names) if capabilities.v_answers else "none, as it answers no conversation"
            rows.append((name, entry.provider, shape.api, place, state, f"callers: {listed}"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5])) for row in rows]
    for alias, target in config.model_aliases.items():
        first = router.candidates(USUAL.name, alias).candidates[0]
        lines.append(f"{alias} is {target} ({first.name})")
    for name in dict.fromkeys(model.id for model in router.models()):
        route = router.candidates(USUAL.name, name)
        if len(route.candidates) > 1 or route.spare:
            lines += [f"{name} goes to", *(f"  {line}" for line in router.explain(USUAL.name, name))]
    return lines


def _checked(entry: Provider) -> Iterator[tuple[Provider, str, str]]:
    """What `check` tells of an entry, each under its name, and a model's id by which it is known."""
    yield entry, entry.name, entry.model_id
    for family, other in entry.families:
        yield other, f"{entry.name} ({', '.join(family)})", providers.example(family)
