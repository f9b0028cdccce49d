"""The admin listener: GET /metrics, /explain, /capabilities, and the wire inspector at `/`, whose files are in the folder inspector/.

It belongs on a private address; `allow_from` says who may ask it. Without `control` in the configuration it has no login; with it,
every path but /metrics asks for a session (control.py beside this). A page of another site in the operator's browser can
neither read from it (the Host must be an address, this machine, or one of the listener's `hosts`, which defeats DNS rebinding) nor
change anything (POST requires a custom header).
"""

from __future__ import annotations

import asyncio
import hmac
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import orjson
from tornado.iostream import StreamClosedError
from tornado.web import Finish, HTTPError, RequestHandler

from ..codecs import errors
from ..codecs.registry import SHAPES
from ..codecs.shape import names
from ..proxy.inspector.admin import Admin
from ..proxy.wire import bodies, pages
from ..proxy.wire.inbound import Inbound
from ..proxy.wire.networks import UNKNOWN
from ..proxy.wire.pages import Hosts
from .methods import allowed

if TYPE_CHECKING:
    from ..proxy.control.desk import Desk
    from ..proxy.control.sessions import Session

FILES = Path(__file__).parent / "inspector"
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
PAGE, CAPABILITIES = "index.html", "capabilities.html"
SIGN_IN_FILES = frozenset({"login.html", "login.js", "theme.js", "inspector.css"})  # for who has no session yet
COOKIE = "dragoman_session"

QUIET = 10.0  # seconds without a change before a keep-alive
PACE = 0.1  # seconds between messages to a page
BATCH = 200  # records per message
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class AdminHandler(RequestHandler):
    """hosts: the names that the listener answers to. desk: what asks for a login; None: nobody does.

    reads, changes: the roles that may use GET, and other methods. folder: of the files that it shows.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"admin", "viewer"})
    changes: ClassVar[frozenset[str]] = frozenset({"admin"})
    folder: ClassVar[Path] = FILES
    admin: Admin
    hosts: Hosts
    session: Session | None = None
    source = UNKNOWN

    def initialize(self, admin: Admin, hosts: Hosts, desk: Desk | None = None) -> None:
        self.admin, self.hosts, self._desk = admin, hosts, desk

    @property
    def desk(self) -> Desk:
        assert self._desk is not None
        return self._desk

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")

    def compute_etag(self) -> str | None:
        return None

    async def prepare(self) -> None:
        self.check_address()
        if not self.hosts.has(self.request.host):
            raise HTTPError(403, reason="Not this host: list it in `hosts` of the admin listener")
        if self._desk is not None:
            await self.check_login()

    # ---- who asks ----

    async def check_login(self) -> None:
        """Raise HTTPError unless somebody is signed in whose role may do this, from a page of this listener or from a program."""
        self.check_page()
        self.session = await self.current()
        if self.session is None:
            raise HTTPError(401, reason="sign in first")
        if self.session.role not in (self.reads if self.request.method in ("GET", "HEAD") else self.changes):
            raise HTTPError(403, reason="your role may not do this")
        if self.request.method not in ("GET", "HEAD"):
            self.check_csrf(self.session)

    async def current(self) -> Session | None:
        """The session of the request's cookie, if it counts."""
        session = self.desk.sessions.read(self.get_cookie(COOKIE))
        return session if session is not None and await self.desk.still(session) else None

    def check_page(self) -> None:
        """Raise HTTPError (403) for a change that a page of another origin asks for."""
        if self.request.method in ("GET", "HEAD"):
            return
        try:
            pages.check(self.request.method or "", self.request.headers, None, secure=self.secure)
        except errors.GatewayError:
            raise HTTPError(403, reason="pages of another origin may not use the admin listener") from None

    def check_csrf(self, session: Session) -> None:
        """Raise HTTPError (403) for a change without the session's token."""
        if not hmac.compare_digest(self.request.headers.get("X-Dragoman-CSRF", "").encode(), self.desk.sessions.csrf(session).encode()):
            raise HTTPError(403, reason="x-dragoman-csrf is missing or not of this session")

    @property
    def secure(self) -> bool:
        """Whether the browser asks over https."""
        return self.source.secure or self.request.protocol == "https"

    @property
    def address(self) -> str:
        """Of who asks."""
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        return str(self.source.address or connection.context.remote_ip)

    def check_address(self) -> None:
        """Raise HTTPError (403) for an address that is not in `allow_from`."""
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        try:
            self.source = self.admin.gate.source(connection.context.remote_ip, self.request.headers, self.settings["allow_from"])
        except errors.Forbidden as error:
            raise HTTPError(403, reason=str(error)) from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", allowed(type(self)))
        self.tell({"error": self._reason})

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Overridden to cut off an answer that has begun: Tornado would end it as if it were complete."""
        if self._headers_written:
            self.request.connection.stream.close()  # type: ignore[union-attr]
        else:
            super().send_error(status_code, **kwargs)

    def show(self, name: str) -> None:
        """Finish the answer with a file of a page. Raises HTTPError (404)."""
        path = self.folder / (name or PAGE)
        kind = KINDS.get(path.suffix)
        if kind is None or path.parent != self.folder or not path.is_file():
            raise HTTPError(404)
        self.set_header("Content-Type", kind)
        self.finish(path.read_bytes())

    def refuse(self, status: int, reason: str, **headers: str) -> NoReturn:
        """As HTTPError, with headers. Raises Finish."""
        self.set_status(status)
        for name, value in headers.items():
            self.set_header(name, value)
        self.tell({"error": reason})
        raise Finish

    def tell(self, value: Any) -> None:
        """Finish the answer with a value as JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(value, default=str))


