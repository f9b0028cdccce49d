"""Google's credentials, by google-auth (extra dragoman[gcp]): a service account's file, a workload identity, the metadata server…

The text of its errors is not used: it can hold what was sent. Runs in apart.py's process.
"""

from __future__ import annotations

import json
import os
from datetime import UTC
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import trust
from .credential import Fault, busy

if TYPE_CHECKING:
    from ...conf.model import Google

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ENVIRONMENT = "GOOGLE_APPLICATION_CREDENTIALS"  # the variable with the file that the library reads by itself
METADATA = "the metadata server cannot be reached, or failed"
PROBE = 1.0  # seconds for the question whether there is a metadata server, which the library asks three times


class _Bounded:
    """The library's transport, with our time for each call. step: who was asked last; "" if nobody was. status: of the last answer."""

    def __init__(self, plain: Any, timeout: float) -> None:
        trust.accept(plain.session)
        self._plain, self._timeout = plain, timeout
        self.session = plain.session  # to which the library adds the metadata server's certificate
        self.step = ""
        self.status: int | None = None

    def __call__(self, url: str, *positional: Any, **named: Any) -> Any:
        parts = urlsplit(url)
        self.step = "gcp.impersonate" if (parts.hostname or "").startswith("iamcredentials.") else "the token service"
        most = self._timeout if parts.path else min(PROBE, self._timeout)
        self.status = None
        answer = self._plain(url, *positional, **named | {"timeout": min(named.get("timeout") or most, most)})
        self.status = answer.status
        return answer


def authorities() -> str:
    """The file of those that the library trusts."""
    return str(import_module("certifi").where())


def get(way: Google, timeout: float) -> dict[str, Any]:
    """timeout: seconds for each of the library's calls. Raises Fault."""
    exceptions, transport = import_module("google.auth.exceptions"), import_module("google.auth.transport.requests")
    request = _Bounded(transport.Request(), timeout)
    try:
        try:
            credentials, project = _loaded(way, request)
        except (KeyError, TypeError, ValueError):
            raise Fault("its file cannot be used", missing=True) from None
        credentials.refresh(request)
    except exceptions.DefaultCredentialsError:
        if busy(request.status):
            raise Fault(METADATA, passing=True) from None
        where = "gcp.credentials_file" if way.credentials_file else ENVIRONMENT if os.environ.get(ENVIRONMENT) else ""
        message = f"{where} cannot be used" if where else "no credentials were found (environment, gcloud, metadata server)"
        raise Fault(message, missing=True) from None
    except exceptions.TransportError:
        raise Fault(f"{request.step} cannot be reached", passing=True) from None
    except exceptions.GoogleAuthError as error:
        if isinstance(error.__cause__, exceptions.TransportError):
            raise Fault(METADATA, passing=True) from None
        if not request.step:  # a file of it, or a program
            raise Fault("what its file names cannot be used", missing=True) from None
        raise Fault(f"{request.step} refused", passing=bool(error.retryable) or busy(request.status)) from None
    expiry = credentials.expiry  # UTC, without a zone
    ends = None if expiry is None else expiry.replace(tzinfo=UTC).timestamp()
    return {"token": credentials.token, "ends": ends, "renew_at": None, "project": project}


def _loaded(way: Google, request: Any) -> tuple[Any, str | None]:
    """The library's credentials, and the project that they belong to, if they say one."""
    auth = import_module("google.auth")
    if way.credentials_file is None:
        credentials, project = auth.default(scopes=[SCOPE], request=request)
    else:
        try:
            info = json.loads(Path(way.credentials_file).read_bytes())
        except (OSError, ValueError):
            raise Fault("gcp.credentials_file cannot be read", missing=True) from None
        credentials, project = auth.load_credentials_from_dict(info, scopes=[SCOPE], request=request)
    if way.impersonate:
        impersonated = import_module("google.auth.impersonated_credentials")
        credentials = impersonated.Credentials(credentials, way.impersonate, [SCOPE])
    return credentials, project
