"""AWS's credentials in requests, by botocore over real sockets, with doubles of who gives them; each request's signature is verified."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from typing import Any

import orjson
import pytest

from dragoman import conf
from dragoman.proxy.cli import main
from dragoman.proxy.credentials import sources

from ..scripted import Request, Steps, respond
from .aws import KEY_ID, SECRET, Bedrock, chunk_of, streamed
from .aws_services import ROLE, AwsServices
from .bedrock import MESSAGE, MODEL, RAW, ask, asked
from .inside import Inside, inside_once


def config(aws: str = "", more: str = "") -> str:
    return f'model_providers:\n  - {{model: "bedrock/{MODEL}", name: c, base_url: "UPSTREAM", aws: {{region: us-east-1{aws}}}}}\n{more}'


def answers(request: Request) -> Steps:
    return streamed(*map(chunk_of, RAW)) if request.target.endswith("-stream") else [respond(MESSAGE)]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No credential of this machine, and no metadata server. The folder of AWS's files."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / ".aws"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return folder


async def used(text: str, up: Bedrock, times: int = 1, shape: str = "messages", **more: Any) -> list[tuple[int, bytes]]:
    found = []
    async with Inside(text, up) as gateway:
        for _ in range(times):
            status, _, body = await ask(gateway, shape, asked(shape, **more))
            found.append((status, body))
    return found


# ---- each step of the chain (C14) ----


@inside_once
async def test_c14_keys_of_the_environment(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with Bedrock(answers) as up:
        assert (await used(config(), up))[0][0] == 200
    assert (up.used, up.wrong) == ([KEY_ID], [])


@inside_once
async def test_c14_a_profile_of_the_files(alone: Path) -> None:
    (alone / "credentials").write_text(f"[team]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\naws_session_token = t\n")
    with Bedrock(answers, keys={KEY_ID: (SECRET, "t")}) as up:
        assert (await used(config(", profile: team"), up))[0][0] == 200
    assert up.used == [KEY_ID]


@inside_once
async def test_c14_a_profile_with_a_process(alone: Path) -> None:
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    given = {"Version": 1, "AccessKeyId": "ASIAPROCESS", "SecretAccessKey": SECRET, "SessionToken": "t", "Expiration": ends}
    (alone / "given.json").write_text(json.dumps(given))
    (alone / "config").write_text(f"[profile p]\ncredential_process = {sys.executable} -c \"print(open('{alone}/given.json').read())\"\n")
    with Bedrock(answers, keys={"ASIAPROCESS": (SECRET, "t")}) as up:
        assert (await used(config(", profile: p"), up))[0][0] == 200
    assert up.used == ["ASIAPROCESS"]


@inside_once
async def test_c14_a_profile_that_assumes_a_role(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / "config").write_text(f"[profile p]\nrole_arn = {ROLE}\nsource_profile = base\n")
    (alone / "credentials").write_text(f"[base]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    with AwsServices() as services, Bedrock(answers, keys=services.issued) as up:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", services.url)
        assert (await used(config(", profile: p"), up))[0][0] == 200
    assert (services.asked, up.used) == (["AssumeRole"], ["ASIAAssumeRole1"])


@inside_once
async def test_c14_a_role_that_the_entry_assumes(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AwsServices() as services, Bedrock(answers, keys=services.issued) as up:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", services.url)
        keys = f", access_key_id: {KEY_ID}, secret_access_key: {SECRET}"
        text = config(f'{keys}, role_arn: "{ROLE}", external_id: e-1, session_name: me, duration: 15m')
        assert (await used(text, up))[0][0] == 200
    (sent,) = services.requests
    for part in (b"ExternalId=e-1", b"RoleSessionName=me", b"DurationSeconds=900", b"role%2Fllm"):
        assert part in sent.body
    assert up.used == ["ASIAAssumeRole1"]


@inside_once
async def test_c14_a_web_identity_whose_file_is_rewritten(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = alone / "token"
    file.write_text("token-one\n")
    with AwsServices(life=3) as services, Bedrock(answers, keys=services.issued) as up:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", services.url)
        async with Inside(config(f', role_arn: "{ROLE}", web_identity_token_file: {file}'), up) as gateway:
            assert (await ask(gateway, "messages", asked()))[0] == 200
            file.write_text("token-two\n")
            source = gateway.gateway.router.candidates("messages", "c").candidates[0].source
            await gateway.until(lambda: source.ready() is None or services.tokens[-1] == "token-two")
            assert (await ask(gateway, "messages", asked()))[0] == 200
    assert services.tokens[0] == "token-one"
    assert services.tokens[-1] == "token-two"


@inside_once
async def test_c14_the_web_identity_of_the_environment(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / "token").write_text("token-one")
    with AwsServices() as services, Bedrock(answers, keys=services.issued) as up:
        around = {
            "ENDPOINT_URL_STS": services.url,
            "WEB_IDENTITY_TOKEN_FILE": str(alone / "token"),
            "ROLE_ARN": ROLE,
            "REGION": "us-east-1",
        }
        for name, value in around.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        assert (await used(config(), up))[0][0] == 200
    assert (services.tokens, up.used) == (["token-one"], ["ASIAAssumeRoleWithWebIdentity1"])


@inside_once
async def test_c14_sso(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ("sso_start_url = https://s", "sso_region = us-east-1", "sso_account_id = 123456789012", "sso_role_name = llm")
    (alone / "config").write_text("\n".join(["[profile p]", *lines]))
    cache = alone / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"startUrl": "https://s", "region": "us-east-1", "accessToken": "sso-token", "expiresAt": "2199-01-01T00:00:00Z"}
    (cache / f"{sha1(b'https://s').hexdigest()}.json").write_text(json.dumps(token))
    with AwsServices() as services, Bedrock(answers, keys=services.issued) as up:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", services.url)
        assert (await used(config(", profile: p"), up))[0][0] == 200
    assert (services.asked, up.used) == (["sso"], ["ASIAsso1"])


@pytest.mark.parametrize("place", ["container", "instance"])
@inside_once
async def test_c14_metadata_services(place: str, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AwsServices() as services, Bedrock(answers, keys=services.issued) as up:
        if place == "container":
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{services.url}/creds")
        else:
            monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", services.url)
        assert (await used(config(), up))[0][0] == 200
    assert (services.asked, up.used) == ([place], [f"ASIA{place}1"])


# ---- what can go wrong (C15, C16) ----

BEDROCK = "The gateway has no credential for c: aws: "


@pytest.mark.parametrize("shape", ["messages", "chat"])
@inside_once
async def test_c15_no_credential_anywhere(shape: str, alone: Path) -> None:
    with Bedrock(answers) as up:
        ((status, body),) = await used(config(), up, shape=shape)
    assert (status, up.requests) == (502, [])
    error = orjson.loads(body)["error"]
    assert error["message"] == f"{BEDROCK}default chain: no AWS credentials were found (environment, profile, container, instance)."
    if shape == "chat":
        assert error["code"] == "upstream_auth_missing"


@inside_once
async def test_c15_the_next_candidate_answers_instead(alone: Path) -> None:
    second = f'  - {{model: bedrock/{MODEL}, name: c, base_url: "UPSTREAM", access_key: key}}\n'
    with Bedrock(answers) as up:
        assert (await used(config(more=second), up))[0][0] == 200


def test_c16_the_extra_is_needed_by_the_chain_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    static = f"access_key_id: {KEY_ID}, secret_access_key: {SECRET}"
    for section, needs in ((static, False), ("profile: p", True), ("", True), (f'{static}, role_arn: "{ROLE}"', True)):
        text = f"model_providers: [{{model: bedrock/m, aws: {{region: us-east-1, {section}}}}}]"
        lacking = sources.lacking(conf.loads(text, environ={}))
        assert [message.rpartition(" needs: ")[2] for _, message in lacking] == (["pip install 'dragoman[aws]'"] if needs else [])


def test_c16_static_keys_need_no_botocore() -> None:
    program = (
        "import sys; sys.modules['botocore'] = None\n"
        "from dragoman.conf.model import Aws\n"
        "from dragoman.proxy.credentials.aws import Written\n"
        "found = Written(Aws('us-east-1', access_key_id='a', secret_access_key='s')).get()\n"
        "print(sorted(found.sign('POST', '/', {'host': 'h'}, b'', ('us-east-1', 'bedrock'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['authorization', 'x-amz-content-sha256', 'x-amz-date']\n"


# ---- renewal (C12, C13) ----

ASSUMES = f', access_key_id: {KEY_ID}, secret_access_key: {SECRET}, role_arn: "{ROLE}"'


@inside_once
async def test_c12_a_slow_service_stops_nobody(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty requests wait for one answer of the token service; those of another entry go on meanwhile."""
    gate = threading.Event()

    def slow(request: Request) -> Steps:
        gate.wait(20)
        services.broken = None
        return services._script(request)

    other = f'  - {{model: bedrock/{MODEL}, name: other, base_url: "UPSTREAM", access_key: key}}\n'
    with AwsServices(broken=slow) as services, Bedrock(answers, keys=services.issued) as up:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", services.url)
        async with Inside(config(ASSUMES, f"{other}egress: {{credential_timeout: 30s}}\n"), up) as gateway:
            waiting = [asyncio.ensure_future(ask(gateway, "messages", asked())) for _ in range(50)]
            await services.seen(lambda: len(services.asked) == 1)
            for _ in range(3):
                status, _, _ = await ask(gateway, "messages", asked() | {"model": "other", "stream": True})
                assert status == 200
            assert not any(one.done() for one in waiting)
            gate.set()
            assert {found[0] for found in await asyncio.gather(*waiting)} == {200}
    assert services.asked == ["AssumeRole"] * 2  # the second: the double itself, as it answers


