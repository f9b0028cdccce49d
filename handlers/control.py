"""`/api/…` of the admin listener, and its sign-in: JSON over the control store. The pages use nothing else.

Every change needs the session's CSRF token in `X-Dragoman-CSRF`, and comes from the listener's own origin or from a program. A key
holder sees their own key and its use alone. Imported only with `control` in the configuration.
"""

from __future__ import annotations

import io
import math
from collections.abc import Awaitable, Callable
from time import time
from typing import Any
from urllib.parse import unquote

import orjson
from tornado.web import HTTPError

from ..conf.model import Price
from ..proxy.control import figures, records
from ..proxy.control.commands import write_csv
from ..proxy.control.desk import Wait
from ..proxy.control.registry import Actor, Missing, Taken
from ..proxy.control.sessions import Begun, Refused, Session
from ..proxy.control.store import Away
from ..proxy.routing.router import ServedModel
from .admin import COOKIE, AdminHandler

DAY = 86400.0
STATE_COOKIE = "dragoman_sign_in"
STATE_LASTS = 600.0  # seconds
NOBODY = "-"  # in paths: users of keys without a team
_EVERYBODY = frozenset({"admin", "viewer", "key"})
_BACK = b'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/overview"><title>Dragoman</title>'

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (records.Invalid, 400),
    (figures.Invalid, 400),
    (Missing, 404),
    (Taken, 409),
    (Away, 503),
)


class ApiHandler(AdminHandler):
    """Answers with JSON, errors too."""

    async def prepare(self) -> None:
        await super().prepare()
        if "%00" in (self.request.uri or ""):
            raise HTTPError(400, reason="no name has a NUL character")  # PostgreSQL's texts cannot hold one

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        code = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
        if code is None:
            super().write_error(status_code, **kwargs)
            return
        self.set_status(code)
        if isinstance(error, Away):
            self.tell({"error": "the control store does not answer"})
            return
        param = error.param if isinstance(error, records.Invalid) else None
        self.tell({"error": str(error)} | ({"param": param} if param else {}))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not isinstance(value, tuple(kind for kind, _ in _STATUS)):
            super().log_exception(typ, value, tb)

    @property
    def actor(self) -> Actor:
        session = self.signed_in
        return Actor(session.name, session.role, "api", self.address)

    @property
    def signed_in(self) -> Session:
        assert self.session is not None
        return self.session

    def body_object(self) -> dict[str, Any]:
        """The body's object; {} without a body. Raises HTTPError."""
        if not self.request.body:
            return {}
        try:
            value = orjson.loads(self.request.body)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise HTTPError(400, reason="an object of JSON is expected")
        return value

    def number(self, name: str, default: float | None = None) -> float | None:
        """A number of the query. Raises HTTPError."""
        text = self.get_query_argument(name, "")
        try:
            number = float(text) if text else default
        except ValueError:
            number = math.nan
        if number is not None and not abs(number) < 1e12:
            raise HTTPError(400, reason=f"{name} must be a number")
        return number

    def filters(self, names: Any) -> dict[str, str]:
        """What the query says of these names; a key holder's own key in any case."""
        filters = {name: value for name in names if (value := self.get_query_argument(name, None)) is not None}
        if self.signed_in.role == "key":
            filters["key"] = self.signed_in.name
        return filters


# ---- sign-in ----


class _SignIn(ApiHandler):
    """Something that is asked without a session."""

    async def check_login(self) -> None:
        self.check_page()

    def begin(self, session: Session) -> None:
        """Set the session's cookie."""
        self.set_cookie(COOKIE, self.desk.sessions.write(session), **self.cookie_settings("Strict"))

    def shown(self, session: Session) -> dict[str, Any]:
        return {
            "role": session.role,
            "name": session.name,
            "until": session.until,
            "csrf": self.desk.sessions.csrf(session),
            "gateway": self.admin.gateway,
        }

    def cookie_settings(self, same_site: str) -> dict[str, Any]:
        return {"httponly": True, "samesite": same_site, "secure": self.secure, "path": "/"}


class SessionInfo(_SignIn):
    """GET: who is signed in, and how one can. POST {password} or {key}: sign in. DELETE: sign out."""

    async def get(self) -> None:
        session = await self.current()
        admin = self.desk.admin
        ways = {
            "password": admin.password is not None or admin.password_sha256 is not None,
            "oidc": admin.oidc is not None,
            "key": True,
        }
        self.tell({"session": None if session is None else self.shown(session), "ways": ways})

    async def post(self) -> None:
        body = self.body_object()
        ways: dict[str, Callable[[str, str], Awaitable[Session | None]]] = {"password": self.desk.by_password, "key": self.desk.by_key}
        way = next((name for name in ways if isinstance(body.get(name), str)), None)
        if way is None or len(body) > 1:
            raise HTTPError(400, reason="send either password or key")
        try:
            session = await ways[way](body[way], self.address)
        except Wait as wait:
            self.refuse(429, "too many failed: wait and try again", **{"Retry-After": str(math.ceil(wait.seconds))})
        if session is None:
            raise HTTPError(401, reason=f"the {way} is not right")
        self.begin(session)
        self.tell({"session": self.shown(session)})

    async def delete(self) -> None:
        session = await self.current()
        if session is not None:
            self.check_csrf(session)
            await self.desk.end(session)
        self.clear_cookie(COOKIE, path="/")
        self.tell({"session": None})


