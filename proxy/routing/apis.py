"""Over which of its APIs an upstream is called for a caller of each shape, and why; and the URLs of these APIs."""

from __future__ import annotations

from typing import Any

from ...codecs.capabilities import Capabilities
from ...codecs.carrier import Carrier
from ...codecs.carriers import CARRIERS
from ...codecs.registry import in_order, of_api
from ...codecs.shape import Shape
from ...conf.model import Provider

HAS_TOOLS: dict[str, Any] = {"tools": [{}]}  # the members of a body with tools, in any shape


def spoken(own: Shape, provider: Provider, capabilities: Capabilities) -> list[tuple[Shape, str]]:
    """The shapes in which an upstream can be called for a caller of this shape, in order, each with its reason.

    The caller's own shape comes first. Among the others, one over whose API the model refuses tools (Shape.refuses) comes last,
    unless the provider configures the order.
    """
    served = tuple(api for api in provider.apis if api not in capabilities.unserved) or provider.apis
    if provider.apis_in_order:
        shapes = [of_api(api) for api in served]
        shapes.sort(key=lambda shape: shape is not own)
    else:
        shapes = in_order(own, served, lambda shape: shape.refuses(HAS_TOOLS, capabilities, False), capabilities.preferred)
    preferred = () if provider.apis_in_order else capabilities.preferred
    return [(shape, _why(own, shape, shapes, served, provider, preferred)) for shape in shapes]


def _why(own: Shape, shape: Shape, shapes: list[Shape], served: tuple[str, ...], provider: Provider, preferred: tuple[str, ...]) -> str:
    if shape is not shapes[0]:
        return f"{shape.api} is used for what is refused over the API before it"
    if shape is own:
        return f"it serves {own.api}, nothing is translated"
    if own.api in provider.apis and own.api not in served:
        return f"the model is not served over {own.api}, {shape.api} is the first over which it is"
    if shape.api in preferred:
        return f"it does not serve {own.api}, {shape.api} is preferred for the model"
    if not provider.apis_in_order and shape.rank > shapes[-1].rank:
        return f"it does not serve {own.api}, {shape.api} takes what the model refuses over {shapes[-1].api}"
    return f"it does not serve {own.api}, {shape.api} is the first that it serves"


def carrier_of(shape: Shape, provider: Provider) -> Carrier | None:
    """How an API travels to the upstreams of an entry, if not as at its own vendor."""
    name = provider.carriers.get(shape.api)
    return shape.carrier if name is None else CARRIERS[name]


def endpoint(shape: Shape, provider: Provider, model_id: str, capabilities: Capabilities) -> str:
    """The URL of a request for a complete answer."""
    carrier = carrier_of(shape, provider)
    base, model, query = provider.base_url, provider.called(model_id), f"?{provider.query}" if provider.query else ""
    return shape.endpoint(base, model, query=query) if carrier is None else carrier.url(base, model, False, capabilities.at_detour) + query
