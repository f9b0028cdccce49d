"""A relay as Tornado's documentation would have one write it: what the gateway is compared with in the same run.

    python -m tests.load.relay PORT UPSTREAM_PORT

A RequestHandler, AsyncHTTPClient with a streaming_callback, write and flush. It translates nothing, checks nothing and logs
nothing. On uvloop where it is installed, as the gateway.
"""

from __future__ import annotations

import asyncio
import sys

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.web import Application, RequestHandler

from dragoman.proxy.process import loops


class Relay(RequestHandler):
    def initialize(self, upstream: int) -> None:
        self.upstream = upstream

    def get(self, path: str) -> None:
        self.write({})

    async def post(self, path: str) -> None:
        async def forward(data: bytes) -> None:
            self.write(data)
            await self.flush()

        def header(line: str) -> None:
            name, _, value = line.partition(":")
            if name.lower() == "content-type":
                self.set_header(name, value.strip())

        url = f"http://127.0.0.1:{self.upstream}{path}"
        request = HTTPRequest(url, "POST", {"Content-Type": "application/json"}, self.request.body, request_timeout=0)
        request.streaming_callback = forward  # type: ignore[assignment]
        request.header_callback = header
        await AsyncHTTPClient().fetch(request)

    def log_exception(self, *_: object) -> None:
        pass


async def main() -> None:
    AsyncHTTPClient.configure(None, max_clients=10_000)
    app = Application([(r"(/.*)", Relay, {"upstream": int(sys.argv[2])})], log_function=lambda _: None)
    app.listen(int(sys.argv[1]), "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    loops.raise_file_limit()
    loops.run_loop(main)
