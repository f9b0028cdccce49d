"""The start: what cannot be served is said before anything is forked, by `serve` and by `check`, with its name; and who can reach what."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ..conftest import free_port
from ..gateway.test_life import READY, until
from ..gateway.wire import ask
from .conftest import Serve, certify

HOUSE = Path(__file__).resolve().parents[2]
CONFIG = "listeners: [{type: model, address: 127.0.0.1, port: PORT}]\nmodel_providers: [{model: demo/*}]\n"
WITH_ADMIN = CONFIG.replace("}]\n", "}, {type: admin, port: ADMIN}]\n", 1)
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])

Done = subprocess.CompletedProcess[str]


def dragoman(*arguments: str, cwd: Path | None = None, **environ: str) -> Done:
    """A command that ends by itself."""
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    command = [sys.executable, "-W", "ignore", "-m", "dragoman.proxy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=cwd, env=clean | environ)


# ---- what cannot be served ----


@WORKERS
def test_a_port_that_is_taken(tmp_path: Path, workers: str) -> None:
    file = tmp_path / "gateway.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file.write_text(CONFIG.replace("PORT", str(port)))
        done = dragoman("serve", str(file), "--workers", workers)
        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr
        assert "in use" in done.stderr
        assert "Traceback" not in done.stderr
        checked = dragoman("check", str(file))  # perhaps by the gateway that runs with this very file
        assert checked.returncode == 0
        assert f"127.0.0.1:{port}" in checked.stderr


@pytest.mark.parametrize("first", ["1", "2"])
@WORKERS
def test_a_second_gateway_takes_nothing_of_the_first(serve: Serve, first: str, workers: str) -> None:
    gateway = serve(CONFIG, "--workers", first)
    done = dragoman("serve", *file_arguments(gateway.process.pid), "--workers", workers)
    assert done.returncode == 1
    assert str(gateway.port) in done.stderr
    gateway.stop()


def file_arguments(pid: int) -> list[str]:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [word.decode() for word in words if word.endswith(b".yaml")]


def no_certificate(folder: Path) -> tuple[str, str]:
    _, key = certify(folder, "one")
    return CONFIG.replace("PORT", f"PORT, tls: {{cert: {folder}/nothing.pem, key: {key}}}"), f"{folder}/nothing.pem"


def no_key(folder: Path) -> tuple[str, str]:
    certificate, _ = certify(folder, "one")
    return CONFIG.replace("PORT", f"PORT, tls: {{cert: {certificate}, key: {folder}/nothing.pem}}"), f"{folder}/nothing.pem"


def another_key(folder: Path) -> tuple[str, str]:
    certificate, _ = certify(folder, "one")
    _, key = certify(folder, "other")
    return CONFIG.replace("PORT", f"PORT, tls: {{cert: {certificate}, key: {key}}}"), f"{certificate} and {key}"


def no_certificate_at_all(folder: Path) -> tuple[str, str]:
    file = folder / "text.pem"
    file.write_text("nothing of the kind")
    return CONFIG.replace("PORT", f"PORT, tls: {{cert: {file}, key: {file}}}"), str(file)


def no_folder(folder: Path) -> tuple[str, str]:
    return CONFIG + f"state_storage: {{type: sqlite, path: {folder}/nothing/state.db}}\n", f"{folder}/nothing/state.db"


def a_folder(folder: Path) -> tuple[str, str]:
    return CONFIG + f"state_storage: {{type: sqlite, path: {folder}}}\n", str(folder)


def no_address_of_redis(folder: Path) -> tuple[str, str]:
    return CONFIG + "state_storage: {type: redis, url: 'http://localhost'}\n", "state_storage: url"


def no_address_of_postgres(folder: Path) -> tuple[str, str]:
    return CONFIG + "state_storage: {type: postgres, connection_string: 'what='}\n", "state_storage: connection_string"


def text_as_a_store(folder: Path) -> tuple[str, str]:
    (folder / "state.db").write_text("nothing of the kind " * 100)
    return CONFIG + f"state_storage: {{type: sqlite, path: {folder}/state.db}}\n", f"{folder}/state.db: file is not a database"


def a_store_of_a_later_version(folder: Path) -> tuple[str, str]:
    with closing(sqlite3.connect(folder / "state.db")) as base:
        base.execute("PRAGMA user_version = 99")
    return CONFIG + f"state_storage: {{type: sqlite, path: {folder}/state.db}}\n", f"{folder}/state.db: the file has schema 99"


def a_folder_for_control(folder: Path) -> tuple[str, str]:
    (folder / "dragoman-control").mkdir()
    return CONFIG + f"control: {{store: sqlite, path: {folder}}}\n", f"control: {folder}: is"


def no_folder_for_control(folder: Path) -> tuple[str, str]:
    (folder / "file").write_text("")
    config = CONFIG + f"control: {{store: sqlite, path: {folder}/control.db, folder: {folder}/file/x}}\n"
    return config, f"control: folder: {folder}/file/x: "


def text_as_a_control_store(folder: Path) -> tuple[str, str]:
    (folder / "dragoman-control").mkdir()
    (folder / "control.db").write_text("nothing of the kind " * 100)
    config = CONFIG + f"control: {{store: sqlite, path: {folder}/control.db}}\n"
    return config, f"control: {folder}/control.db: "


def a_control_store_of_a_later_version(folder: Path) -> tuple[str, str]:
    (folder / "dragoman-control").mkdir()
    with closing(sqlite3.connect(folder / "control.db")) as base:
        base.execute("CREATE TABLE dragoman_control_version (version_num)")
        base.execute("INSERT INTO dragoman_control_version VALUES ('9999')")
        base.commit()
        base.execute("PRAGMA journal_mode = WAL")
    return CONFIG + f"control: {{store: sqlite, path: {folder}/control.db}}\n", "control: its tables have version 9999"


def no_address_for_control(folder: Path) -> tuple[str, str]:
    config = CONFIG + f"control: {{store: postgres, connection_string: 'what=', folder: {folder}}}\n"
    return config, "control: connection_string is not a valid"


def an_address_elsewhere(folder: Path) -> tuple[str, str]:
    return CONFIG.replace("127.0.0.1", "192.0.2.1"), "192.0.2.1:"


def no_name_of_a_host(folder: Path) -> tuple[str, str]:
    return CONFIG.replace("127.0.0.1", "a..b"), "cannot listen: the address is not the name of a host"


FAULTS = [no_certificate, no_key, another_key, no_certificate_at_all, no_folder, a_folder, no_address_of_redis, no_address_of_postgres]
FAULTS += [an_address_elsewhere, no_name_of_a_host, text_as_a_store, a_store_of_a_later_version]
FAULTS += [a_folder_for_control, no_folder_for_control, text_as_a_control_store, a_control_store_of_a_later_version, no_address_for_control]


UPSTREAM = CONFIG.replace("demo/*}", "demo/*}, {model: openai/m, EGRESS}")


def no_authority(folder: Path) -> tuple[str, str]:
    return UPSTREAM.replace("EGRESS", f"ca_file: {folder}/nothing.pem"), f"openai/m: ca_file: {folder}/nothing.pem: No such file"


def no_certificate_for_an_upstream(folder: Path) -> tuple[str, str]:
    certificate, _ = certify(folder, "one")
    _, key = certify(folder, "other")
    config = UPSTREAM.replace("EGRESS", f"client_cert: {{cert: {certificate}, key: {key}}}")
    return config, f"openai/m: client_cert: {certificate} and {key}: KEY_VALUES_MISMATCH"


def no_mounted_secret(folder: Path) -> tuple[str, str]:
    return UPSTREAM.replace("EGRESS", f'access_key: "${{file:{folder}/nothing}}"'), f"access_key: {folder}/nothing cannot be read"


def a_proxy_of_another_kind(folder: Path) -> tuple[str, str]:
    return UPSTREAM.replace("EGRESS", 'proxy: "socks5://proxy:1080"'), "proxy: must begin with http://"


FAULTS += [no_authority, no_certificate_for_an_upstream, no_mounted_secret, a_proxy_of_another_kind]


@pytest.mark.parametrize("fault", FAULTS)
def test_check_finds_what_serve_would(tmp_path: Path, fault: Callable[[Path], tuple[str, str]]) -> None:
    config, named = fault(tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text(config.replace("PORT", str(free_port())))
    before = sorted(tmp_path.iterdir())
    commands = [["check", str(file)], ["serve", str(file)], ["serve", str(file), "--workers", "2"]]
    for command in commands if fault in FAULTS[::7] else commands[:2]:  # a process takes longer to start than to find it
        done = dragoman(*command)
        assert done.returncode == 2, done.stderr
        assert named in done.stderr
        assert "Traceback" not in done.stderr
        if command[0] == "check":
            assert not [line for line in done.stderr.splitlines() if not re.match(rf"warning: |{file}:[1-9]\d*:[1-9]\d*: ", line)]
        assert sorted(tmp_path.iterdir()) == before


def test_check_says_where_in_the_file_the_fault_is(tmp_path: Path) -> None:
    """Also with listeners that are not served, and where the file has old names."""
    missing = tmp_path / "nothing.pem"
    file = tmp_path / "gateway.yaml"
    lines = [
        "llm_providers:",
        "  - model: demo/*",
        f"  - {{model: openai/m, access_key: k, ca_file: {missing}}}",
        "state_storage_v1_responses:",
        f"  {{type: sqlite, path: {tmp_path}}}",
        "listeners:",
        "  - {type: prompt, port: 1}",
        f"  - {{type: admin, port: 0, tls: {{cert: {missing}, key: {missing}}}}}",
        "  - {type: model, address: a..b, port: 0}",
    ]
    file.write_text("\n".join(lines))
    done = dragoman("check", str(file))
    places = [line.removeprefix(f"{file}:").split(": ")[:2] for line in done.stderr.splitlines() if not line.startswith("warning")]
    assert places == [
        ["3:5", "openai/m"],
        ["5:3", "state_storage"],
        ["8:33", "admin listener 127.0.0.1:0"],
        ["9:28", "model listener a..b:0"],
    ]


def test_check_makes_no_store(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG.replace("PORT", str(free_port())) + f"state_storage: {{type: sqlite, path: {tmp_path}/state.db}}\n")
    assert dragoman("check", str(file)).returncode == 0
    file.write_text(CONFIG.replace("PORT", str(free_port())) + f"control: {{store: sqlite, path: {tmp_path}/new/control.db}}\n")
    assert dragoman("check", str(file)).returncode == 0  # `serve` makes the folder, too
    assert list(tmp_path.iterdir()) == [file]


# ---- who can reach it ----


@pytest.mark.parametrize(("arguments", "address"), [([], "127.0.0.1"), (["--host", "0.0.0.0"], "0.0.0.0")])
def test_without_a_file_only_this_machine_is_served(tmp_path: Path, arguments: list[str], address: str) -> None:
    with serving(tmp_path, "--port", "0", *arguments) as process:
        line = announced(process)
        assert line.startswith(f"model http://{address}:")
        assert ask(int(line.rpartition(":")[2]), READY).status == 200


@WORKERS
def test_the_port_that_was_given_out_is_printed(tmp_path: Path, workers: str) -> None:
    with serving(tmp_path, "--port", "0", "--workers", workers) as process:
        port = int(announced(process).rpartition(":")[2])
        until(lambda: answers(port))


def serving(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    class Ended(subprocess.Popen):  # type: ignore[type-arg]
        def __exit__(self, *given: object) -> None:
            self.terminate()
            super().__exit__(*given)  # type: ignore[arg-type]

    clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    command = [sys.executable, "-W", "ignore", "-m", "dragoman.proxy", "serve", *arguments]
    return Ended(command, stderr=subprocess.PIPE, text=True, cwd=folder, env=clean)


def answers(port: int) -> bool:
    try:
        return ask(port, READY).status == 200
    except OSError:  # no worker listens yet
        return False


def announced(process: subprocess.Popen[str]) -> str:
    """The first line that names a listener."""
    assert process.stderr is not None
    return next(line.strip() for line in process.stderr if line.startswith("model "))


def test_an_admin_listener_that_others_reach_is_warned_of(serve: Serve) -> None:
    admin = str(free_port())
    for address, count in (("127.0.0.1", 0), ("0.0.0.0", 1)):
        gateway = serve(WITH_ADMIN.replace("ADMIN", f"{admin}, address: {address}"))
        until(lambda gateway=gateway: "models " in gateway.log())
        assert gateway.log().count("has no authentication") == count
        gateway.stop()


# ---- what a start finds, and leaves ----


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder in which a socket's path is short enough, wherever pytest keeps its own."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="d") as folder:
        yield Path(folder)


def test_folders_of_killed_processes_are_removed(short_path: Path, serve: Serve) -> None:
    """Not those of processes that run."""
    environ = {"TMPDIR": str(short_path)}

    def folders() -> set[Path]:
        return set(short_path.glob("dragoman-metrics-*"))

    config = WITH_ADMIN.replace("ADMIN", "0")
    running = serve(config, "--workers", "2", environ=environ)
    (used,) = folders()
    killed = serve(config, "--workers", "2", environ=environ)
    (left,) = folders() - {used}
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    until(lambda: not any(_lives(pid) for pid in _group(killed.process.pid)))
    other = serve(config, "--workers", "2", environ=environ)
    assert left not in folders()
    assert used in folders()
    other.stop()
    running.stop()
    assert not folders()


def _group(leader: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_mistakes_on_the_command_line_are_told_in_plain_words() -> None:
    for arguments in (["serve", "--port", "x"], ["serve", "--port", "70000"], ["serve", "--workers", "0"], ["load", "u", "--seconds", "-"]):
        done = dragoman(*arguments)
        assert done.returncode == 2
        assert "must be a " in done.stderr
        assert arguments[-1] in done.stderr
        assert not re.search(r"\b_[a-z]", done.stderr)


# ---- probe ----


@pytest.mark.parametrize("secure", [False, True])
def test_probe_finds_the_listener_of_a_running_gateway(tmp_path: Path, serve: Serve, secure: bool) -> None:
    certificate, key = certify(tmp_path, "one")
    first = f"{{type: model, address: 0.0.0.0, port: OWN, tls: {{cert: {certificate}, key: {key}}}}}"
    plain = "{type: model, address: 127.0.0.1, port: PORT}"
    config = f"listeners: [{first}, {plain}]\nmodel_providers: [{{model: demo/*}}]\n" if secure else CONFIG
    own = free_port()
    gateway = serve(config.replace("OWN", str(own)))
    file = file_arguments(gateway.process.pid)
    assert dragoman("probe", *file).returncode == 0
    assert dragoman("probe", "--pid", str(gateway.process.pid), "--ready").returncode == 0
    gateway.stop()
    gone = dragoman("probe", *file)
    assert gone.returncode == 1
    assert str(own if secure else gateway.port) in gone.stderr


def test_probe_of_another_process_says_so() -> None:
    done = dragoman("probe", "--pid", str(os.getpid()))
    assert done.returncode == 2
    assert "not a dragoman serve process" in done.stderr


# ---- the documented unit ----


def test_the_unit_of_systemd_can_be_enabled_and_write_its_store() -> None:
    guide = (HOUSE / "docs" / "operations.md").read_text()
    (unit,) = re.findall(r"```ini\n(.*?)```", guide, re.DOTALL)
    assert "[Install]\nWantedBy=multi-user.target" in unit
    state = re.findall(r"^StateDirectory=(\S+)$", unit, re.MULTILINE)
    assert f"path: /var/lib/{state[0]}/" in guide
    assert "KillMode" not in unit  # the default, a signal to every process, is served
