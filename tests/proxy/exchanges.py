"""Requests that come from no handler."""

from typing import Any

from tornado.httputil import HTTPHeaders

from dragoman.proxy.exchange.exchange import Exchange
from dragoman.proxy.exchange.operation import asking
from dragoman.proxy.exchange.services import Services


def exchange_of(services: Services, caller: Any, body: bytes, shape: str = "chat") -> Exchange:
    """One for a model's answer, without a key."""
    return Exchange(services, asking(shape), caller, HTTPHeaders(), body, key=None, credential=None, nonce="0" * 32, request_id="r")