class NotFound(AdminHandler):
    async def prepare(self) -> None:
        self.check_address()
        raise HTTPError(404)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Overridden for methods that Tornado refuses before it calls `prepare`: here is no path that could have others."""
        super().send_error(404 if status_code == 405 else status_code, **kwargs)


class Metrics(AdminHandler):
    """GET /metrics. Accepts any Host: scrapers use various names, and metrics contain no content. May have a token of its own."""

    async def prepare(self) -> None:
        self.check_address()
        if self._desk is not None and not self._desk.scrapes(self._token()):
            self.refuse(401, "the token of control.admin.metrics_token is missing", **{"WWW-Authenticate": "Bearer"})

    def _token(self) -> str | None:
        kind, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else None

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(self.admin.metrics())


class Explain(AdminHandler):
    """GET /explain?model=…&shape=…&session=…: the candidates, and why. Default: every shape, the default model.

    session: what `x-dragoman-session` would say; tells where that conversation goes.
    """

    def get(self) -> None:
        model, shape = self.get_argument("model", None) or None, self.get_argument("shape", None) or None
        try:
            candidates = self.admin.explain(model, shape)
        except KeyError:
            raise HTTPError(400, reason=f"shape is {names(SHAPES.values())}") from None
        answer = {"model": model, "candidates": candidates, "routing": self.admin.routing()}
        if session := self.get_argument("session", ""):
            answer["session"] = self.admin.places(model, shape, session)
        self.tell(answer)


class Capabilities(AdminHandler):
    """GET /capabilities?model=…: what becomes of each field of a request, for callers of each shape. For a browser it is a page."""

    async def get(self) -> None:
        if "text/html" in self.request.headers.get("Accept", "") and self.get_argument("format", "") != "json":
            self.set_header("Vary", "Accept")
            self.show(CAPABILITIES)
            return
        model = self.get_argument("model", None) or None
        try:
            callers = await bodies.apart(True, partial(self.admin.capabilities, model))
        except errors.GatewayError as error:
            self.set_status(404)
            self.tell({"error": error.message})
            return
        self.tell({"model": model, "callers": callers})


class File(AdminHandler):
    """The inspector's page and its files. They hold nothing; who is not signed in is sent to the page for that."""

    async def check_login(self) -> None:
        name = self.request.path.rpartition("/")[2]
        if name in SIGN_IN_FILES:
            return
        self.session = await self.current()
        if self.session is None:
            self.redirect("/inspector/login.html")
            raise Finish

    def get(self, name: str = PAGE) -> None:
        if name == PAGE and self.session is not None and self.session.role not in self.reads:
            self.redirect("/usage")  # a key holder, who may not see others' exchanges
            return
        self.show(name)


