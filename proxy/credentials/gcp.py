"""Google's credentials, by google-auth (extra dragoman[gcp]): a service account's file, a workload identity, the metadata server…

google-auth is imported when the first credential is asked for, in its thread. The text of its errors is not used: it can hold what was
sent. Its objects must not be renewed by two threads at once; a Source asks one at a time.
"""

from __future__ import annotations

import json
from datetime import UTC
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...conf.model import Google
from .source import Credential, Fault, bearer

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
PROBE = 1.0  # seconds for the question whether there is a metadata server, which the library asks three times
PACKAGES = ("google.auth", "requests")


class _Bounded:
    """The library's transport, with our time for each call."""

    def __init__(self, plain: Any, timeout: float) -> None:
        self._plain, self._timeout = plain, timeout
        self.session = plain.session  # to which the library adds the metadata server's certificate

    def __call__(self, url: str, *given: Any, **named: Any) -> Any:
        most = self._timeout if urlsplit(url).path else min(PROBE, self._timeout)
        return self._plain(url, *given, **named | {"timeout": min(named.get("timeout") or most, most)})


class GoogleGiver:
    """Giver. timeout: seconds for each of the library's calls."""

    def __init__(self, way: Google, timeout: float) -> None:
        self.name = way.text
        self._way, self._timeout = way, timeout
        self._credentials: Any = None

    def get(self) -> Credential:
        exceptions, transport = import_module("google.auth.exceptions"), import_module("google.auth.transport.requests")
        request = _Bounded(transport.Request(), self._timeout)
        try:
            if self._credentials is None:
                self._credentials = self._load(request)
            self._credentials.refresh(request)
        except exceptions.DefaultCredentialsError:
            where = self._way.credentials_file and "gcp.credentials_file cannot be used"
            raise Fault(where or "no credentials were found (environment, gcloud, metadata server)", missing=True) from None
        except exceptions.TransportError:
            raise Fault("the token service cannot be reached", passing=True) from None
        except (KeyError, TypeError, ValueError):
            raise Fault("its file cannot be used", missing=True) from None
        except exceptions.GoogleAuthError as error:
            if isinstance(error.__cause__, exceptions.TransportError):  # of the metadata server
                raise Fault("the token service cannot be reached", passing=True) from None
            self._credentials = None  # its file may be another by the next time
            raise Fault("the token service refused", passing=bool(error.retryable)) from None
        finally:
            request.session.close()
        expiry = self._credentials.expiry  # UTC, without a zone
        return bearer(self._credentials.token, None if expiry is None else expiry.replace(tzinfo=UTC).timestamp())

    def close(self) -> None:
        """Its calls end by their timeouts."""

    def _load(self, request: Any) -> Any:
        auth = import_module("google.auth")
        if self._way.credentials_file is None:
            found, _ = auth.default(scopes=[SCOPE], request=request)
        else:
            try:
                info = json.loads(Path(self._way.credentials_file).read_bytes())
            except (OSError, ValueError):
                raise Fault("gcp.credentials_file cannot be read", missing=True) from None
            found, _ = auth.load_credentials_from_dict(info, scopes=[SCOPE], request=request)
        if self._way.impersonate:
            impersonated = import_module("google.auth.impersonated_credentials")
            found = impersonated.Credentials(found, self._way.impersonate, [SCOPE])
        return found
