"""How a service failed last, where a library does not tell why it got no credential."""

from __future__ import annotations

from typing import Any, Self

from .credential import busy


class Heard:
    """Takes the place of what sends a library's requests. status: of the last failure; None if no answer came, 0 without one."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain
        self.status: int | None = 0

    def send(self, *positional: Any, **named: Any) -> Any:
        before, self.status = self.status, None
        answer = self._plain.send(*positional, **named)
        self.status = answer.status_code if answer.status_code >= 400 else before
        return answer

    @property
    def busy(self) -> bool:
        """Whether who failed last may answer otherwise soon."""
        return busy(self.status)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def __enter__(self) -> Self:
        self._plain.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._plain.__exit__(*error)
