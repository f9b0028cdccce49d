"""Ways in which one API is spoken: where two descriptions of it part, and a caller has to be answered by one of them.

Only the Responses API has several: OpenAI's own, and that of Open Responses. What both allow is said the same in both; a dialect is
the rest, as data.
"""

from __future__ import annotations

from typing import NamedTuple


class Dialect(NamedTuple):
    """thoughts: what the events of reasoning that is no summary are called, without `.delta` and `.done`. failure: the events that tell
    that an answer broke off, in order. end: what a stream of server-sent events ends with, behind its last event. complete: whether
    objects of upstreams of this API are filled up, unless the operator says otherwise. asked_by: a request header that asks for it.
    """

    thoughts: str
    failure: tuple[str, ...]
    end: bytes
    complete: bool
    asked_by: str = ""


FAILED, ERROR = "response.failed", "error"

OPENAI = Dialect("response.reasoning_text", (FAILED, ERROR), b"", complete=False)
OPEN = Dialect("response.reasoning", (ERROR, FAILED), b"data: [DONE]\n\n", complete=True, asked_by="OpenResponses-Version")
