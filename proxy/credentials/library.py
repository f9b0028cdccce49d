"""Credentials that a cloud's own library gets, in a process of its own: see apart.py."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from time import time
from typing import Any, NamedTuple
from urllib.parse import quote

from ...codecs import jsontext
from ...conf.model import Aws, Egress, Entra, Exemption, Google, Proxy
from ...conf.read import GOOGLE_NAME
from .. import child
from . import aws
from .credential import PLAIN_LIFE, Credential, Fault, bearer
from .program import Program

CALLS = 6  # a library asks several services, one after the other, and some of them again

_ARGV = child.argv("credentials.apart")
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# always reached directly: this machine, and the services that give its own credentials
HERE = (
    *("localhost", "127.0.0.1", "127.0.0.0/8", "::1", "metadata.google.internal", "fd00:ec2::254"),
    *("169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.0/16"),  # botocore knows no blocks
)


class Row(NamedTuple):
    """module: in this room, which asks the library. extra: that installs it. packages: that must be there for it."""

    module: str
    extra: str
    packages: tuple[str, ...]


ROWS: dict[type, Row] = {
    Aws: Row("chain", "aws", ("botocore",)),
    Google: Row("gcp", "gcp", ("google.auth", "requests")),
    Entra: Row("azure", "azure", ("azure.identity",)),
}


class Library:
    """Giver. way: what is asked of which library. egress: how it reaches its services, and for how many seconds."""

    def __init__(self, way: Aws | Google | Entra, egress: Egress) -> None:
        self.name = way.text
        trusted = egress.certificates
        self._asked = {
            "module": ROWS[type(way)].module,
            "way": asdict(way),
            "timeout": egress.credential_timeout,
            "ca_file": trusted.ca_file,
            "ca_only": trusted.ca_only,
        }
        self._made = made(way)
        self._program = Program(_ARGV, CALLS * egress.credential_timeout, "its process ", partial(surroundings, egress))

    def get(self, *, ahead: bool = False) -> Credential:
        try:
            answer = jsontext.loads(self._program.output(json.dumps(self._asked).encode(), ahead=ahead))
        except ValueError:
            raise Fault("its process did not answer") from None
        return self._made(answer)

    def close(self) -> None:
        self._program.close()


def made(way: Aws | Google | Entra) -> Callable[[dict[str, Any]], Credential]:
    """Makes credentials of a process's answers. They raise Fault."""
    return partial(_credential, partial(aws.keys, aws.Clock()) if isinstance(way, Aws) else _bearer)


def _credential(read: Callable[[Mapping[str, Any]], Credential], answer: dict[str, Any]) -> Credential:
    if "fault" in answer:
        raise Fault(answer["fault"], missing=answer["missing"], passing=answer["passing"])
    if answer["ends"] is None and answer["renew_at"] is None:  # files may change
        answer["renew_at"] = time() + PLAIN_LIFE
    return read(answer)


def _bearer(fields: Mapping[str, Any]) -> Credential:
    project = fields.get("project")
    named = isinstance(project, str) and GOOGLE_NAME.fullmatch(project) is not None  # it becomes a part of a URL
    return bearer(fields["token"], fields["ends"], fields["renew_at"], project if named else None)


def surroundings(egress: Egress) -> dict[str, str]:
    """The environment of the process: this one's, with the proxies of the configuration."""
    variables = {name: value for name, value in os.environ.items() if name.lower() not in _VARIABLES}
    exempt = ",".join((*HERE, *map(_item, egress.exempt)))
    for name, value in zip(_VARIABLES, (_url(egress.proxies.http), _url(egress.proxies.https), "", exempt), strict=True):
        if value:
            variables |= {name: value, name.upper(): value}
    return variables


def _url(proxy: Proxy | None) -> str:
    if proxy is None:
        return ""
    user, colon, password = (proxy.login or "").partition(":")
    return f"http://{quote(user, safe='')}{colon}{quote(password, safe='')}{'@' if proxy.login else ''}{proxy}"


def _item(exemption: Exemption) -> str:
    block = exemption.block
    if block is None:
        host = exemption.name or "*"
    elif block.prefixlen < block.max_prefixlen:
        host = str(block)
    else:
        address = str(block.network_address)
        host = f"[{address}]" if ":" in address and exemption.port is not None else address
    return host if exemption.port is None else f"{host}:{exemption.port}"
