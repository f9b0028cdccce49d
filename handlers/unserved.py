"""All paths that nothing else serves: a 404, whatever the method is."""

from __future__ import annotations

from ..codecs import errors
from ..codecs.gemini.shape import SHAPE as GOOGLE
from ..proxy.gateway import Gateway
from .base import Handler
from .models import asks_google


class Unserved(Handler):
    """In Google's form for its callers; other SDKs read the shared one."""

    secrets = GOOGLE.secrets

    def initialize(self, gateway: Gateway) -> None:
        if asks_google(self.request):
            self.shape = GOOGLE.name  # type: ignore[misc] # of this request's errors
        super().initialize(gateway)

    def prepare(self) -> None:
        self.guard()
        raise errors.NotFound(f"{self.request.method} {self.request.path[:200]} is not served here.")