class SignInElsewhere(_SignIn):
    """GET /login/oidc: to the identity provider."""

    async def get(self) -> None:
        if self.desk.oidc is None:
            raise HTTPError(404)
        try:
            address, begun = await self.desk.oidc.begin(self.redirect_url())
        except Refused as error:
            raise HTTPError(502, reason=f"the identity provider: {error}") from None
        self.set_cookie(STATE_COOKIE, self.desk.sessions.sign(STATE_COOKIE, list(begun)), **self.cookie_settings("Lax"))
        self.redirect(address)

    def redirect_url(self) -> str:
        assert self.desk.admin.oidc is not None
        own = f"{'https' if self.secure else 'http'}://{self.request.host}/login/callback"
        return self.desk.admin.oidc.redirect_url or own


class BackFromElsewhere(SignInElsewhere):
    """GET /login/callback: from there."""

    async def get(self) -> None:
        if self.desk.oidc is None:
            raise HTTPError(404)
        fields = self.desk.sessions.verify(STATE_COOKIE, self.get_cookie(STATE_COOKIE), STATE_LASTS)
        self.clear_cookie(STATE_COOKIE, path="/")
        begun = Begun(*fields) if isinstance(fields, list) else None
        state, code = self.get_query_argument("state", ""), self.get_query_argument("code", "")
        try:
            self.desk.may_try(self.address)
            if begun is None or state != begun.state or not code:
                raise Refused("the answer belongs to no sign-in of this browser")
            role, name = await self.desk.oidc.finish(begun, code, self.redirect_url())
        except Wait as wait:
            self.refuse(429, "too many failed: wait and try again", **{"Retry-After": str(math.ceil(wait.seconds))})
        except Refused as error:
            await self.desk.refused(str(error), self.address)
            raise HTTPError(403, reason="you were not signed in; the audit says why") from None
        self.begin(await self.desk.signed_in(role, name, self.address))
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_BACK)  # a page and no redirect: the browser sends no strict cookie along one that began elsewhere


# ---- keys ----


class Keys(ApiHandler):
    """GET: all keys, with what they have spent. POST {name, …}: a new one, whose `key` is shown this once."""

    reads = _EVERYBODY

    async def get(self) -> None:
        if self.signed_in.role == "key":
            keys = [await self.desk.registry.key(self.signed_in.name)]
        else:
            keys = await self.desk.registry.keys()
        self.tell({"keys": await _with_spent(self, keys)})

    async def post(self) -> None:
        body = self.body_object()
        name = body.pop("name", None)
        key, secret = await self.desk.registry.create_key(name, body, self.actor)
        self.set_status(201)
        self.tell({**key, "key": secret.text})


class Key(ApiHandler):
    """GET, PATCH {…}, DELETE (revoke) one key."""

    reads = _EVERYBODY

    async def get(self, name: str) -> None:
        name = unquote(name)
        if self.signed_in.role == "key" and name != self.signed_in.name:
            raise Missing(f"there is no key {name}")
        self.tell((await _with_spent(self, [await self.desk.registry.key(name)]))[0])

    async def patch(self, name: str) -> None:
        self.tell(await self.desk.registry.change_key(unquote(name), self.body_object(), self.actor))

    async def delete(self, name: str) -> None:
        self.tell(await self.desk.registry.revoke_key(unquote(name), self.actor))


class Rotate(ApiHandler):
    """POST {overlap: seconds}: a new secret, shown this once."""

    async def post(self, name: str) -> None:
        body = self.body_object()
        overlap = body.pop("overlap", DAY)
        if body or isinstance(overlap, bool) or not isinstance(overlap, int | float) or not 0 <= overlap <= 366 * DAY:
            raise records.Invalid("overlap", "must be seconds, at most a year")
        key, secret = await self.desk.registry.rotate_key(unquote(name), float(overlap), self.actor)
        self.tell({**key, "key": secret.text})


async def _with_spent(handler: ApiHandler, keys: list[records.Row]) -> list[records.Row]:
    spent = await handler.desk.spent({key["name"]: key for key in keys})
    return [{**key, "spent_usd": spent.get(key["name"])} for key in keys]


# ---- teams ----


class Teams(ApiHandler):
    """GET: all teams with their users, and what they have spent."""

    async def get(self) -> None:
        teams = await self.desk.registry.teams()
        wanted = {f"team\0{team['name']}": team for team in teams}
        wanted |= {f"user\0{team['name']}\0{user['name']}": user for team in teams for user in team["users"]}
        spent = await self.desk.spent(wanted)
        for name, one in wanted.items():
            one["spent_usd"] = spent.get(name)
        self.tell({"teams": teams})


class Team(ApiHandler):
    """PUT {limits}: make or change a team. DELETE it."""

    async def put(self, name: str) -> None:
        await self.desk.registry.set_team(unquote(name), self.body_object(), self.actor)
        self.tell({"name": unquote(name)})

    async def delete(self, name: str) -> None:
        await self.desk.registry.remove_team(unquote(name), self.actor)
        self.tell({"name": unquote(name)})


