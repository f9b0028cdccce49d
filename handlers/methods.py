"""Which methods a handler has. A 405 names them (RFC 9110, 15.5.6), and so does /openapi.json."""

from __future__ import annotations

from tornado.web import RequestHandler

METHODS = ("get", "post", "put", "patch", "delete")


def methods(handler: type[RequestHandler]) -> list[str]:
    """In lower case, without HEAD."""
    return [name for name in METHODS if _has(handler, name)]


def allowed(handler: type[RequestHandler]) -> str:
    """As the header `Allow` has them. HEAD is answered by what answers a GET."""
    names = methods(handler)
    if "get" in names and _has(handler, "head"):
        names.insert(1, "head")
    return ", ".join(names).upper()


def _has(handler: type[RequestHandler], name: str) -> bool:
    return getattr(handler, name) is not RequestHandler._unimplemented_method
