"""The section `aws` of an entry: where its upstream is, how its requests are signed, and what its model is.

Nothing is asked here: all is decided from the file, the environment and the profile's region in `~/.aws/config`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from typing import Any
from urllib.parse import urlsplit

from ..codecs.bedrock import MOST_METADATA
from . import read
from .document import Path
from .model import Aws

Row = Mapping[str, Any]

REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
BEARERS = {
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK",
    "bedrock-mantle": "AWS_BEARER_TOKEN_BEDROCK",
    "aws-external-anthropic": "ANTHROPIC_AWS_API_KEY",
}
WORKSPACE = "ANTHROPIC_AWS_WORKSPACE_ID"
LONGEST_MODEL = 2048  # characters of an id
WORKSPACES = "aws-external-anthropic"  # the service that has them

# by the beginning of a region: what its hosts end with. Source: openai 3.57, providers/bedrock
_SUFFIXES = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "us-isof-": "csp.hci.ic.gov",
}
_FIPS = {"runtime": "", "runtime-fips": "-fips"}
ENDPOINTS = tuple(_FIPS)

SIGNED = frozenset({"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"})

# keys that say how the credential is got
KEYS = ("access_key_id", "secret_access_key", "session_token", "profile", "role_arn", "external_id", "web_identity_token_file")
_OF_WAY = (*KEYS, "session_name", "duration")
_IN_HOST = re.compile(r"(?:us|eu|ap|ca|sa|me|af|il|mx|cn|eusc)(?:-[a-z]{2,9}){1,2}-[0-9]")
IN_REQUESTS = ("guardrail", "request_metadata", "project")
TRACES = ("enabled", "disabled", "enabled_full")
STREAM_MODES = ("sync", "async")
_UNKNOWN = "{aws.region}"

# ---- models ----

# Source: Amazon Bedrock user guide, "Inference profiles" and "Model IDs", November 2026
GEOGRAPHIES = ("us", "eu", "apac", "jp", "au", "ca", "in", "global", "us-gov")
_VENDORS = frozenset(
    {
        *("ai21", "amazon", "anthropic", "cohere", "deepseek", "google", "luma", "meta", "minimax", "mistral", "moonshot", "moonshotai"),
        *("nvidia", "openai", "qwen", "stability", "twelvelabs", "writer", "xai", "zai"),
    }
)
_ARN = re.compile(r"arn:aws[a-z-]{0,16}:[a-z-]{1,20}:([a-z0-9-]{0,40}):[0-9]{0,12}:(.+)")
_TELLING = re.compile(r"(?:inference-profile|foundation-model)/(.+)")
_VERSION = re.compile(r"-v[0-9]{1,3}(?::[0-9]{1,3}(?::[0-9a-z]{1,8})?)?\Z")


def known_model(name: str) -> str:
    """A model of Bedrock as tables have it: `vendor/model`; a name that says nothing of it as it is."""
    arn = _ARN.fullmatch(name)
    telling = _TELLING.fullmatch(arn[2]) if arn else None
    if arn and not telling:
        return name
    plain = telling[1] if telling else name
    head, _, rest = plain.partition(".")
    if head in GEOGRAPHIES:
        head, _, rest = rest.partition(".")
    if head not in _VENDORS or not rest:
        return name
    return f"{head}/{_VERSION.sub('', rest)}"


def opaque(name: str) -> bool:
    """Whether a model's id says nothing of the model."""
    return name.startswith("arn:") and known_model(name) == name


def region_of_model(name: str) -> str | None:
    """The region in the ARN of a model."""
    arn = _ARN.fullmatch(name)
    return (arn[1] or None) if arn else None


# the regions of a geography; global fits every region
_REGIONS_OF = {
    "us": ("us-east", "us-west", "ca-"),
    "eu": ("eu-",),
    "apac": ("ap-",),
    "jp": ("ap-northeast-",),
    "au": ("ap-southeast-",),
    "ca": ("ca-", "us-"),
    "in": ("ap-south-",),
    "us-gov": ("us-gov-",),
}


def elsewhere(name: str, region: str) -> bool:
    """Whether the geography in a model's id is that of other regions: "The provided model identifier is invalid." """
    geography, dot, _ = name.partition(".")
    regions = _REGIONS_OF.get(geography) if dot else None
    return bool(region) and regions is not None and not region.startswith(regions)


# ---- an entry ----


