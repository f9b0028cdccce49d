"""A double of Amazon Bedrock: it verifies each request's signature with botocore's own signer, and answers as a test decides."""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from ..scripted import Provider, Request, Step, Steps, respond

KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOT_SIGNED = ("user-agent", "traceparent", "tracestate", "connection", "x-request-id", "accept-encoding", "content-length")
SKEW = timedelta(minutes=5)


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of an event stream."""
    raw = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode() for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(raw) + len(payload), len(raw))
    prelude += struct.pack(">I", crc32(prelude))
    return prelude + raw + payload + struct.pack(">I", crc32(prelude + raw + payload))


def event(name: str, value: dict[str, Any]) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(value).encode())


def chunk_of(data: bytes) -> bytes:
    """An event of the carried API, as InvokeModelWithResponseStream sends it."""
    return event("chunk", {"bytes": b64encode(data).decode(), "p": "abcdef"})


def exception(name: str, message: str, **more: Any) -> bytes:
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message, **more}).encode())


def streamed(*frames: bytes) -> list[Step]:
    body = b"".join(frames)
    return [respond(body, content_type="application/vnd.amazon.eventstream", x_amzn_requestid="req-1")]


def refused(status: int, name: str, message: str, **headers: str) -> Steps:
    return [respond({"message": message}, status, x_amzn_errortype=f"{name}:http://internal.amazon.com/coral/", **headers)]


class Bedrock(Provider):
    """answer: the steps for a request whose signature is good.

    keys: the secrets by key id; a value may be a pair with the session token. offset: by how much its clock is ahead. wrong: why requests
    were refused.
    """

    def __init__(
        self,
        answer: Callable[[Request], Steps],
        service: str = "bedrock",
        region: str = "us-east-1",
        keys: dict[str, str | tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(self._script)
        self._answer, self._service, self._region = answer, service, region
        self.keys: dict[str, str | tuple[str, str]] = {KEY_ID: SECRET} if keys is None else keys
        self.offset = timedelta()
        self.wrong: list[str] = []
        self.used: list[str] = []  # ids of keys

    def _script(self, request: Request) -> Steps:
        wrong = self.verify(request)
        if wrong:
            self.wrong.append(wrong)
            name = "ExpiredTokenException" if wrong == "the key is unknown" else "InvalidSignatureException"
            date = (datetime.now(UTC) + self.offset).strftime("%a, %d %b %Y %H:%M:%S GMT")
            return refused(403, name, wrong, date=date)
        return self._answer(request)

    def verify(self, request: Request) -> str:
        """Why a request is refused; "" if its signature is good."""
        given = request.headers.get("authorization", "")
        if given.startswith("Bearer "):
            return "" if not any(name.startswith("x-amz-") for name in request.headers) else "signed, too"
        if not given.startswith("AWS4-HMAC-SHA256 "):
            return "not signed"
        fields = dict(part.split("=", 1) for part in given.removeprefix("AWS4-HMAC-SHA256 ").split(", "))
        key_id, day, region, service, _ = fields["Credential"].split("/")
        names = fields["SignedHeaders"].split(";")
        if (region, service) != (self._region, self._service):
            return f"signed for {region} and {service}"
        unsigned = [
            name for name in request.headers if (name.startswith("x-amz") or name in ("host", "content-type")) and name not in names
        ]
        if unsigned or set(names) & set(NOT_SIGNED):
            return f"signed are {names}"
        stamp = request.headers["x-amz-date"]
        made = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(datetime.now(UTC) + self.offset - made) > SKEW or stamp[:8] != day:
            return f"Signature expired: {stamp} is now earlier than (… - 5 min.)"
        if hashlib.sha256(request.body).hexdigest() != request.headers["x-amz-content-sha256"]:
            return "the body is another"
        if key_id not in self.keys:
            return "the key is unknown"
        secret = self.keys[key_id]
        secret, token = (secret, None) if isinstance(secret, str) else secret
        if request.headers.get("x-amz-security-token") != token:
            return "the session token is missing or another"
        headers = {name: request.headers[name] for name in names}
        asked = AWSRequest(request.method, f"http://{request.headers['host']}{request.target}", headers, request.body)
        asked.context["timestamp"] = stamp
        signer = SigV4Auth(Credentials(key_id, secret, token), self._service, self._region)
        signature = signer.signature(signer.string_to_sign(asked, signer.canonical_request(asked)), asked)
        if signature != fields["Signature"]:
            return "the signature does not match"
        self.used.append(key_id)
        return ""
