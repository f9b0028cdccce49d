"""What is installed, and what the image and the compose files are made of: they name files that exist and commands that work."""

from __future__ import annotations

import ast
import configparser
import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPResponse
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from websockets.sync.client import connect

from dragoman import conf
from dragoman.conf import loader
from dragoman.proxy import cli

from .conftest import Start, free_port

HOUSE = Path(__file__).resolve().parent.parent
FOLDERS = ("codecs", "conf", "proxy", "handlers")
DOCKER = HOUSE / "docker"
COMPOSE = sorted(DOCKER.glob("compose*.yaml"))


def _setup() -> dict[str, Any]:
    """The literal arguments of setup()."""
    tree = ast.parse((HOUSE / "setup.py").read_text())
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup")
    found = {}
    for keyword in call.keywords:
        try:
            found[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            continue
    return found


def test_requirements_are_those_of_setup() -> None:
    lines = [line for line in (HOUSE / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == _setup()["install_requires"]


def test_the_top_folder() -> None:
    for name in ("setup.py", "requirements.txt", "tox.ini", "README.md", "CHANGELOG.md", *FOLDERS, "docker", "docs", "tests"):
        assert (HOUSE / name).exists(), name
    assert f"## {_setup()['version']}" in (HOUSE / "CHANGELOG.md").read_text().replace("[", "").replace("]", "")


def test_what_setup_says_is_said_nowhere_else() -> None:
    """pyproject.toml names the project, for uv, and leaves all else to setup.py."""
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    names = {"python_requires": "requires-python", "install_requires": "dependencies", "extras_require": "optional-dependencies"}
    names |= {"entry_points": "scripts", "long_description": "readme"}
    packed = {"name", "packages", "package_dir", "package_data", "license_files", "long_description_content_type"}
    call = next(node for node in ast.walk(ast.parse((HOUSE / "setup.py").read_text())) if getattr(node, "keywords", None))
    said = {str(keyword.arg) for keyword in call.keywords}
    assert project.keys() == {"name", "dynamic"}
    assert set(project["dynamic"]) == {names.get(name, name) for name in said - packed}


def test_the_licence_is_said_and_shipped(wheel: Path) -> None:
    assert "Apache License" in (HOUSE / "LICENSE").read_text()
    with zipfile.ZipFile(wheel) as archive:
        (text,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    headers = email.message_from_string(text)
    assert (headers["License-Expression"] or headers["License"]) == "Apache-2.0"
    assert headers["Requires-Python"] == _setup()["python_requires"]
    assert headers.get_all("Classifier") == _setup()["classifiers"]


def test_tox_runs_what_setup_promises() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(HOUSE / "tox.ini")
    assert {"py311", "py312", "py313", "lint", "types"} <= set(re.split(r"[\s,]+", tox["tox"]["env_list"]))
    assert _setup()["python_requires"] == ">=3.11"


# ---- the wheel ----


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in FOLDERS:
        shutil.copytree(HOUSE / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HOUSE / name, source)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--wheel-dir", str(folder), str(source)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for folder in FOLDERS for path in (HOUSE / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert inside == {f"dragoman/{path.relative_to(HOUSE).as_posix()}" for path in files}


def test_the_installed_command(wheel: Path, tmp_path: Path) -> None:
    """In a new environment that has of this one nothing but the dependencies."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    scripts = tmp_path / "env" / "bin"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(scripts / "python"), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True, timeout=50)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(*arguments: str) -> str:
        done = subprocess.run([str(scripts / "dragoman"), *arguments], capture_output=True, text=True, timeout=20, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version") == f"dragoman {_setup()['version']}\n"
    where = subprocess.run([str(scripts / "python"), "-c", "import dragoman.conf as c; print(c.__file__)"], capture_output=True, text=True)
    assert Path(where.stdout.strip()).is_relative_to(site)
    assert "demo/*" in run("check", str(site / "dragoman" / "conf" / "examples" / "scale.yaml"))


# ---- the image and the compose files ----


SERVICES = [(path, name, service) for path in COMPOSE for name, service in yaml.safe_load(path.read_text())["services"].items()]


def _cases(built: bool) -> list[Any]:
    """Every service, or those whose image is ours."""
    return [pytest.param(path, one, id=f"{path.name}-{name}") for path, name, one in SERVICES if "build" in one or not built]


def test_prometheus_and_grafana_find_what_they_show() -> None:
    """In compose.team.yaml: the admin listener, the data source, the dashboard."""
    services = yaml.safe_load((DOCKER / "compose.team.yaml").read_text())["services"]
    (job,) = yaml.safe_load((DOCKER / "prometheus.yaml").read_text())["scrape_configs"]
    host, _, port = job["static_configs"][0]["targets"][0].partition(":")
    config = conf.load(_volumes(services[host])["/etc/dragoman/dragoman.yaml"], environ={"DRAGOMAN_ADMIN_PASSWORD": "k"})
    (admin,) = [listener for listener in config.listeners if listener.type == "admin"]
    assert (str(admin.port), admin.address) == (port, "0.0.0.0")
    mounted = _volumes(services["grafana"])
    (source,) = yaml.safe_load(mounted["/etc/grafana/provisioning/datasources/dragoman.yaml"].read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load(mounted["/etc/grafana/provisioning/dashboards/dragoman.yaml"].read_text())["providers"]
    (board,) = [file for inside, file in mounted.items() if inside.startswith(f"{provider['options']['path']}/")]
    assert json.loads(board.read_text())["title"] == "Dragoman"


def _volumes(service: dict[str, Any]) -> dict[str, Path]:
    """What is mounted from here: the path inside, and the file."""
    mounts = [volume.split(":") for volume in service.get("volumes", [])]
    return {inside: (DOCKER / outside).resolve() for outside, inside, *_ in mounts if outside.startswith(".")}


@pytest.mark.parametrize(("path", "service"), _cases(built=False))
def test_compose_files_name_what_exists(path: Path, service: dict[str, Any]) -> None:
    if "build" in service:
        assert (path.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    else:
        assert re.fullmatch(r"[a-z/]+:[\w.-]+", service["image"])
    volumes = _volumes(service)
    assert all(file.is_file() for file in volumes.values())
    every = yaml.safe_load(path.read_text())
    assert set(service.get("depends_on", {})) <= set(every["services"])
    for name, condition in service.get("depends_on", {}).items():
        assert condition == {"condition": "service_healthy"}
        other = every["services"][name]
        assert "healthcheck" in other or "build" in other
    assert "stop_grace_period" in service
    if "build" in service and "command" in service:
        assert service["command"][1] in volumes


@pytest.mark.parametrize(("path", "service"), _cases(built=True))
def test_the_command_of_a_container_works(path: Path, service: dict[str, Any]) -> None:
    """As the image would start it: its own entry point and command, the file that is mounted."""
    told = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    command = [*json.loads(told["ENTRYPOINT"]), *service.get("command", json.loads(told["CMD"]))]
    assert command[0] == "dragoman"
    arguments = cli.parser().parse_args(command[1:])
    assert arguments.command == "serve"
    file = _volumes(service).get(arguments.config or f"/etc/dragoman/{cli.DEFAULT_FILE}")
    if file is not None:
        environ = {name: value or "k" for name, value in service["environment"].items()}
        assert conf.load(file, environ=environ).model_providers
        # what `docker compose` passes on where it is set: without it the container must not start again and again
        assert conf.load(file, environ={name: value for name, value in service["environment"].items() if value is not None})
    else:
        assert {conf.providers.known()[name].key for name in loader.ZERO_PROVIDERS} <= set(service["environment"])


def test_the_image_has_every_extra_that_a_configuration_can_need() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    extras = set(re.findall(r"^        \"([a-z]+)\": ", (HOUSE / "setup.py").read_text(), re.MULTILINE)) - {"test"}
    assert [set(found.split(",")) for found in re.findall(r"\[([a-z,]+)\]'", text)] == [extras, extras]


def _pins() -> dict[str, str]:
    lines = (DOCKER / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines if line[0] != "#")}


def test_the_image_has_exact_versions_of_everything() -> None:
    """Of what setup.py asks for, of what that asks for, and so on: as far as it is installed here."""
    written, pins = _setup(), _pins()
    own = {"psycopg[binary,pool]", "redis", "zstandard", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "uvloop"}
    own |= {"botocore", "google-auth[requests]", "azure-identity", "sqlalchemy[asyncio]", "alembic", "aiosqlite", "authlib"}
    wanted = {"setuptools", *written["install_requires"], *own}
    seen: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        assert pins[name] in requirement.specifier, f"{requirement} against {pins[name]}"
        for extra in ("", *requirement.extras):
            if f"{name}[{extra}]" in seen:
                continue
            seen.add(f"{name}[{extra}]")
            with suppress(PackageNotFoundError):
                asked = map(Requirement, requires(name) or ())
                wanted |= {str(one).split(";")[0] for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})}
    assert {name.partition("[")[0] for name in seen} == set(pins)


def test_the_base_of_the_image_is_one_version() -> None:
    bases = set(re.findall(r"^FROM (\S+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    (base,) = bases
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base)
    assert base in (DOCKER / "constraints.txt").read_text()


# ---- nginx before two gateways ----

GATEWAY = """\
listeners: [{type: model, port: PORT, address: 127.0.0.1}]
model_providers: [{model: demo/*}]
"""


@pytest.fixture(scope="module")
def balanced(start_session: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, list[Any]]]:
    """nginx with docker/nginx.conf, but for names and paths that only a container has. Its port, and the gateways behind it."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    gateways = [start_session(GATEWAY) for _ in range(2)]
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    text = (DOCKER / "nginx.conf").read_text()
    servers = "".join(f"server 127.0.0.1:{gateway.port} max_fails=3 fail_timeout=5s;" for gateway in gateways)
    temporary = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    for old, new in (
        ("server dragoman:12000 resolve max_fails=3 fail_timeout=5s;", servers),
        ("listen 80 ", f"listen 127.0.0.1:{port} "),
        ("worker_rlimit_nofile 65536;", "daemon off; pid nginx.pid;"),
        ("worker_connections 16384;", "worker_connections 512;"),
        ("http {\n", "http {\n" + temporary),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield _answering(port), gateways
    finally:
        process.terminate()
        process.wait(10)


def _answering(port: int) -> int:
    for _ in range(200):
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
            return port
        time.sleep(0.02)
    raise AssertionError("nginx does not answer")


def _connected(port: int) -> closing[HTTPConnection]:
    return closing(HTTPConnection("127.0.0.1", port, timeout=20))


def _ask(connection: HTTPConnection, body: dict[str, Any]) -> HTTPResponse:
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    return connection.getresponse()


def test_events_come_one_by_one_through_nginx(balanced: tuple[int, list[Any]]) -> None:
    """demo/slow speaks a few words a second: none waits for the next in nginx."""
    with _connected(balanced[0]) as connection:
        said = [{"role": "user", "content": "one two three four five six seven eight"}]
        answer = _ask(connection, {"model": "demo/slow", "stream": True, "messages": said})
        assert answer.status == 200
        pieces = list(iter(answer.read1, b""))
    assert b"[DONE]" in pieces[-1]
    assert len(pieces) > 2, "nginx gathers what it should pass on"


def test_a_large_body_passes_nginx_and_the_connection_is_kept(balanced: tuple[int, list[Any]]) -> None:
    with _connected(balanced[0]) as connection:
        for size in (20 << 20, 10):
            answer = _ask(connection, {"model": "demo/error", "messages": [{"role": "user", "content": "x" * size}]})
            assert b"demo_error" in answer.read()
            kept = connection.sock
        connection.request("GET", "/v1/responses")
        answer = connection.getresponse()
        assert answer.status == 426
        answer.read()
        assert connection.sock is kept is not None


def test_a_websocket_passes_nginx(balanced: tuple[int, list[Any]]) -> None:
    with connect(f"ws://127.0.0.1:{balanced[0]}/v1/responses") as socket:
        for text in ("one two", "three"):
            socket.send(json.dumps({"type": "response.create", "model": "demo/echo", "input": text}))
            kinds, pieces = [""], []
            while kinds[-1] != "response.completed":
                event = json.loads(socket.recv(timeout=20))
                kinds.append(event["type"])
                pieces.append(event.get("delta", ""))
            assert "".join(pieces) == text


def test_a_gateway_that_is_gone_is_not_noticed(balanced: tuple[int, list[Any]]) -> None:
    port, gateways = balanced
    gateways[0].stop()
    for _ in range(8):
        with _connected(port) as connection:
            answer = _ask(connection, {"model": "demo/echo", "messages": [{"role": "user", "content": "Good morning"}]})
            assert answer.status == 200
            assert b"Good morning" in answer.read()