class TeamUser(ApiHandler):
    """PUT {limits}, DELETE: a user of a team; `-` stands for keys without one."""

    async def put(self, team: str, user: str) -> None:
        await self.desk.registry.set_user(*self._place(team, user), self.body_object(), self.actor)
        self.tell({"name": unquote(user)})

    async def delete(self, team: str, user: str) -> None:
        await self.desk.registry.remove_user(*self._place(team, user), self.actor)
        self.tell({"name": unquote(user)})

    @staticmethod
    def _place(team: str, user: str) -> tuple[str, str]:
        return "" if team == NOBODY else unquote(team), unquote(user)


# ---- usage ----


class Usage(ApiHandler):
    """GET ?since&until&by&key&team&user&model&provider&order&top&limit&format: sums. format=csv for a spreadsheet."""

    reads = _EVERYBODY

    async def get(self) -> None:
        until = self.number("until", time()) or 0.0
        since = self.number("since", until - 30 * DAY) or 0.0
        by = tuple(filter(None, self.get_query_argument("by", "").split(",")))
        most = int(self.number("limit", 1000) or 0)
        order = self.get_query_argument("order", "cost")
        question = figures.Question(since, until, by, self.filters(figures.COLUMNS), max(1, most), order)
        if top := int(self.number("top", 0) or 0):
            rows, more = await figures.series(self.desk.store, question, max(1, top)), False
        else:
            rows = await figures.sums(self.desk.store, question)
            more = len(rows) >= min(question.most, figures.MOST_GROUPS)
        if self.get_query_argument("format", "json") != "csv":
            self.tell({"since": since, "until": until, "by": by, "rows": rows, "more": more})
            return
        names = (*by, *(name for name in rows[0] if name not in by)) if rows else by
        out = io.StringIO()
        write_csv(out, names, rows)
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="usage.csv"')
        self.finish(out.getvalue())


class Requests(ApiHandler):
    """GET ?since&until&key&…&request_id&status&failed&before&limit: single exchanges, the newest first."""

    reads = _EVERYBODY

    async def get(self) -> None:
        status = self.number("status")
        rows, before = await figures.rows(
            self.desk.store,
            self.filters((*figures.COLUMNS, "request_id", "error", "asked", "operation")),
            since=self.number("since"),
            until=self.number("until"),
            failed=self.get_query_argument("failed", "") == "true",
            status=None if status is None else int(status),
            before=self.get_query_argument("before", ""),
            most=max(1, int(self.number("limit", 100) or 0)),
        )
        self.tell({"requests": rows, "before": before or None})


# ---- models, audit, configuration ----


_FACTS = ("display_name", "lifecycle", "context_window", "max_output_tokens", "input_modalities", "efforts", "knowledge_cutoff")


class Models(ApiHandler):
    """GET: what is served, what is known of it, where it goes and why, and what it costs."""

    reads = _EVERYBODY

    def get(self) -> None:
        self.tell({"models": [self._model(model) for model in self.admin.served()]})

    def _model(self, model: ServedModel) -> dict[str, Any]:
        shown: dict[str, Any] = {name: getattr(model.facts, name) for name in _FACTS}
        shown |= {"id": model.id, "price": _price(model.price)}
        if self.signed_in.role != "key":
            shown["candidates"] = self.admin.explain(model.id, None)
        return shown


def _price(price: Price | None) -> dict[str, Any] | None:
    """USD for a million tokens."""
    return None if price is None else {part: getattr(price, part) for part in ("input", "output", "cached_input", "cache_write")}


class Audit(ApiHandler):
    """GET ?subject&who&action&before&limit: who changed what, the newest first."""

    async def get(self) -> None:
        before = self.number("before")
        lines = await self.desk.registry.audit(
            subject=self.get_query_argument("subject", ""),
            who=self.get_query_argument("who", ""),
            action=self.get_query_argument("action", ""),
            before=None if before is None else int(before),
            most=max(1, int(self.number("limit", 100) or 0)),
        )
        self.tell({"audit": lines, "before": lines[-1]["id"] if lines else None})


class Configuration(ApiHandler):
    """GET: the configuration in force, without secrets."""

    def get(self) -> None:
        self.tell(self.desk.shown_config())


ROUTES: list[tuple[str, type[AdminHandler]]] = [
    (r"/api/session", SessionInfo),
    (r"/login/oidc", SignInElsewhere),
    (r"/login/callback", BackFromElsewhere),
    (r"/api/keys", Keys),
    (r"/api/keys/([^/]+)", Key),
    (r"/api/keys/([^/]+)/rotate", Rotate),
    (r"/api/teams", Teams),
    (r"/api/teams/([^/]+)", Team),
    (r"/api/teams/([^/]+)/users/([^/]+)", TeamUser),
    (r"/api/usage", Usage),
    (r"/api/usage/requests", Requests),
    (r"/api/models", Models),
    (r"/api/audit", Audit),
    (r"/api/config", Configuration),
]