@inside_once
async def test_c13_a_credential_renewed_often_under_many_streams_fails_no_request(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of three seconds, renewed after half of them."""
    with AwsServices(life=3) as services, Bedrock(answers, keys=services.issued) as up:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{services.url}/creds")
        async with Inside(config(), up) as gateway:
            statuses: list[int] = []

            async def caller() -> None:
                while len(set(up.used)) < 3:
                    status, _, body = await ask(gateway, "messages", asked(stream=True))
                    assert b"message_stop" in body
                    statuses.append(status)
                    await asyncio.sleep(0.1)  # the machine has others

            await asyncio.gather(*(caller() for _ in range(20)))
    assert set(statuses) == {200}
    assert up.wrong == []


@inside_once
async def test_c13_a_service_that_is_down_before_the_end_costs_nothing(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AwsServices(life=3) as services, Bedrock(answers, keys=services.issued) as up:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", services.url)
        async with Inside(config(ASSUMES), up) as gateway:
            source = gateway.gateway.router.candidates("messages", "c").candidates[0].source
            assert (await ask(gateway, "messages", asked()))[0] == 200
            services.broken = lambda _: [respond(b"", 500)]
            while source.ready() is not None:  # the soft time begins in between, and a renewal fails
                status = (await ask(gateway, "messages", asked()))[0]
                assert status == 200 or source.ready() is None  # it may end while this one is asked
                await asyncio.sleep(0.05)
            status, headers, body = await ask(gateway, "chat", asked("chat"))
    assert (status, headers["x-should-retry"]) == (502, "true")
    assert orjson.loads(body)["error"]["code"] == "upstream_auth_failed"
    assert b"The gateway has no credential for c: aws: assume-role: AssumeRole was refused" in body


@inside_once
async def test_c11_an_ended_session_is_replaced_once(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AwsServices() as services, Bedrock(answers, keys=services.issued) as up:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{services.url}/creds")
        async with Inside(config(), up) as gateway:
            assert (await ask(gateway, "messages", asked()))[0] == 200
            services.issued.clear()  # ended before its time
            assert (await ask(gateway, "messages", asked()))[0] == 200
            assert (up.wrong, len(services.asked)) == (["the key is unknown"], 2)
            services.issued.clear()  # and again: this credential is as good as it gets
            status, headers, body = await ask(gateway, "chat", asked("chat"))
            assert (status, headers["x-should-retry"]) == (502, "false")
    error = orjson.loads(body)["error"]
    assert error["code"] == "upstream_auth_failed"
    assert error["message"] == "The gateway's credential for c was refused by the upstream (aws: default chain)."


@inside_once
async def test_c11_the_next_candidate_is_asked_when_a_session_stays_ended(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: dict[str, str | tuple[str, str]] = {KEY_ID: SECRET}
    with AwsServices() as services, Bedrock(answers, keys=keys) as up:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{services.url}/creds")
        static = f", access_key_id: {KEY_ID}, secret_access_key: {SECRET}"
        second = config(static).partition("\n")[2]
        async with Inside(config() + second, up) as gateway:
            status, _, _ = await ask(gateway, "messages", asked())
    assert (status, up.wrong, len(services.asked)) == (200, ["the key is unknown"] * 2, 2)
    assert up.used == [KEY_ID]


# ---- ends ----


def test_c01_check_says_which_way_an_entry_has_and_asks_nobody(
    alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("check asks somebody")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    file = alone / "dragoman.yaml"
    entries = ("bedrock/anthropic.claude-opus-5", "bedrock/us.amazon.nova-2-lite-v1:0", "bedrock_mantle/openai.gpt-5.5")
    file.write_text(
        "listeners: [{type: model, address: 127.0.0.1, port: 0}]\nmodel_providers:\n"
        + "".join(f"  - model: {entry}\n" for entry in entries)
    )
    assert main(["check", str(file)]) == 2
    assert "model_providers[0].aws.region: is missing: " in capsys.readouterr().err
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert main(["check", str(file)]) == 0
    out = capsys.readouterr().out
    for url in (
        "messages           https://bedrock-runtime.us-west-2.amazonaws.com/model/anthropic.claude-opus-5/invoke",
        "converse           https://bedrock-runtime.us-west-2.amazonaws.com/model/us.amazon.nova-2-lite-v1%3A0/converse",
        "responses          https://bedrock-mantle.us-west-2.api.aws/openai/v1/responses",
    ):
        assert " ".join(url.split()) in " ".join(out.split())
    assert out.count("aws: default chain") == len(out.splitlines())
