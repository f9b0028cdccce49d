"""The Tornado applications of the listeners: the only module that maps paths to handlers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, RequestHandler

from ..codecs.gemini import paths
from ..codecs.registry import SHAPES
from ..codecs.shape import Shape
from ..conf.model import Listener
from ..handlers import admin as admin_pages
from ..handlers import base, conversations, gemini, model, models, passthrough, responses, status, tokens, usage
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


def routes() -> list[tuple[str, type[base.Handler]]]:
    """Path patterns and their handlers; the first match is used."""
    return [
        *((_V1 + _pattern(shape), _handler(shape)) for shape in SHAPES.values()),
        (_V1 + r"messages/+count_tokens/*", tokens.CountTokens),
        (_V1 + r"responses/+input_tokens/*", tokens.InputTokens),
        (_V1 + r"responses/+compact/*", responses.Compact),
        (_V1 + r"responses/+([^/]+)/+cancel/*", responses.Cancel),
        (_V1 + r"responses/+([^/]+)/+input_items/*", responses.InputItems),
        (_V1 + r"responses/+([^/]+)/*", responses.Stored),
        (_V1 + r"conversations/*", conversations.Conversations),
        (_V1 + r"conversations/+([^/]+)/*", conversations.One),
        (_V1 + r"conversations/+([^/]+)/+items/*", conversations.Items),
        (_V1 + r"conversations/+([^/]+)/+items/+([^/]+)/*", conversations.OneItem),
        (_V1 + models.LIST, models.ModelList),
        (_V1 + paths.LISTED, models.PublishedModels),
        (_V1 + paths.CLAUDE, gemini.Predict),
        (_V1 + paths.METHODS, gemini.Method),
        (_V1 + models.ONE, models.ModelInfo),
        (_V1 + passthrough.PATHS, passthrough.Passthrough),
        *((_DEPLOYMENT + _pattern(shape), _handler(shape)) for shape in SHAPES.values() if not shape.route),
        (_DEPLOYMENT + passthrough.PATHS, passthrough.Passthrough),
        (r"/healthz", status.Health),
        (r"/readyz", status.Ready),
        (r"/(?:api/hello)?", status.Hello),
        (r"/+api/+oauth/+usage/*", usage.Usage),
    ]


def _handler(shape: Shape) -> type[model.ModelHandler]:
    return model.serving(shape, responses.Create if shape.stateful else model.ModelHandler)


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
        found = routes()
        # the usual paths: found without matching patterns
        self._usual = {f"/v1{shape.path}": handler for shape, (_, handler) in zip(SHAPES.values(), found, strict=False) if not shape.route}
        super().__init__(
            [(pattern, handler, self._shared) for pattern, handler in found],
            default_handler_class=base.NotFound,
            default_handler_args=self._shared,
            hosts=Hosts(listener.hosts) if judged else None,
            **listener_settings(listener),
        )

    def log_request(self, handler: RequestHandler) -> None:
        """Overridden to do nothing: an exchange writes its own line."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:  # type: ignore[override]
        usual = self._usual.get(request.path)
        return super().find_handler(request) if usual is None else self.get_handler_delegate(request, usual, self._shared)


def make_admin_app(admin: Admin, listener: Listener, desk: Desk | None = None) -> Application:
    """The application of an admin listener. desk: of the control store; None: nobody has to sign in."""
    shared: dict[str, Any] = {"admin": admin, "hosts": Hosts(listener.hosts), "desk": desk}
    found = [
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
        from ..handlers import control

        found += control.ROUTES
    return Application(
        [(pattern, handler, shared) for pattern, handler in found],
        default_handler_class=admin_pages.NotFound,
        default_handler_args=shared,
        **listener_settings(listener),
    )
