"""A gateway with an admin listener, and who looks at it: for the tests of what an operator sees."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from ..conftest import Running, Start, free_port
from .spoken import PATHS
from .wire import Answer, Wire, ask, request

CONFIG = """
listeners:
  - {type: model, address: 127.0.0.1, port: PORT}
  - {type: admin, port: ADMIN}
model_providers:
  - {model: demo/*}
  - {model: openai/*, access_key: sk-of-the-gateway, base_url: "UPSTREAM"}
  - {model: openai/declared, access_key: sk-of-the-gateway, base_url: "UPSTREAM"}
  - model: openai/falls-back
    base_url: "http://127.0.0.1:1"
    access_key: sk-of-the-gateway
    retry_policy: {max_attempts: 2, backoff: {base: 1ms, max: 2ms}, fallback_models: [demo/echo]}
  - {model: openai/nowhere, base_url: "http://127.0.0.1:1", access_key: sk-of-the-gateway}
prices: {"demo/*": {input: 1, output: 2}}
"""


def addressed(host: str, data: bytes) -> bytes:
    """A request with another Host."""
    return data.replace(b"Host: localhost", b"Host: " + host.encode(), 1)


class Admin:
    """A gateway with an admin listener."""

    def __init__(self, start: Start, *arguments: str, upstream: str = "http://127.0.0.1:1") -> None:
        self.port = free_port()
        config = CONFIG.replace("ADMIN", str(self.port)).replace("UPSTREAM", upstream)
        self.gateway: Running = start(config, *arguments)

    def get(self, path: str, host: str = "127.0.0.1") -> Answer:
        return ask(self.port, addressed(host, request(path, method="GET")))

    def call(self, shape: str, model: str, text: str = "Good morning", **members: Any) -> Answer:
        body: dict[str, Any] = {"model": model} | members
        if shape == "responses":
            body["input"] = text
        else:
            body |= {"messages": [{"role": "user", "content": text}], "max_tokens": 50}
        return ask(self.gateway.port, request(PATHS[shape], body, Authorization="Bearer sk-of-the-caller"))

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        text = self.get("/metrics").body.decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """The sum of what has at least these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples().items() if found == name and wanted <= has)

    def exchanges(self) -> list[dict[str, Any]]:
        return list(self.get("/inspector/exchanges").json["exchanges"])


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """For what happens in another process."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


class Watching:
    """A page that looks, as far as the gateway can tell."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def __enter__(self) -> Admin:
        self._wire = Wire(self._admin.port)
        self._wire.send(addressed("localhost", request("/inspector/live", method="GET")))
        self._wire.head()
        self._wire.chunk()
        return self._admin

    def __exit__(self, *_: object) -> None:
        self._wire.sock.close()
