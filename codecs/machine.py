"""The order of hub events, as a table. Decoders comply with it, encoders rely on it, tests use it as their oracle.

It is not used for live traffic, because checking an event costs as much as handling it.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import events as ev

# event -> the kind that its part must have and be open as
_WITHIN: dict[type, str | tuple[str, ...]] = {
    ev.Text: "text",
    ev.Citation: "text",
    ev.Reasoning: "reasoning",
    ev.Seal: ("reasoning", "text"),
    ev.Arguments: "tool",
}
_OPENS: dict[type, str] = {ev.TextStart: "text", ev.ReasoningStart: "reasoning", ev.ToolStart: "tool"}
_ANYWHERE = (ev.Refusal, ev.Search, ev.Media, ev.Compacting, ev.Compaction, ev.Opaque, ev.Ping)


class Disorder(ValueError):
    """An event violates the order."""


class Machine:
    """Checks the events of one answer one by one; raises Disorder. ended: whether Stop or Fault was fed."""

    def __init__(self) -> None:
        self.started = False
        self.ended = False
        self._metered = False
        self._open: dict[int, str] = {}
        self._next = 0

    def feed(self, event: ev.Event) -> None:
        kind = type(event)
        if self.ended:
            raise Disorder(f"{kind.__name__} after the end")
        if isinstance(event, ev.Fault):
            self.ended = True
            return
        if isinstance(event, ev.Ping | ev.Opaque):
            return
        if isinstance(event, ev.Start):
            if self.started:
                raise Disorder("a second Start")
            self.started = True
            return
        if not self.started:
            raise Disorder(f"{kind.__name__} before Start")
        if self._metered and not isinstance(event, ev.Stop):
            raise Disorder(f"{kind.__name__} between Metered and Stop")
        if kind in _OPENS:
            self._opens(event.part, _OPENS[kind])  # type: ignore[union-attr]
            if isinstance(event, ev.ToolStart):
                self._sealed(event)
        elif kind in _WITHIN:
            self._within(event.part, _WITHIN[kind], kind.__name__)  # type: ignore[union-attr]
        elif isinstance(event, ev.PartStop):
            if self._open.pop(event.part, None) is None:
                raise Disorder(f"PartStop of {event.part}, which is not open")
        elif isinstance(event, ev.Metered | ev.Stop):
            self._closing(event)
        elif kind not in _ANYWHERE:
            raise Disorder(f"{kind.__name__} is no event")

    def _opens(self, part: int, kind: str) -> None:
        if part != self._next:
            raise Disorder(f"part {part} opened, {self._next} expected")
        blocking = [p for p, k in self._open.items() if k != "tool"]
        if blocking:
            raise Disorder(f"part {part} opened while {self._open[blocking[0]]} {blocking[0]} is open")
        self._next += 1
        self._open[part] = kind

    def _sealed(self, event: ev.ToolStart) -> None:
        if event.seal is not None and event.seal.part != event.part:
            raise Disorder(f"part {event.part} has the seal of {event.seal.part}")

    def _within(self, part: int, wanted: str | tuple[str, ...], name: str) -> None:
        if self._open.get(part) not in ((wanted,) if isinstance(wanted, str) else wanted):
            raise Disorder(f"{name} in part {part}, which is {self._open.get(part, 'not open')}")

    def _closing(self, event: ev.Metered | ev.Stop) -> None:
        if self._open:
            raise Disorder(f"{type(event).__name__} while parts {sorted(self._open)} are open")
        if isinstance(event, ev.Stop):
            self.ended = True
        else:
            self._metered = True


def check(events: Iterable[ev.Event], *, whole: bool = True) -> None:
    """Raises Disorder if the events are not in order. whole: also if they do not end."""
    machine = Machine()
    for event in events:
        machine.feed(event)
    if whole and not machine.ended:
        raise Disorder("no Stop and no Fault")
