"""Run the commands of docs/operations.md: units, backup and restore, retention, the secret, moved folders, logs.

Two servers on a real PostgreSQL follow each other. The second one has the restored database and another secret.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import prefect.settings
import pytest

from examples.demo_data import CLIPS, find_clip
from tests.engine.processes import wait_until
from tests.flows.postgres import find_postgres, run_postgres
from tests.flows.service import PREFECT, ROOT, Service, build_environment, run_service

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UNITS = sorted((ROOT / "deployments" / "systemd").glob("*.service"))
VARIABLES = (ROOT / "deployments" / "systemd" / "headrace.env").read_text(encoding="utf-8")
_OLD, _NEW = "headrace:first", "headrace:second"


def run(*command: object, **given: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, check=False, capture_output=True, text=True, **given)  # type: ignore[call-overload,no-any-return]


# systemd


def test_units_are_valid(tmp_path: Path) -> None:
    """Verify the units with the folder of this checkout, because systemd checks that the programs exist."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/headrace/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / unit.name).write_text(text)
    ran = run(program, "verify", *sorted(tmp_path.iterdir()))
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_units_and_variables_name_existing_programs_and_settings() -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        command = re.search(r"^ExecStart=/opt/headrace/.venv/bin/(.*)$", text, re.MULTILINE)
        assert command is not None
        program, *arguments = command[1].split()
        assert Path(sys.executable).with_name(program).exists()
        assert all((ROOT / word).is_file() for word in arguments if word.endswith(".py"))
        assert "EnvironmentFile=/etc/headrace/headrace.env" in text
    names = re.findall(r"^(PREFECT_\w+)=", VARIABLES, re.MULTILINE)
    assert [name for name in names if not hasattr(prefect.settings, name)] == []
    assert {unit.stem for unit in UNITS} == set(re.findall(r"headrace-(?:server|worker|inbox|web)", PAGE))


# PostgreSQL


@dataclass(frozen=True)
class Restored:
    """The second server, and the ids of runs in its database: one that ended long ago, one that ended now."""

    service: Service
    old_run: str
    new_run: str


def find_snippets() -> list[str]:
    """Return the Python scripts of the page."""
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def find_command(start: str) -> str:
    """Return the command of the page that starts so."""
    (command,) = re.findall(rf"^    ({re.escape(start)}.*)$", PAGE, re.MULTILINE)
    return str(command)


def add_run(client: httpx.Client) -> str:
    """Create a run that has ended; return its id."""
    flow = client.post("/flows/", json={"name": "backup"}).raise_for_status().json()["id"]
    run_id = client.post("/flow_runs/", json={"flow_id": flow}).raise_for_status().json()["id"]
    state = {"type": "COMPLETED", "name": "Completed"}
    client.post(f"/flow_runs/{run_id}/set_state", json={"state": state, "force": True}).raise_for_status()
    return str(run_id)


def open_client(service: Service, secret: str) -> httpx.Client:
    user, _, password = secret.partition(":")
    return httpx.Client(base_url=service.url, auth=(user, password), trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    """Fill the database of a server, dump it while the server runs, restore it, and start another server on it."""
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql redis-server")
    folder = tmp_path_factory.mktemp("operations")
    with run_postgres(programs) as database:
        plain = database.replace("+asyncpg", "")
        environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        settings = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database, "PREFECT_SERVER_API_AUTH_STRING": _OLD}
        with (
            run_service(folder, folder / "first", "--no-services", **settings) as service,
            open_client(service, _OLD) as client,
        ):
            variables = service.build_environment(PREFECT_API_AUTH_STRING=_OLD)
            for snippet in find_snippets():
                assert run(sys.executable, "-c", snippet, env=variables).returncode == 0
            old, new = add_run(client), add_run(client)
            age = f"UPDATE flow_run SET end_time = now() - interval '3 hours' WHERE id = '{old}'"
            assert run(programs / "psql", plain, "--command", age).stdout == "UPDATE 1\n"
            dump = find_command("pg_dump ").replace("prefect.dump", str(folder / "prefect.dump"))
            given = {**environment, "DATABASE": plain}
            ran = run("bash", "-c", dump, env=given)
            assert ran.returncode == 0, ran.stderr
        other = f"{plain.removesuffix('/postgres')}/restored"
        run(programs / "psql", plain, "--command", "CREATE DATABASE restored", env=environment).check_returncode()
        command = find_command("pg_restore ").replace("prefect.dump", str(folder / "prefect.dump"))
        ran = run("bash", "-c", command, env={**environment, "DATABASE": other})
        assert ran.returncode == 0, ran.stderr
        settings = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"{database.removesuffix('/postgres')}/restored",
            "PREFECT_SERVER_API_AUTH_STRING": _NEW,
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "7200",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "1",
        }
        with run_service(folder, folder / "second", **settings) as service:
            yield Restored(service, old, new)


