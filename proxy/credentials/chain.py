"""AWS's credentials by botocore (extra dragoman[aws]): its chain, and the roles that are assumed with what it finds.

Each time a session of its own looks through the chain (environment, profile, web identity, SSO, files, container, instance), because
files and roles may have changed. The text of botocore's errors is not used: it can hold what was sent. Runs in apart.py's process.
"""

from __future__ import annotations

import re
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .credential import Fault, busy
from .heard import Heard

if TYPE_CHECKING:
    from ...conf.model import Aws

_SERVICES = frozenset({"container-role", "iam-role"})  # steps that may answer otherwise soon
_BUSY = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "IDPCommunicationError"})
_WORD = re.compile(r"[\w.-]{1,64}")
_CODE = re.compile(r"[A-Za-z.]{1,64}")
_LEAST = 4  # characters of a web identity

Fields = dict[str, Any]


def authorities() -> str:
    """The file of those that the library trusts."""
    return str(import_module("botocore.httpsession").where())


def get(way: Aws, timeout: float) -> Fields:
    """timeout: seconds for each of the library's calls. Raises Fault."""
    exceptions = import_module("botocore.exceptions")
    steps: list[str] = []  # of the chain, the last one where it stopped
    try:
        return _assumed(way, timeout, steps) if way.role_arn else _fields(*_of_chain(_session(way, timeout), way, steps))
    except Fault:
        raise
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        shown = f" ({code})" if _CODE.fullmatch(code) else ""
        passing = code in _BUSY or busy(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        raise Fault(f"{_word(error.operation_name) or 'the token service'} was refused{shown}", passing=passing) from None
    except exceptions.ProfileNotFound:
        raise Fault("its profile is not in the files of AWS", missing=True) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise Fault(f"the token service cannot be reached ({type(error).__name__})", passing=True) from None
    except (exceptions.SSOError, exceptions.TokenRetrievalError):
        raise Fault("the SSO session has ended, or is not there: `aws sso login` begins one") from None
    except exceptions.CredentialRetrievalError as error:
        provider = _word(error.kwargs.get("provider"))
        raise Fault(f"its step `{provider}` failed", passing=provider in _SERVICES) from None
    except (exceptions.BotoCoreError, OSError) as error:
        where = f"its step `{steps[-1]}`" if steps else "its configuration"
        raise Fault(f"{where} cannot be used ({type(error).__name__})", missing=True) from None
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if not steps:
            raise  # of the token service's answer
        message = f"what its step `{steps[-1]}` gave makes no sense ({type(error).__name__})"
        raise Fault(message, passing=steps[-1] in _SERVICES) from None


def _fields(key_id: str, secret: str, token: str | None, ends: float | None) -> Fields:
    return {"key_id": key_id, "secret": secret, "token": token or "", "ends": ends, "renew_at": None}


def _session(way: Aws, timeout: float) -> Any:
    session = import_module("botocore.session").Session(profile=way.profile)
    config = import_module("botocore.config").Config
    session.set_default_client_config(
        config(region_name=way.region, connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": 2})
    )
    return session


def _of_chain(session: Any, way: Aws, steps: list[str]) -> tuple[str, str, str | None, float | None]:
    """The keys, the token and the end of what the first step of the chain finds that finds something. Raises Fault."""
    if way.access_key_id and way.secret_access_key:
        return way.access_key_id, way.secret_access_key, way.session_token, None
    instance: Heard | None = None  # the step that hides why it found nothing
    for provider in session.get_component("credential_provider").providers:
        steps.append(_word(provider.METHOD))
        if (fetcher := getattr(provider, "_role_fetcher", None)) is not None:
            fetcher._session = instance = Heard(fetcher._session)
        credentials = provider.load()
        if credentials is not None:
            frozen, ends = credentials.get_frozen_credentials(), getattr(credentials, "_expiry_time", None)
            return frozen.access_key, frozen.secret_key, frozen.token, ends.timestamp() if isinstance(ends, datetime) else None
    if instance is not None and instance.busy:
        raise Fault("the instance's metadata service failed", passing=True)
    place = " to assume aws.role_arn with" if way.role_arn else " (environment, profile, container, instance)"
    raise Fault(f"no AWS credentials were found{place}", missing=True)


def _assumed(way: Aws, timeout: float, steps: list[str]) -> Fields:
    """The keys of a role."""
    session = _session(way, timeout)
    asked: dict[str, Any] = {"RoleArn": way.role_arn, "RoleSessionName": way.session_name, "DurationSeconds": int(way.duration)}
    if way.web_identity_token_file is not None:
        asked["WebIdentityToken"] = _identity(way.web_identity_token_file)
        unsigned = import_module("botocore.config").Config(signature_version=import_module("botocore").UNSIGNED)
        answer = session.create_client("sts", region_name=way.region, config=unsigned).assume_role_with_web_identity(**asked)
    else:
        key_id, secret, token, _ = _of_chain(session, way, steps)
        steps.clear()
        if way.external_id:
            asked["ExternalId"] = way.external_id
        keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret, "aws_session_token": token}
        answer = session.create_client("sts", region_name=way.region, **keys).assume_role(**asked)
    keys = answer["Credentials"]
    return _fields(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], keys["Expiration"].timestamp())


def _identity(file: str) -> str:
    """The token in a file. Raises Fault."""
    try:
        token = Path(file).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise Fault("aws.web_identity_token_file cannot be read", missing=True) from None
    if len(token) < _LEAST:
        raise Fault("aws.web_identity_token_file holds no token", missing=True)
    return token


def _word(text: object) -> str:
    return text if isinstance(text, str) and _WORD.fullmatch(text) else ""
