"""The carriers (see `carrier.py`) by their names in conf/providers.yaml.

Sources: Anthropic's SDK for Python 2.14, `lib/bedrock` and `lib/vertex`; OpenAI's 3.57, `providers/bedrock`; Amazon Bedrock API
reference, "InvokeModel", "InvokeModelWithResponseStream"; Google Cloud, "Use Claude models", as of November 2026.
"""

from __future__ import annotations

from typing import Any

from .bedrock import CHUNKS, COUNT, headers_of, read_error
from .carrier import Carrier
from .chat.errors_in import decode_error

# what stands before the models answers in AWS's form, the models in that of the API
_OF_AWS: dict[str, Any] = {"read_error": read_error, "error_header": "x-amzn-errortype"}

_ROWS = (
    Carrier(
        name="vertex_raw",
        whole="/models/{model}:rawPredict",
        stream="/models/{model}:streamRawPredict",
        safe="@",
        own_count="/models/count-tokens:rawPredict",
        leaves=frozenset({"model"}),
        version="vertex-2023-10-16",
        takes_profile=True,
        read_error=lambda status, body, headers: decode_error(status, body, headers.get("Content-Type", "")),  # Anthropic's, or Google's
    ),
    Carrier(name="vertex_mistral", whole="/models/{model}:rawPredict", stream="/models/{model}:streamRawPredict", safe="@"),
    Carrier(
        name="bedrock_invoke",
        whole="/model/{model}/invoke",
        stream="/model/{model}/invoke-with-response-stream",
        leaves=frozenset({"model", "stream"}),
        version="bedrock-2023-05-31",
        takes_profile=True,
        tiers=frozenset({"priority", "default", "flex", "reserved"}),
        tier_header="x-amzn-bedrock-service-tier",
        settings=headers_of,
        framing=CHUNKS,
        count=COUNT,
        accept_header="x-amzn-bedrock-accept",
        most=25_000_000,
        read_error=read_error,
    ),
    # the paths of OpenAI's API on the runtime's host
    Carrier(name="bedrock_openai", whole="/openai/v1/responses", **_OF_AWS),
    # OpenAI's newer models are behind /openai/v1, all others behind /v1; the wrong one says so
    Carrier(name="mantle_messages", whole="/anthropic/v1/messages", takes_profile=True, **_OF_AWS),
    Carrier(name="mantle_responses", whole="/openai/v1/responses", detour="/v1/responses", **_OF_AWS),
    Carrier(name="mantle_chat", whole="/openai/v1/chat/completions", detour="/v1/chat/completions", **_OF_AWS),
    # Azure OpenAI's dated versions: the path names the deployment
    Carrier(
        name="azure_deployment",
        whole="/deployments/{model}/chat/completions",
        beside="/deployments/{model}",
        leaves=frozenset({"model"}),
    ),
)

CARRIERS: dict[str, Carrier] = {carrier.name: carrier for carrier in _ROWS}
