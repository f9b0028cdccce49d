"""Microsoft Entra's credentials, by azure-identity (extra dragoman[azure]): a managed identity, a workload identity, an application…

The text of its errors is not used: it can hold what was sent. Runs in apart.py's process.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import trust
from .credential import Fault
from .heard import Heard

if TYPE_CHECKING:
    from ...conf.model import Entra

UNREACHED = "the token service cannot be reached, or failed"
_TRIED = re.compile(r"^\t([A-Z][A-Za-z]{1,40}Credential)\b", re.MULTILINE)
_STEPS = {
    "EnvironmentCredential": "environment",
    "WorkloadIdentityCredential": "workload identity",
    "ManagedIdentityCredential": "managed identity",
}
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


def authorities() -> str:
    """The file of those that the library trusts."""
    return str(import_module("certifi").where())


def get(way: Entra, timeout: float) -> dict[str, Any]:
    """timeout: seconds for each of the library's calls. Raises Fault."""
    identity, core = import_module("azure.identity"), import_module("azure.core.exceptions")
    plain = import_module("azure.core.pipeline.transport").RequestsTransport
    sender = plain(connection_timeout=timeout, read_timeout=timeout)
    sender.open()
    trust.accept(sender.session)
    heard = Heard(sender)
    try:
        credential = made(way, timeout, identity, heard)
    except (ValueError, OSError) as error:  # what was configured, or a file of it
        raise Fault(f"its configuration cannot be used ({type(error).__name__})", missing=True) from None
    try:
        token = credential.get_token_info(way.scope)
    except identity.CredentialUnavailableError:  # also of a managed identity whose service refuses: the library does not tell
        raise Fault(UNREACHED, passing=True) if heard.busy else Fault("there is none here, or its service refused", missing=True) from None
    except core.ClientAuthenticationError as error:
        raise (_of_chain(credential, str(error.message), heard) if way.kind == "default" else _refused(error, core, heard)) from None
    except core.AzureError:
        raise Fault(UNREACHED, passing=True) from None
    except OSError as error:
        raise Fault(f"its file cannot be read ({type(error).__name__})", missing=True) from None
    return {"token": token.token, "ends": token.expires_on, "renew_at": token.refresh_on}


def _refused(error: Any, core: Any, heard: Heard) -> Fault:
    """error: a ClientAuthenticationError. The library makes one of whatever goes wrong on the way to the service, too."""
    cause = error.__cause__
    if isinstance(cause, core.AzureError) or heard.busy:
        return Fault(UNREACHED, passing=True)
    if cause is not None:
        return Fault(f"what the token service answered makes no sense ({type(cause).__name__})", passing=True)
    return Fault("the token service refused")


def _of_chain(credential: Any, message: str, heard: Heard) -> Fault:
    """message: the library's, of which nothing but the names of its own classes is read. The last one is where it stopped."""
    tried = _TRIED.findall(message)
    if tried and tried[-1] not in (type(credential.credentials[-1]).__name__, "AzureCliCredential"):
        reason = f"its step `{_STEPS.get(tried[-1], tried[-1])}` was refused, or failed"
        return Fault(reason, passing=heard.busy or heard.status is None)
    if heard.busy:
        return Fault(UNREACHED, passing=True)
    return Fault("no credential was found (environment, workload identity, managed identity, az)", missing=True)


def made(way: Entra, timeout: float, identity: Any, heard: Heard) -> Any:
    """The library's own credential. identity: the library."""
    kind, parameters = _CLASSES[way.kind]
    options = {named: getattr(way, key) for key, named in parameters.items() if getattr(way, key) is not None}
    if way.kind in ("default", "cli"):  # these start programs
        options["process_timeout"] = max(1, int(timeout))
    if way.kind != "cli":
        options |= {"transport": heard, "retry_total": RETRIES, "retry_status": RETRIES}
    return getattr(identity, kind)(**options)
