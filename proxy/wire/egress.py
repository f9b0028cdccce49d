"""TLS contexts for connections to upstreams: the files that the configuration names, opened and checked.

Verification is always on, and there is no switch for it. SSL_CERT_FILE and SSL_CERT_DIR replace the system's authorities, as OpenSSL
has it. One context is shared by all entries with the same files, and so are their connections (pool.Origin).
"""

from __future__ import annotations

import pathlib
import ssl
from collections.abc import Mapping

from ...conf import ConfigError
from ...conf.document import Path
from ...conf.model import Certificates, Config

Contexts = Mapping[Certificates, ssl.SSLContext]


class Unreadable(ConfigError):
    """A file of certificates cannot be used. `str` names the entry, the key and the file. path: of the entry."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__([])
        self.args = (message,)
        self.path = path


def contexts(config: Config) -> Contexts:
    """The contexts of those entries, and of hooks and identity providers, that have certificates of their own. Raises ConfigError."""
    by_certificates: dict[Certificates, ssl.SSLContext] = {}
    entries = enumerate(config.model_providers)
    named: list[tuple[Path, str, Certificates]] = [(("model_providers", index), one.name, one.certificates) for index, one in entries]
    for path, name, certificates in [*named, (("egress",), "egress", config.egress.certificates)]:
        if certificates != Certificates() and certificates not in by_certificates:
            try:
                by_certificates[certificates] = context(certificates)
            except ValueError as error:
                raise Unreadable(f"{name}: {error}", path) from None
    return by_certificates


def faults(config: Config) -> list[tuple[Path, str]]:
    """What `contexts` would raise, and its place."""
    try:
        contexts(config)
    except Unreadable as error:
        return [(error.path, str(error))]
    return []


def context(certificates: Certificates) -> ssl.SSLContext:
    """A client's context. Blocks. Raises ValueError, whose message names the key and the file."""
    ssl_context = ssl.create_default_context(cafile=_trusted(certificates.ca_file) if certificates.ca_only else None)
    ssl_context.minimum_version = ssl.TLSVersion.TLSv1_2
    ssl_context.set_alpn_protocols(["http/1.1"])
    # private authorities, which can be among the system's, often lack extensions that Python demands from 3.13 on (RFC 5280, 4.2.1.1 and
    # 4.2.1.3)
    ssl_context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if certificates.ca_file is not None and not certificates.ca_only:
        ssl_context.load_verify_locations(_trusted(certificates.ca_file))
    client = certificates.client_cert
    if client is not None:
        for key, file in (("cert", client.cert), ("key", client.key)):
            _readable(f"client_cert.{key}", file)
        try:
            ssl_context.load_cert_chain(client.cert, client.key, password=client.key_password or "")  # "": do not prompt for one
        except (OSError, ValueError) as error:
            raise ValueError(f"client_cert: {client.cert} and {client.key}: {_reason(error)}") from None
    return ssl_context


def _trusted(file: str | None) -> str:
    """The name of a file that holds certificates."""
    assert file is not None
    _readable("ca_file", file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:
        raise ValueError(f"ca_file: {file}: {_reason(error)}") from None
    return file


def _readable(key: str, file: str) -> None:
    try:
        pathlib.Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{key}: {file}: {error.strerror}") from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
