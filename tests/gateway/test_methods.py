"""A method that a path does not have: a 405 in the form of the caller's API, which names those that it has (RFC 9110, 15.5.6)."""

from __future__ import annotations

import re
from typing import cast

import orjson
import pytest

from dragoman.codecs import errors
from dragoman.handlers.base import Handler
from dragoman.handlers.objects import Objects
from dragoman.handlers.openapi import Route
from dragoman.proxy.app import routes

from .inside import Inside, inside_once
from .wire import request

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
ALLOWED = {
    "/v1/chat/completions": "GET, POST",
    "/v1/messages": "POST",
    "/v1/responses": "GET, POST",
    "/v1/responses/{id}": "GET, HEAD, DELETE",
    "/v1/conversations/{id}": "GET, HEAD, POST, DELETE",
    "/v1/models": "GET, HEAD",
    "/v1beta/models/{model}:{method}": "GET, HEAD, POST",
    "/v1/embeddings": "POST",
    "/v1/files": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "/healthz": "GET, HEAD",
}


def test_the_table_has_paths_that_there_are() -> None:
    assert ALLOWED.keys() <= {path for route in routes() for path in route.shown}


@pytest.mark.parametrize("route", [pytest.param(route, id=route.shown[0]) for route in routes()])
@inside_once
async def test_a_405_names_the_methods_that_there_are(route: Route) -> None:
    path, handler = route.shown[0], cast(type[Handler], route.handler)
    refused: dict[str, str] = {}
    answered: list[str] = []
    async with Inside("model_providers: [{model: demo/echo}]") as gateway:
        for method in METHODS:
            async with gateway.call(request(re.sub(r"[{}]", "", path), b"", method, connection="close")) as caller:
                status, headers = await caller.head()
                if status != 405:
                    answered.append(method)
                    continue
                refused[method] = headers["allow"]
                if method != "HEAD" and handler is not Objects:  # its API is read from the request
                    error = errors.GatewayError("Method Not Allowed", kind="method_not_allowed", status=405)
                    assert await caller.body(headers) == error.body(handler.shape, headers["x-request-id"])
    assert {"OPTIONS", "BREW"} <= refused.keys()
    assert set(refused.values()) == {", ".join(answered)}
    assert ALLOWED.get(path, refused["BREW"]) == refused["BREW"]


UNKNOWN = {
    "/nope": "shared",
    "/nope/messages": "shared",
    "/v1/nope/messages/": "shared",
    "/v2/chat/completions": "shared",
    "/v1/messages/m": "shared",
    "/v1/responses/r/nope": "shared",
    "/v1/conversations/c/nope": "shared",
    "/v1/files/f/..": "shared",  # of a known collection, but nothing that could be sent on
    "/v1beta/nope": "gemini",
    "/v1beta/files/a/b/c/d/e/f/g/h": "gemini",
    "/nope?key=k": "gemini",
}


@pytest.mark.parametrize("path", UNKNOWN)
@inside_once
async def test_a_path_that_there_is_not_has_no_method(path: str) -> None:
    async with Inside("model_providers: [{model: demo/echo}]") as gateway:
        for method in METHODS:
            async with gateway.call(request(path, b"", method, connection="close")) as caller:
                status, headers = await caller.head()
                assert (method, status, headers.get("allow")) == (method, 404, None)
                if method != "HEAD":
                    body = await caller.body(headers)
                    error = errors.NotFound(orjson.loads(body)["error"]["message"])
                    assert body == error.body(UNKNOWN[path], headers["x-request-id"])
