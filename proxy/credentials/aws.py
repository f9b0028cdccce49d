"""AWS's credentials: keys of the entry, or botocore's chain (extra dragoman[aws]) and the roles that it assumes.

botocore is imported when the first credential is asked for, in its thread. Each time a session of its own looks through the chain anew
(environment, profile, web identity, SSO, files, container, instance), because files and roles may have changed. The text of its errors
is not used: it can hold what was sent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from pathlib import Path
from time import time
from typing import Any, ClassVar

from ...conf.model import Aws
from . import sigv4
from .source import Credential, Fault

PACKAGES = ("botocore",)
READ_AGAIN = 300.0  # seconds after which files without an end are read again
SKEW = 240.0  # seconds by which two clocks may differ before ours is corrected
_ENDED = frozenset({"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException"})
_SIGNATURES = frozenset({"InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "ExpiredTokenException"})
_WORD = re.compile(r"[\w.-]{1,64}")
_CODE = re.compile(r"[A-Za-z.]{1,64}")


@dataclass(slots=True)
class Clock:
    """offset: seconds by which the service's clock is ahead of ours."""

    offset: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Keys(Credential):
    """Signs requests. token: of the session, or ""."""

    key_id: str = ""
    secret: str = field(default="", repr=False)
    clock: Clock = field(default_factory=Clock)

    signs: ClassVar[bool] = True

    @property
    def headers(self) -> dict[str, str]:
        return {}

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.secret, self.token

    def refused(self, status: int, headers: Mapping[str, str]) -> bool:
        return status in (400, 401, 403) and error_type(headers) in _ENDED

    def corrected(self, status: int, headers: Mapping[str, str]) -> bool:
        if status != 403 or error_type(headers) not in _SIGNATURES:
            return False
        try:
            theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except (TypeError, ValueError):
            return False
        offset = theirs - time()
        if abs(offset - self.clock.offset) < SKEW:
            return False
        self.clock.offset = offset
        return True

    def sign(self, method: str, target: str, headers: Mapping[str, str], body: bytes, place: tuple[str, str]) -> dict[str, str]:
        keys = (self.key_id, self.secret, self.token)
        return sigv4.authorization(method, target, headers, hashlib.sha256(body).hexdigest(), keys, *place, time() + self.clock.offset)


def error_type(headers: Mapping[str, str]) -> str:
    """The name of an error in an answer's headers; "" without one."""
    return headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]


class AwsGiver:
    """Giver. timeout: seconds for each of the library's calls."""

    def __init__(self, way: Aws, timeout: float) -> None:
        self.name = way.text
        self._way, self._timeout, self._clock = way, timeout, Clock()

    def get(self) -> Credential:
        way = self._way
        if way.access_key_id and not way.role_arn:
            assert way.secret_access_key is not None
            return self._keys(way.access_key_id, way.secret_access_key, way.session_token, None, None)
        exceptions = import_module("botocore.exceptions")
        try:
            return self._assumed() if way.role_arn else self._of_chain()
        except Fault:
            raise
        except exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            said = f" ({code})" if _CODE.fullmatch(code) else ""
            raise Fault(f"{_operation(error.operation_name)} was refused{said}", passing=_passes(error)) from None
        except exceptions.ProfileNotFound:
            raise Fault("its profile is not in the files of AWS", missing=True) from None
        except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
            raise Fault(f"the token service cannot be reached ({type(error).__name__})", passing=True) from None
        except (exceptions.SSOError, exceptions.TokenRetrievalError):
            raise Fault("the SSO session has ended, or is not there: `aws sso login` begins one") from None
        except exceptions.CredentialRetrievalError as error:
            raise Fault(f"its provider `{_word(error.kwargs.get('provider'))}` failed") from None
        except (exceptions.BotoCoreError, OSError, ValueError) as error:
            raise Fault(f"its configuration cannot be used ({type(error).__name__})", missing=True) from None

    def close(self) -> None:
        """Its calls end by their timeouts."""

    def _keys(self, key_id: str, secret: str, token: str | None, ends: float | None, renew_at: float | None) -> Keys:
        for text in (key_id, secret, token or ""):
            if not text.isascii() or not text.isprintable():
                raise Fault("the keys are not of printable ASCII")
        return Keys(token or "", ends, renew_at, key_id, secret, self._clock)

    def _session(self) -> Any:
        way = self._way
        session = import_module("botocore.session").Session(profile=way.profile)
        config = import_module("botocore.config").Config
        seconds = self._timeout
        session.set_default_client_config(
            config(region_name=way.region, connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 2})
        )
        if way.access_key_id:
            session.set_credentials(way.access_key_id, way.secret_access_key, way.session_token)
        return session

    def _of_chain(self) -> Keys:
        found = self._session().get_credentials()
        if found is None:
            raise Fault("no AWS credentials were found (environment, profile, container, instance)", missing=True)
        frozen, ends = found.get_frozen_credentials(), getattr(found, "_expiry_time", None)
        if isinstance(ends, datetime):
            return self._keys(frozen.access_key, frozen.secret_key, frozen.token, ends.timestamp(), None)
        return self._keys(frozen.access_key, frozen.secret_key, frozen.token, None, time() + READ_AGAIN)

    def _assumed(self) -> Keys:
        """The keys of a role."""
        way, session = self._way, self._session()
        asked: dict[str, Any] = {"RoleArn": way.role_arn, "RoleSessionName": way.session_name, "DurationSeconds": int(way.duration)}
        if way.web_identity_token_file is not None:
            try:
                asked["WebIdentityToken"] = Path(way.web_identity_token_file).read_text("ascii").strip()
            except (OSError, UnicodeDecodeError):
                raise Fault("aws.web_identity_token_file cannot be read", missing=True) from None
            unsigned = import_module("botocore.config").Config(signature_version=import_module("botocore").UNSIGNED)
            answer = session.create_client("sts", region_name=way.region, config=unsigned).assume_role_with_web_identity(**asked)
        else:
            if session.get_credentials() is None:
                raise Fault("no AWS credentials were found to assume aws.role_arn with", missing=True)
            if way.external_id:
                asked["ExternalId"] = way.external_id
            answer = session.create_client("sts", region_name=way.region).assume_role(**asked)
        keys = answer["Credentials"]
        return self._keys(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], keys["Expiration"].timestamp(), None)


def _operation(name: str) -> str:
    return _word(name) or "the token service"


def _word(text: object) -> str:
    return text if isinstance(text, str) and _WORD.fullmatch(text) else ""


def _passes(error: Any) -> bool:
    """Whether the service may answer otherwise soon."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return isinstance(status, int) and (status == 429 or status >= 500)
