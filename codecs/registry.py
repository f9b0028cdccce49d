"""The only list of shapes, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import errors
from .chat.shape import SHAPE as CHAT
from .converse.shape import SHAPE as CONVERSE
from .gemini.shape import SHAPE as GEMINI
from .messages.shape import SHAPE as MESSAGES
from .responses.shape import SHAPE as RESPONSES
from .shape import Shape

SHAPES: dict[str, Shape] = {}
"""The shapes of callers by name. Upstreams have them, too."""

UPSTREAMS: dict[str, Shape] = {}
"""The shapes of upstreams by name: those of callers, and more."""

USUAL = CHAT
"""The shape assumed for unknown servers."""

STATEFUL = RESPONSES
"""The shape with stored responses and conversations."""


def add(shape: Shape) -> None:
    """Add a shape. Raises ValueError if its name or API is already registered."""
    if shape.name in UPSTREAMS or shape.api in apis():
        raise ValueError(f"there is a shape {shape.name!r} or an API {shape.api!r} already")
    UPSTREAMS[shape.name] = shape
    if shape.callers:
        SHAPES[shape.name] = shape
        errors.FORMS[shape.name] = shape.errors


@contextmanager
def register(shape: Shape) -> Iterator[Shape]:
    """Register a shape within a context, for tests. Configurations must be loaded inside it."""
    add(shape)
    try:
        yield shape
    finally:
        del UPSTREAMS[shape.name], SHAPES[shape.name], errors.FORMS[shape.name]


def apis() -> tuple[str, ...]:
    """The names of all APIs in the configuration."""
    return tuple(shape.api for shape in UPSTREAMS.values())


def of_api(api: str) -> Shape:
    """The shape of an API. Raises KeyError for an unknown one."""
    for shape in UPSTREAMS.values():
        if shape.api == api:
            return shape
    raise KeyError(api)


def in_order(
    own: Shape, served: tuple[str, ...], last: Callable[[Shape], bool] = lambda shape: False, preferred: tuple[str, ...] = ()
) -> list[Shape]:
    """Return the shapes of an upstream that serves these APIs, for callers of `own`: that one first, the others by rank.

    last: whether a shape comes after all others, because the model does not accept everything there. preferred: APIs before the others.
    """
    order = {api: place - len(preferred) for place, api in enumerate(preferred)}
    return sorted(map(of_api, served), key=lambda shape: (shape is not own, last(shape), order.get(shape.api, 0), shape.rank))


for _shape in (CHAT, MESSAGES, RESPONSES, GEMINI, CONVERSE):
    add(_shape)
