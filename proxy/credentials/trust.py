"""Which certificates a library accepts that sends by `requests`: those that upstreams may have (wire/egress.py), on every Python.

urllib3 demands of authorities what ssl.create_default_context does from Python 3.13 on, and private ones often lack.
"""

from __future__ import annotations

import ssl
from importlib import import_module
from typing import Any


def accept(session: Any) -> None:
    """session: of requests."""
    context = import_module("urllib3.util").create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT

    class Adapter(import_module("requests.adapters").HTTPAdapter):  # type: ignore[misc]
        def init_poolmanager(self, *positional: Any, **named: Any) -> None:
            super().init_poolmanager(*positional, **named, ssl_context=context)

        def proxy_manager_for(self, *positional: Any, **named: Any) -> Any:
            return super().proxy_manager_for(*positional, **named, ssl_context=context)

    session.mount("https://", Adapter())
