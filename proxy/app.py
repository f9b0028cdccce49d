"""The Tornado applications of the listeners: the only module that maps paths to handlers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, RequestHandler

from ..codecs.gemini import paths
from ..codecs.registry import SHAPES
from ..codecs.shape import Shape
from ..conf.model import Listener
from ..handlers import admin as admin_pages
from ..handlers import (
    base,
    conversations,
    dispatch,
    gemini,
    model,
    models,
    objects,
    openapi,
    passthrough,
    responses,
    status,
    tokens,
    unserved,
    usage,
)
from ..handlers.openapi import Route
from .exchange.objects import PATHS as OBJECTS
from .gateway import Gateway
from .inspector.admin import Admin
from .wire.headers import is_loopback
from .wire.networks import Networks
from .wire.pages import Hosts

if TYPE_CHECKING:
    from .control.desk import Desk

# clients write base URLs with and without /v1, and join them with one slash or two; some have one address for several vendors' APIs
_V1 = r"/+(?:(?:v1|openai|anthropic)/+)*"
# Azure's way: the model is a deployment
_DEPLOYMENT = r"/+openai/+deployments/++(?P<model>[^/]++)/+"
_DEPLOYED = "/openai/deployments/{model}"
_CLAUDE = "/v1/projects/{project}/locations/{location}/publishers/anthropic/models/{model}"


def routes() -> list[Route]:
    """Path patterns, their handlers, and the paths as people write them; the first match is used."""
    return [
        *(Route(_V1 + _pattern(shape), _handler(shape), shape.shown or (f"/v1{shape.path}",)) for shape in SHAPES.values()),
        Route(_V1 + r"messages/+count_tokens/*", tokens.CountTokens, ("/v1/messages/count_tokens",)),
        Route(_V1 + r"responses/+input_tokens/*", tokens.InputTokens, ("/v1/responses/input_tokens",)),
        Route(_V1 + r"responses/+compact/*", responses.Compact, ("/v1/responses/compact",)),
        Route(_V1 + r"responses/+([^/]+)/+cancel/*", responses.Cancel, ("/v1/responses/{id}/cancel",)),
        Route(_V1 + r"responses/+([^/]+)/+input_items/*", responses.InputItems, ("/v1/responses/{id}/input_items",)),
        Route(_V1 + r"responses/+([^/]+)/*", responses.Stored, ("/v1/responses/{id}",)),
        Route(_V1 + r"conversations/*", conversations.Conversations, ("/v1/conversations",)),
        Route(_V1 + r"conversations/+([^/]+)/*", conversations.One, ("/v1/conversations/{id}",)),
        Route(_V1 + r"conversations/+([^/]+)/+items/*", conversations.Items, ("/v1/conversations/{id}/items",)),
        Route(_V1 + r"conversations/+([^/]+)/+items/+([^/]+)/*", conversations.OneItem, ("/v1/conversations/{id}/items/{item}",)),
        Route(_V1 + models.LIST, models.ModelList, ("/v1/models", "/v1beta/models")),
        Route(_V1 + paths.LISTED, models.PublishedModels, ("/v1/publishers/google/models",)),
        Route(_V1 + paths.CLAUDE, gemini.Predict, tuple(f"{_CLAUDE}:{method}" for method in ("rawPredict", "streamRawPredict"))),
        Route(_V1 + paths.METHODS, gemini.Method, ("/v1beta/models/{model}:{method}",)),
        Route(_V1 + models.ONE, models.ModelInfo, ("/v1/models/{model}", "/v1beta/models/{model}")),
        Route(_V1 + passthrough.PATHS, passthrough.Passthrough, tuple(f"/v1{path}" for path in passthrough.SHOWN)),
        Route(_V1 + OBJECTS, objects.Objects, objects.SHOWN),
        *(
            Route(_DEPLOYMENT + _pattern(shape), _handler(shape), (f"{_DEPLOYED}{shape.path}",))
            for shape in SHAPES.values()
            if not shape.route
        ),
        Route(_DEPLOYMENT + passthrough.PATHS, passthrough.Passthrough, tuple(f"{_DEPLOYED}{path}" for path in passthrough.SHOWN)),
        Route(r"/healthz", status.Health, ("/healthz",)),
        Route(r"/readyz", status.Ready, ("/readyz",)),
        Route(r"/openapi\.json", openapi.OpenApi, ("/openapi.json",)),
        Route(r"/(?:api/hello)?", status.Hello, ("/", "/api/hello")),
        Route(r"/+api/+oauth/+usage/*", usage.Usage, ("/api/oauth/usage",)),
    ]


def _handler(shape: Shape) -> type[model.ModelHandler]:
    usual = responses.Create if shape.stateful else model.ModelHandler
    return model.serving(shape, objects.listing(shape) or usual)


def _pattern(shape: Shape) -> str:
    return shape.route or re.escape(shape.path.lstrip("/")).replace("/", "/+") + "/*"


def listener_settings(listener: Listener) -> dict[str, Any]:
    """The settings of a listener's application, which a reload changes. timeout: seconds for a whole request. allow_from: Networks."""
    return {"timeout": listener.timeout, "allow_from": Networks(listener.allow_from)}


