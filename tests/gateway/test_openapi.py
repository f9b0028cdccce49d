"""/openapi.json: every path that the gateway has, each with the methods of its handler."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from dragoman.handlers import openapi
from dragoman.proxy.app import routes

from .inside import Inside, inside_once
from .wire import request

CONFIG = "model_providers: [{model: demo/*}]"


async def fetched(gateway: Inside) -> Any:
    async with gateway.call(request("/openapi.json", b"", "GET")) as caller:
        status, headers = await caller.head()
        assert (status, headers["content-type"]) == (200, "application/json; charset=UTF-8")
        return orjson.loads(await caller.body(headers))


@inside_once
async def test_every_route_is_in_the_document() -> None:
    async with Inside(CONFIG) as gateway:
        paths = (await fetched(gateway))["paths"]
    for route in routes():
        assert route.shown, route
        for path in route.shown:
            assert paths[path].keys() - {"parameters"} == set(openapi.methods(route.handler))
    assert paths.keys() == {path for route in routes() for path in route.shown}


@pytest.mark.parametrize("route", [pytest.param(route, id=route.shown[0]) for route in routes()])
def test_a_path_as_shown_is_served_by_its_own_route(route: openapi.Route) -> None:
    for path in route.shown:
        first = next(one for one in routes() if re.fullmatch(one.pattern, path.replace("{", "").replace("}", "")))
        assert first.shown == route.shown, path


@inside_once
async def test_the_document_names_each_variable_part() -> None:
    async with Inside(CONFIG) as gateway:
        document = await fetched(gateway)
    assert document["openapi"] == "3.1.0"
    for path, item in document["paths"].items():
        assert re.findall(r"\{(\w+)\}", path) == [one["name"] for one in item.get("parameters", [])]
    assert document["paths"]["/v1/chat/completions"].keys() == {"get", "post"}
    assert document["paths"]["/v1/files/{id}"].keys() == {"get", "post", "put", "patch", "delete", "parameters"}
