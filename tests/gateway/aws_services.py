"""Doubles of the services that give AWS credentials: one HTTP server that plays the instance's metadata service, the container's, STS
and SSO. Every answer can be scripted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from ..scripted import Provider, Request, Steps, respond

ROLE = "arn:aws:iam::123456789012:role/llm"


class AwsServices(Provider):
    """asked: what was asked for, in order. life: seconds of each session. before: steps in front of each answer.

    issued: the secret and the session token by the id of each key that was given out.
    """

    def __init__(self, life: float = 3600, broken: Callable[[Request], Steps] | None = None) -> None:
        super().__init__(self._script)
        self.life, self.broken = life, broken
        self.asked: list[str] = []
        self.tokens: list[str] = []  # web identities
        self.issued: dict[str, str | tuple[str, str]] = {}

    def _script(self, request: Request) -> Steps:
        path = request.target.partition("?")[0]
        if path == "/latest/api/token":
            return [respond(b"metadata-token", x_aws_ec2_metadata_token_ttl_seconds="21600")]
        if path == "/latest/meta-data/iam/security-credentials/":
            return [respond(b"llm-role")]
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        kind = form.get("Action") or {"/creds": "container", "/federation/credentials": "sso"}.get(path, "instance")
        self.asked.append(kind)
        if "WebIdentityToken" in form:
            self.tokens.append(form["WebIdentityToken"])
        if self.broken is not None:
            return self.broken(request)
        number = len(self.asked)
        key, secret, token = f"ASIA{kind}{number}", f"secret-{number}", f"session-token-{number}"
        self.issued[key] = (secret, token)
        ends = datetime.now(UTC) + timedelta(seconds=self.life)
        stamp = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        if "Action" in form:
            inner = (
                f"<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
                f"<SessionToken>{token}</SessionToken><Expiration>{stamp}</Expiration></Credentials>"
            )
            text = (
                f"<{kind}Response xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><{kind}Result>{inner}</{kind}Result></{kind}Response>"
            )
            return [respond(text.encode(), content_type="text/xml")]
        if kind == "sso":
            role = {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": token, "expiration": int(ends.timestamp() * 1000)}
            return [respond({"roleCredentials": role})]
        found = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": stamp, "Code": "Success", "Type": "AWS-HMAC"}
        return [respond(found)]


def denied(request: Request) -> Steps:
    text = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>sk-hidden is not allowed</Message></Error></ErrorResponse>"
    return [respond(text.encode(), 403, content_type="text/xml")]
