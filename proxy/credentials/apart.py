"""The process in which a cloud's library gets one credential: asked on standard input, answered on standard output, both in JSON.

What these libraries do holds the interpreter for a quarter of a second at a time. Imports little, as it is started for each credential.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from importlib import import_module
from tempfile import NamedTemporaryFile
from types import SimpleNamespace
from typing import Any

from .. import child
from .credential import Fault

BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")  # what botocore reads, and requests for the others


def main() -> None:
    out = child.begin(0)
    json.dump(answer(json.load(sys.stdin)), out)
    out.close()


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """asked: the module, the fields of the way, seconds, and the file of authorities, if any."""
    module = import_module(f".{asked['module']}", __package__)
    try:
        with ExitStack() as files:
            if asked["ca_file"] is not None:
                os.environ |= dict.fromkeys(BUNDLES, _trusted(files, module, asked["ca_file"], asked["ca_only"]))
            fields: dict[str, Any] = module.get(SimpleNamespace(**asked["way"]), asked["timeout"])
            return fields
    except Fault as fault:
        return {"fault": fault.message, "missing": fault.missing, "passing": fault.passing}
    except ImportError:
        return {"fault": "its library cannot be imported", "missing": True, "passing": False}
    except Exception as error:  # libraries take answers for what they should be. Its text can hold what was sent
        return {"fault": f"what its service answered makes no sense ({type(error).__name__})", "missing": False, "passing": True}


def _trusted(files: ExitStack, module: Any, ca_file: str, alone: bool) -> str:
    """A file of all authorities: these, and those that the library trusts by itself. Raises Fault."""
    try:
        if alone:
            return ca_file
        both = files.enter_context(NamedTemporaryFile(suffix=".pem"))
        for file in (module.authorities(), ca_file):
            with open(file, "rb") as source:
                both.write(source.read() + b"\n")
        both.flush()
    except OSError as error:
        raise Fault(f"ca_file: {error.strerror}", missing=True) from None
    return both.name


if __name__ == "__main__":
    main()
