"""Recorded requests of real clients, translated into both other shapes: none may fail for a reason that is not in the request.

The recordings are not part of this repository: DRAGOMAN_CORPUS names their folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from dragoman.codecs import errors
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES

CORPUS = os.environ.get("DRAGOMAN_CORPUS", "")
PAIRS = [(client, upstream) for client in SHAPES for upstream in SHAPES if client != upstream]
# what a request may be refused for: the other shape has no words for it
REFUSED = {"unsupported_content", "unsupported_parameter"}
# and how: with the flags of the vendors' own hosts
CAPABILITIES = Capabilities(openai_host=True, c_file_parts=True, c_custom_tools=True, m_prefill=True, m_max_output=64000)

pytestmark = pytest.mark.skipif(not CORPUS, reason="DRAGOMAN_CORPUS names no folder of recordings")


def _requests(shape: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for file in sorted(Path(CORPUS).glob(f"recordings/{shape}/*/*/request.json")):
        status = json.loads((file.parent / "meta.json").read_text()).get("status") or 200
        body = json.loads(file.read_text())
        whole = isinstance(body, dict) and ("messages" in body or "input" in body) and not body.get("previous_response_id")
        if status == 200 and whole:
            found.append((file.parent.name, body))
    return found


@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=[f"{client}-{upstream}" for client, upstream in PAIRS])
def test_recorded_requests_are_translated(client: str, upstream: str) -> None:
    wrong = []
    for name, body in _requests(client):
        body.setdefault("model", "m")
        try:
            request = SHAPES[client].decode_request(body)
            encoded = SHAPES[upstream].encode_request(request, CAPABILITIES, "m")
            orjson.dumps(encoded.body)
        except errors.ClientFault as error:
            if error.code not in REFUSED:
                wrong.append(f"{name}: {error.code} {error.message}")
    assert not wrong, "\n".join(wrong)