def region(row: Row, environ: Mapping[str, str]) -> str | None:
    section = row.get("aws", {})
    named = section.get("region") or region_of_model(row["model"].partition("/")[2]) or _of_host(row.get("base_url"))
    named = named or next((environ[name] for name in REGIONS if environ.get(name)), None)
    region_name = named or _of_profile(section.get("profile") or environ.get("AWS_PROFILE") or "default", environ)
    return region_name if region_name is None or read.AWS_REGION.fullmatch(region_name) else None


def _of_host(base_url: str | None) -> str | None:
    """The region in the name of a host, as in that of an endpoint of a VPC."""
    labels = (urlsplit(base_url).hostname or "").split(".") if base_url else []
    return next((label for label in labels if _IN_HOST.fullmatch(label)), None)


def _of_profile(profile: str, environ: Mapping[str, str]) -> str | None:
    """The region of a profile, in the file that AWS's own tools read."""
    file = environ.get("AWS_CONFIG_FILE") or (os.path.join(environ["HOME"], ".aws", "config") if environ.get("HOME") else None)
    if file is None:
        return None
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(file, "utf-8")
    except (ConfigError, OSError, UnicodeDecodeError):
        return None
    return parser.get("default" if profile == "default" else f"profile {profile}", "region", fallback=None)


def parts(row: Row, environ: Mapping[str, str]) -> dict[str, str]:
    """What fills the braces of an address."""
    region_name = region(row, environ)
    if region_name is None:
        return {}
    suffix = next((end for start, end in _SUFFIXES.items() if region_name.startswith(start)), "amazonaws.com")
    return {_UNKNOWN: region_name, "{aws.suffix}": suffix, "{aws.fips}": _FIPS[row.get("aws", {}).get("endpoint", "runtime")]}


def way(row: Row, environ: Mapping[str, str]) -> Aws:
    section = row.get("aws", {})
    return Aws(region=region(row, environ) or "", **{key: section[key] for key in _OF_WAY if key in section})


def bearer(row: Row, service: str, environ: Mapping[str, str]) -> str | None:
    """The variable with the key of an entry that names no credential."""
    variable = BEARERS.get(service)
    return variable if variable and environ.get(variable) and not any(key in row.get("aws", {}) for key in KEYS) else None


def headers(row: Row, service: str, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What every request of an entry is sent with."""
    workspace = row.get("aws", {}).get("workspace_id") or environ.get(WORKSPACE)
    return (("anthropic-workspace-id", workspace),) if service == WORKSPACES and workspace else ()


# ---- what is wrong ----


def problems(row: Row, service: str, signs: bool, base_url: str, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """What can be seen once variables are known. signs: whether the entry's requests are signed."""
    if region(row, environ) is None and (signs or _UNKNOWN in base_url):
        variables = " nor ".join(REGIONS)
        yield ("aws", "region"), f"is missing: neither the model's ARN, {variables} nor the profile says a region (such as us-east-1)"
    for name in row.get("headers", {}) if signs else ():
        if name.lower() in SIGNED:
            yield ("headers", name), "is a header of the signature"
    model = row["model"].partition("/")[2]
    if model in (".", "..") or model.startswith(";"):
        yield ("model",), "names no model"
    if len(model) > LONGEST_MODEL:
        yield ("model",), f"is longer than {LONGEST_MODEL} characters"
    if service == WORKSPACES and not headers(row, service, environ):
        yield ("aws", "workspace_id"), f"is missing, and the environment has no {WORKSPACE}"


def halves(section: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """A check of a section by itself: keys without the others that they need."""
    needs = (
        ("access_key_id", "secret_access_key"),
        ("secret_access_key", "access_key_id"),
        ("session_token", "access_key_id"),
        ("external_id", "role_arn"),
        ("session_name", "role_arn"),
        ("duration", "role_arn"),
        ("web_identity_token_file", "role_arn"),
    )
    for key, other in needs:
        if key in section and other not in section:
            yield (other,), f"is missing: {key} needs it"
    metadata = section.get("request_metadata")
    if isinstance(metadata, dict) and len(metadata) > MOST_METADATA:
        yield ("request_metadata",), f"must have at most {MOST_METADATA} names"
    if "access_key_id" in section and "profile" in section:
        yield ("profile",), "is not used: aws.access_key_id is there"
    if "web_identity_token_file" in section:
        for key in ("access_key_id", "profile"):
            if key in section:
                yield (key,), "is not used: aws.web_identity_token_file is there"