class ModelApplication(Application):
    """The application of a model listener."""

    def __init__(self, gateway: Gateway, listener: Listener = Listener()) -> None:  # noqa: B008 - it is frozen
        # on other addresses than loopback any name may be the gateway's, so that Host is checked only if `hosts` is configured
        judged = listener.hosts or is_loopback(listener.address)
        self._shared: dict[str, Any] = {"gateway": gateway}
        rows = routes()
        # the usual paths: found without matching patterns
        self._usual = {
            f"/v1{shape.path}": handler for shape, (_, handler, _) in zip(SHAPES.values(), rows, strict=False) if not shape.route
        }
        super().__init__(
            [(pattern, handler, self._shared) for pattern, handler, _ in rows],
            openapi=openapi.document(rows),
            default_handler_class=unserved.Unserved,
            default_handler_args=self._shared,
            hosts=Hosts(listener.hosts) if judged else None,
            **listener_settings(listener),
        )

    def log_request(self, handler: RequestHandler) -> None:
        """Overridden to do nothing: an exchange writes its own line."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:  # type: ignore[override]
        usual = self._usual.get(request.path)
        return super().find_handler(request) if usual is None else self.get_handler_delegate(request, usual, self._shared)

    def get_handler_delegate(  # type: ignore[override]
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> HTTPMessageDelegate:
        assert issubclass(target_class, base.Handler)
        return dispatch.Dispatch(self, request, target_class, target_kwargs or {}, path_args or (), path_kwargs or {})

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return dispatch.Reception(self, request_conn)


def make_admin_app(admin: Admin, listener: Listener, desk: Desk | None = None) -> Application:
    """The application of an admin listener. desk: of the control store; None: nobody has to sign in."""
    shared: dict[str, Any] = {"admin": admin, "hosts": Hosts(listener.hosts), "desk": desk}
    routes = [
        (r"/metrics", admin_pages.Metrics),
        (r"/explain", admin_pages.Explain),
        (r"/capabilities", admin_pages.Capabilities),
        (r"/(?:inspector/)?", admin_pages.File),
        (r"/inspector/exchanges", admin_pages.Exchanges),
        (r"/inspector/exchanges/([0-9a-f-]+)", admin_pages.Exchange),
        (r"/inspector/live", admin_pages.Live),
        (r"/inspector/live/([0-9a-f-]+)", admin_pages.LiveExchange),
        (r"/inspector/switch", admin_pages.Switch),
        (r"/inspector/([a-z-]+\.[a-z]+)", admin_pages.File),
    ]
    if desk is not None:
        from ..handlers import control, team

        routes += control.ROUTES + team.ROUTES
    return Application(
        [(pattern, handler, shared) for pattern, handler in routes],
        default_handler_class=admin_pages.NotFound,
        default_handler_args=shared,
        **listener_settings(listener),
    )
