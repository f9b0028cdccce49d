"""The table of paths: the one place that knows every handler."""

from __future__ import annotations

from typing import Any

from tornado.web import Application

from ..handlers import base, model, models, passthrough, responses, status, tokens
from .gateway import Gateway

# clients write base URLs with and without /v1, and join them with one slash or two
_V1 = r"/+(?:v1/+)*"


def routes() -> list[tuple[str, type[base.Handler]]]:
    """Path patterns and their handlers; the first that fits is taken."""
    return [
        (_V1 + r"chat/+completions/*", model.ChatHandler),
        (_V1 + r"messages/*", model.MessagesHandler),
        (_V1 + r"responses/*", model.ResponsesHandler),
        (_V1 + r"messages/+count_tokens/*", tokens.CountTokens),
        (_V1 + r"responses/+input_tokens/*", tokens.InputTokens),
        (_V1 + r"responses/+([^/]+)/+cancel/*", responses.Cancel),
        (_V1 + r"responses/+([^/]+)/+input_items/*", responses.InputItems),
        (_V1 + r"responses/+([^/]+)/*", responses.Stored),
        (_V1 + r"models/*", models.ModelList),
        (_V1 + r"models/+(.+?)/*", models.ModelInfo),
        (_V1 + passthrough.PATHS, passthrough.Passthrough),
        (r"/healthz", status.Health),
        (r"/readyz", status.Ready),
        (r"/(?:api/hello)?", status.Hello),
    ]


def make_app(gateway: Gateway) -> Application:
    """The application of a model listener."""
    shared: dict[str, Any] = {"gateway": gateway}
    return Application(
        [(pattern, handler, shared) for pattern, handler in routes()],
        default_handler_class=base.NotFound,
        default_handler_args=shared,
    )
