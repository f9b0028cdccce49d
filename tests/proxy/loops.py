"""Running tests of the upstream client on each kind of loop, and what they share."""

import asyncio
import contextlib
import inspect

import pytest

from dragoman.codecs import errors
from dragoman.proxy.wire.upstream import UpstreamClient

from ..scripted import Provider, respond, until_closed

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop and uvloop.new_event_loop, id="uvloop", marks=pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")),
]


def looped(test):
    """Run an async test on each kind of loop. It gets a client made inside the loop, and its own parameters."""

    def run(loop_factory, **arguments):
        async def main():
            client = UpstreamClient(force_instance=True)
            try:
                async with asyncio.timeout(200):
                    await test(client, **arguments)
            finally:
                client.close()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())

    names = ["loop_factory", *list(inspect.signature(test).parameters)[1:]]
    run.__signature__ = inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names])
    run.pytestmark = [*getattr(test, "pytestmark", []), pytest.mark.parametrize("loop_factory", LOOPS).mark]
    run.__name__ = test.__name__
    return run


@contextlib.asynccontextmanager
async def options(**settings):
    """A client with options."""
    client = UpstreamClient(force_instance=True, **settings)
    try:
        yield client
    finally:
        client.close()


async def fault(client, request):
    """The fault of a fetch; whatever it is, its public message does not name the upstream, and its detail does."""
    with pytest.raises(errors.UpstreamFault) as caught:
        await client.fetch(request)
    message, detail = caught.value.message, caught.value.detail
    assert "127.0.0.1" not in message
    assert "localhost" not in message
    assert request.url.split("/")[2] in detail
    return caught.value


def closed_by(provider):
    return [connection.closed_by for connection in provider.connections]


async def all_closed(provider):
    await provider.seen(lambda: all(closed_by(provider)))


def first_only(connection_end):
    """Answers the first request of each connection; ends the connection at the second."""

    def end(connection):
        if len(connection.requests) > 1:
            connection_end(connection)

    return [end, respond(b"x")]


def hanging_handshake():
    """A provider that accepts and says nothing, for a client that expects TLS."""
    return Provider([], on_connect=[until_closed])


def https(provider):
    return provider.url.replace("http://127.0.0.1", "https://localhost")
