"""Microsoft Entra's credentials, by azure-identity (extra dragoman[azure]): a managed identity, a workload identity, an application…

azure-identity is imported when the first credential is asked for, in its thread. It keeps tokens by itself and hands out a new one
when the old one is about to end, which is why asking early is cheap. The text of its errors is not used: it can hold what was sent.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...conf.model import Entra
from .source import Credential, Fault, bearer

PACKAGES = ("azure.identity",)
RETRIES = 1  # of the library; a Source asks again by itself

# by kind: the library's class, and its parameter for each of our keys
_CLASSES: dict[str, tuple[str, dict[str, str]]] = {
    "default": ("DefaultAzureCredential", {"client_id": "managed_identity_client_id", "authority": "authority"}),
    "managed_identity": ("ManagedIdentityCredential", {"client_id": "client_id"}),
    "workload_identity": (
        "WorkloadIdentityCredential",
        {"tenant_id": "tenant_id", "client_id": "client_id", "authority": "authority"},
    ),
    "client_secret": (
        "ClientSecretCredential",
        {"tenant_id": "tenant_id", "client_id": "client_id", "client_secret": "client_secret", "authority": "authority"},
    ),
    "client_certificate": (
        "CertificateCredential",
        {"tenant_id": "tenant_id", "client_id": "client_id", "certificate": "certificate_path", "authority": "authority"},
    ),
    "cli": ("AzureCliCredential", {"tenant_id": "tenant_id"}),
}


class EntraGiver:
    """Giver. timeout: seconds for each of the library's calls."""

    def __init__(self, way: Entra, timeout: float) -> None:
        self.name = way.text
        self._way, self._timeout = way, timeout
        self._credential: Any = None

    def get(self) -> Credential:
        identity, core = import_module("azure.identity"), import_module("azure.core.exceptions")
        try:
            if self._credential is None:
                self._credential = self._made(identity)
            found = self._credential.get_token_info(self._way.scope)
        except identity.CredentialUnavailableError:  # also of a managed identity whose service refuses: the library does not tell
            raise Fault("there is none here, or its service refused", missing=True) from None
        except core.ClientAuthenticationError:
            self._credential = None  # its file may be another by the next time
            if self._way.kind == "default":  # of the whole chain
                raise Fault("no credential was found (environment, workload identity, managed identity, az)", missing=True) from None
            raise Fault("the token service refused, or failed") from None
        except core.AzureError:
            raise Fault("the token service cannot be reached, or failed", passing=True) from None
        except (ValueError, OSError) as error:  # what was configured, or a file of it
            raise Fault(f"its configuration cannot be used ({type(error).__name__})", missing=True) from None
        return bearer(found.token, float(found.expires_on), None if found.refresh_on is None else float(found.refresh_on))

    def close(self) -> None:
        """Its calls end by their timeouts."""

    def _made(self, identity: Any) -> Any:
        kind, parameters = _CLASSES[self._way.kind]
        given = {named: getattr(self._way, key) for key, named in parameters.items() if getattr(self._way, key) is not None}
        if self._way.kind in ("default", "cli"):  # these start programs
            given["process_timeout"] = max(1, int(self._timeout))
        if self._way.kind != "cli":
            given |= {"connection_timeout": self._timeout, "read_timeout": self._timeout, "retry_total": RETRIES, "retry_status": RETRIES}
        return getattr(identity, kind)(**given)