def test_restored_database_has_blocks_with_their_secrets(restored: Restored) -> None:
    code = "from prefect.blocks.notifications import SlackWebhook as Block\n"
    code += 'print(Block.load("headrace").url.get_secret_value())'
    variables = restored.service.build_environment(PREFECT_API_AUTH_STRING=_NEW)
    ran = run(sys.executable, "-c", code, env=variables)
    assert ran.stdout.strip() == "https://hooks.slack.com/services/T000/B000/XXXX"
    listed = run(PREFECT, "block", "ls", env={**variables, "COLUMNS": "200"}).stdout
    for name in ("custom-webhook/headrace", "slack-webhook/headrace", "sendgrid-email/headrace"):
        assert name in listed


def test_old_runs_are_deleted_and_new_ones_kept(restored: Restored) -> None:
    with open_client(restored.service, _NEW) as client:
        wait_until(
            lambda: client.get(f"/flow_runs/{restored.old_run}").status_code == httpx.codes.NOT_FOUND,
            "the deletion of the old run",
            60.0,
            every_seconds=0.2,
        )
        assert client.get(f"/flow_runs/{restored.new_run}").is_success


def test_old_secret_is_rejected_after_its_rotation(restored: Restored) -> None:
    for secret, status in ((_OLD, httpx.codes.UNAUTHORIZED), (_NEW, httpx.codes.OK)):
        with open_client(restored.service, secret) as client:
            assert client.get("/admin/version").status_code == status


def test_monitoring_commands_answer(restored: Restored) -> None:
    assert httpx.get(f"{restored.service.url}/ready", trust_env=False).is_success
    if shutil.which("curl") is None:
        pytest.skip("no curl: apt-get install curl")
    variables = restored.service.build_environment(PREFECT_API_AUTH_STRING=_NEW)
    assert run("bash", "-c", find_command("curl "), env=variables).stdout == "0"


# Output folders


def test_moved_output_folder_is_complete_and_names_logs(prefect_api: str, prefect_home: Path, tmp_path: Path) -> None:
    videos, output, moved = tmp_path / "videos", tmp_path / "output", tmp_path / "big" / "moved"
    videos.mkdir()
    moved.parent.mkdir()
    shutil.copy(find_clip(CLIPS["bunny.mp4"]), videos / "good.mp4")
    (videos / "bad.mp4").write_text("Not a video.\n")
    variables = build_environment(prefect_home, uuid.uuid4().hex, prefect_api)
    command = [sys.executable, ROOT / "flows" / "dataset_prep.py", "--videos-dir", videos, "--max-frames", 1]
    first = run(*command, "--output-dir", output, env=variables)
    assert first.returncode == 3, first.stderr
    run("mv", output, moved).check_returncode()
    again = run(*command, "--output-dir", moved, env=variables)
    assert again.returncode == 3, again.stderr
    stages = json.loads((moved / "summary.json").read_bytes())["stages"]
    assert stages["frames"]["cached"] == 1
    assert stages["dataset"]["cached"] == stages["dataset"]["total"]

    headrace = Path(sys.executable).with_name("headrace")
    listed = run(headrace, "items", "list", moved, env=variables).stdout
    assert "bad" in listed
    shown = run(headrace, "items", "show", moved, "bad.mp4", env=variables).stdout
    log = re.search(r"\S*\.headrace/\S+\.log", shown)
    assert log is not None, shown
    assert (moved / log[0]).is_file()
