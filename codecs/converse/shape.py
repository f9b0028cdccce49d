"""The converse shape as one object: of upstreams alone."""

from __future__ import annotations

from typing import Any, NoReturn

from .. import errors, limits
from ..bedrock import COUNT_OF_CONVERSE, EVENTS, decode_error, members_of, read_error
from ..carrier import Carrier
from ..framing import DATA_ONLY
from ..lessons import REFUSED_BETAS, not_served
from ..probe import Probe
from ..shape import Shape, TokenCount, never
from .request_out import encode_request
from .stream_in import StreamDecoder, decode_response

NAME = "converse"


def _no_caller(*_: Any) -> NoReturn:
    raise errors.LocalBug(f"No caller speaks {NAME}.")


SHAPE = Shape(
    name=NAME,
    api="converse",
    path="/converse",
    rank=9,
    callers=False,
    carrier=Carrier(
        name="bedrock_converse",
        whole="/model/{model}/converse",
        stream="/model/{model}/converse-stream",
        leaves=frozenset({"stream"}),
        settings=members_of,
        framing=EVENTS,
        count=COUNT_OF_CONVERSE,
        read_error=read_error,
    ),
    count=TokenCount("/count-tokens", "v_count_tokens", leaves=()),
    encode_request=encode_request,
    decode_response=decode_response,
    decode_error=decode_error,
    Decoder=StreamDecoder,
    recalls=lambda capabilities: capabilities.v_reasoning_in != "none",
    lessons=(REFUSED_BETAS, not_served(NAME)),
    limits=limits.OPENAI,
    is_error=never,  # errors have a status of their own
    bears="output",
    bears_a=dict,
    overhead=200,
    id_header="x-amzn-requestid",
    betas_at=("additionalModelRequestFields", "anthropic_beta"),
    # of callers
    decode_request=_no_caller,
    Encoder=_no_caller,
    Collector=_no_caller,
    Observer=_no_caller,
    scrub=_no_caller,
    framing=DATA_ONLY,
    errors=errors.OPENAI,
    probe=Probe(_no_caller, _no_caller, _no_caller),
)