class Exchanges(AdminHandler):
    """The current list of exchanges."""

    def get(self) -> None:
        ring = self.admin.ring
        self.tell({"content": ring.content, "watched": ring.watched, "exchanges": [ring.row(id) for id in ring.known()]})


class Exchange(AdminHandler):
    """One exchange with its records."""

    def get(self, id: str) -> None:
        ring = self.admin.ring
        if id not in ring.entries:
            raise HTTPError(404)
        self.tell({"exchange": ring.row(id), "records": ring.entries[id].records})


class Switch(AdminHandler):
    """POST {"content": true} switches content on; {"clear": true} removes all exchanges."""

    def post(self) -> None:
        if not self.request.headers.get("X-Dragoman-Inspector"):
            raise HTTPError(403, reason="x-dragoman-inspector is missing")
        try:
            asked = orjson.loads(self.request.body)
        except orjson.JSONDecodeError:
            raise HTTPError(400, reason="not JSON") from None
        if not isinstance(asked, dict) or not all(isinstance(value, bool) for value in asked.values()):
            raise HTTPError(400, reason="an object of booleans is expected")
        if asked.get("clear"):
            self.admin.ring.clear()
        if "content" in asked:
            self.admin.ring.switch(asked["content"])
        self.tell({"content": self.admin.ring.content})


class _Stream(AdminHandler):
    """Server-sent events for a page, which counts as a watcher while it is connected."""

    async def get(self, *path: str) -> None:
        self._task = asyncio.current_task()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        ring = self.admin.ring
        ring.enter()
        try:
            while True:
                version = ring.version
                going_on = self.news(*path)
                await self.flush()
                if not going_on:
                    return
                await self._wait(version)
        except StreamClosedError:
            pass
        except asyncio.CancelledError:
            if not self.request.connection.stream.closed():  # type: ignore[union-attr]
                raise
        finally:
            ring.leave()

    async def _wait(self, version: int) -> None:
        try:
            async with asyncio.timeout(QUIET):
                await self.admin.ring.changed(version)
        except TimeoutError:
            self.write(": keep-alive\n\n")
        else:
            await asyncio.sleep(PACE)

    def news(self, *path: str) -> bool:
        """Write what is new. Returns whether more can follow."""
        raise NotImplementedError

    def event(self, name: str, value: Any) -> None:
        self.write(b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(value, default=str)))

    def on_connection_close(self) -> None:
        if self._task is not None:
            self._task.cancel()


class Live(_Stream):
    """Changes of the list: rows that are new or have changed, and ids that were removed."""

    def initialize(self, admin: Admin, hosts: Hosts, desk: Desk | None = None) -> None:
        super().initialize(admin, hosts, desk)
        self._known: dict[str, int] | None = None

    def news(self, *path: str) -> bool:
        ring = self.admin.ring
        before, now = self._known, ring.known()
        known = before or {}
        rows = [ring.row(id) for id, changed in now.items() if known.get(id) != changed]
        gone = [id for id in known if id not in now]
        self._known = now
        self.event("rows", {"rows": rows, "gone": gone, "content": ring.content, "gateway": self.admin.gateway})
        return True


class LiveExchange(_Stream):
    """Changes of one exchange: its row and its new records."""

    def initialize(self, admin: Admin, hosts: Hosts, desk: Desk | None = None) -> None:
        super().initialize(admin, hosts, desk)
        self._sent = 0

    def news(self, *path: str) -> bool:
        ring, id = self.admin.ring, path[0]
        entry = ring.entries.get(id)
        if entry is None:
            self.event("gone", {"id": id})
            return False
        self.event("row", ring.row(id))
        while self._sent < len(entry.records):
            batch = entry.records[self._sent : self._sent + BATCH]
            self.event("records", batch)
            self._sent += len(batch)
        return True
