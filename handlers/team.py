"""The pages of a team on the admin listener, whose files are in the folder pages/, and what they ask of `/api/…` about this moment.

Every page is the same document; its module is named by the path. The files hold nothing: all that is shown comes from the API, which
asks who is signed in. Imported only with `control` in the configuration.
"""

from __future__ import annotations

import re
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import quote, unquote

from prometheus_client.parser import text_string_to_metric_families
from tornado.web import Finish

from ..proxy.control import figures
from . import control
from .admin import COOKIE, AdminHandler, File
from .control import ApiHandler
from .openapi import Route, document

FOLDER = Path(__file__).parent / "pages"
PAGES = ("overview", "usage", "requests", "keys", "teams", "models", "audit")
SIGN_IN = "/inspector/login.html"
SPAN = 300  # seconds that /api/now looks back
MOST_SAME = 20  # requests of one id


class Page(File):
    """A page. Who is not signed in is sent to sign in, and comes back."""

    folder = FOLDER

    async def check_login(self) -> None:
        self.session = await self.current()
        if self.session is None:
            self.redirect(f"{SIGN_IN}?next={quote(self.request.uri or '/', safe='')}")
            raise Finish

    def get(self, name: str = "") -> None:
        self.show("index.html")


class PageFile(File):
    """A file of the pages."""

    folder = FOLDER


class Now(ApiHandler):
    """GET ?since: the last minutes in steps of seconds, streams that are open, and upstreams with their health."""

    async def get(self) -> None:
        now = time()
        since = max(self.number("since", 0.0) or 0.0, now - SPAN)
        steps = await figures.steps(self.desk.store, since)
        used = {row.pop("provider"): row for row in await figures.lately(self.desk.store, now - SPAN)}
        upstreams = self.admin.upstreams()
        for upstream in upstreams:
            upstream |= used.get(upstream["provider"], {"requests": 0, "errors": 0, "ms_first": None})
        self.tell({"now": now, "step": figures.STEP, "span": SPAN, "streams_open": self._open(), "steps": steps, "upstreams": upstreams})

    def _open(self) -> int:
        """Streams of all workers of this machine."""
        text = self.admin.metrics().decode()
        lines = "\n".join(re.findall(r"^dragoman_streams_open[ {].*$", text, re.MULTILINE)) + "\n"
        return int(sum(sample.value for family in text_string_to_metric_families(lines) for sample in family.samples))


class Request(ApiHandler):
    """GET: the exchanges with a request id, the newest first, and those of them that the inspector still has."""

    reads = frozenset({"admin", "viewer", "key"})

    async def get(self, id: str) -> None:
        id = unquote(id)
        where = self.filters(()) | {"request_id": id}
        rows, _ = await figures.rows(self.desk.store, where, most=MOST_SAME)
        self.tell({"requests": rows, "exchanges": self._watched(id, where.get("key"))})

    def _watched(self, id: str, key: str | None) -> list[dict[str, Any]]:
        ring = self.admin.ring
        rows = [ring.row(own) for own in ring.known() if ring.entries[own].row.get("request_id") == id]
        return [row for row in rows if key is None or row.get("key") == key]


class OpenApi(ApiHandler):
    """The paths of this listener's API."""

    reads = frozenset({"admin", "viewer", "key"})

    def get(self) -> None:
        routes = [Route(pattern, handler, (_shown(pattern),)) for pattern, handler in (*control.ROUTES, *ROUTES)]
        self.tell(document((route for route in routes if route.pattern.startswith("/api/")), _SCHEMES))


_SCHEMES = {
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Changes need x-dragoman-csrf of /api/session too."}
}


def _shown(pattern: str) -> str:
    """A pattern of paths for people: what follows `keys/` is a `{key}`."""
    return re.sub(r"(\w+)s/\(\[\^/\]\+\)", r"\1s/{\1}", pattern)


ROUTES: list[tuple[str, type[AdminHandler]]] = [
    (r"/openapi.json", OpenApi),
    (rf"/({'|'.join(PAGES)})", Page),
    (r"/pages/([a-z-]+\.[a-z]+)", PageFile),
    (r"/api/now", Now),
    (r"/api/usage/requests/([^/]+)", Request),
]
