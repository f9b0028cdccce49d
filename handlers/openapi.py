"""GET /openapi.json: the paths of this gateway, as an OpenAPI document. It says which there are, not what their bodies hold: that is
in the vendors' own references.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NamedTuple

from tornado.web import RequestHandler

from .base import Handler
from .methods import methods

_PARAMETER = re.compile(r"\{([a-z_]+)\}")


class Route(NamedTuple):
    """pattern: of paths. shown: the same for people, as templates."""

    pattern: str
    handler: type[RequestHandler]
    shown: tuple[str, ...]


class OpenApi(Handler):
    """The paths of this gateway."""

    def get(self) -> None:
        self.write(self.settings["openapi"])


_SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "gateway": {"type": "apiKey", "in": "header", "name": "x-dragoman-key"},
}


def document(routes: Iterable[Route], schemes: dict[str, dict[str, str]] = _SCHEMES) -> dict[str, Any]:
    """The OpenAPI document of these routes. schemes: how a caller says who it is; each suffices."""
    paths = {path: _item(path, route.handler) for route in routes for path in route.shown}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dragoman", "version": version("dragoman")},
        "components": {"securitySchemes": schemes},
        "security": [{name: []} for name in schemes],
        "paths": paths,
    }


def _item(path: str, handler: type[RequestHandler]) -> dict[str, Any]:
    """The operations of one path."""
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _PARAMETER.findall(path)]
    summary = " ".join((inspect.getdoc(handler) or "").split("\n\n")[0].split())
    operation: dict[str, Any] = {"summary": summary, "responses": {"default": {"description": "As the API has it."}}}
    item: dict[str, Any] = {name: operation | _body(name) for name in methods(handler)}
    return item | ({"parameters": parameters} if parameters else {})


def _body(method: str) -> dict[str, Any]:
    return {"requestBody": {"content": {"*/*": {}}}} if method in ("post", "put", "patch") else {}
