"""`headrace serve` as a user runs it: one address, uploads, kills of every part and of itself, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.demo_data import CLIPS, find_clip
from tests.deployments.web.client import Web
from tests.engine.processes import find_processes, wait_until, wait_until_gone
from tests.flows.service import RUN_SECONDS, Program, Service, build_environment, find_free_port, start_program

HEADRACE = Path(sys.executable).with_name("headrace")
PARTS = ("deployments.inbox", "deployments.web", "prefect server", "prefect worker")
QUICK = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    "HEADRACE_WEB_RESERVE": "0",
    "HEADRACE_WEB_SWEEP_SECONDS": "0.5",
}
VIDEOS = 6


@dataclass(frozen=True)
class Tree:
    """A running `headrace serve` for ``folder``, with its ports."""

    folder: Path
    program: Program
    port: int
    prefect_port: int

    @property
    def state(self) -> Path:
        return self.folder / "data" / "serve"

    @property
    def password(self) -> str:
        return (self.state / "users").read_text().strip()

    @property
    def service(self) -> Service:
        return Service(f"http://127.0.0.1:{self.prefect_port}/api", self.folder, self.password)

    @property
    def web(self) -> Web:
        token = self.password.partition(":")[2]
        return Web(f"http://127.0.0.1:{self.port}", self.state / "uploads", self.program, {"anna": token})

    def find_part(self, words: str) -> int:
        """Return the process id of a part, such as "prefect worker"; 0 if there is none."""
        found = [pid for pid, line in find_processes(self.program.mark).items() if f" -m {words}" in line]
        return found[0] if found else 0

    def kill_part(self, words: str) -> None:
        """Kill a part; return when another process has taken its place."""
        pid = self.find_part(words)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.find_part(words) not in {0, pid}, f"another {words}: {self.program.log.read_text()}")

    def start_slow_run(self, output: str) -> str:
        """Start a run; return its id when some of its items are done and others are not."""
        parameters = {"output_dir": output, "max_frames": 60, "image_format": "png", "resize": None}
        run = self.service.trigger("dataset-prep/default", **parameters)
        records = self.folder / output / ".headrace" / "records" / "frames"
        wait_until(
            lambda: records.is_dir() and any(records.rglob("*.json")),
            lambda: f"an item that is done: {self.service.get_state(run)}",
            RUN_SECONDS,
        )
        return run

    def wait_for_end(self, run: str, output: str) -> dict[str, Any]:
        """Return the counts of items of a run that has ended as it should."""
        state = self.service.wait_for_final_state(run)
        assert state["name"] == "Completed", state
        items: dict[str, Any] = json.loads((self.folder / output / "summary.json").read_bytes())["items"]
        return items


@contextlib.contextmanager
def start_tree(folder: Path, end: signal.Signals) -> Iterator[Tree]:
    """Run `headrace serve`, without a home of Prefect and without settings of the user; end it by a signal."""
    port, prefect_port = find_free_port(), find_free_port()
    variables = {
        **build_environment(folder / "home" / ".prefect", uuid.uuid4().hex, **QUICK),
        "HOME": str(folder / "home"),
    }
    del variables["PREFECT_HOME"]
    command = [HEADRACE, "serve", "--folder", folder, "--port", port, "--prefect-port", prefect_port]
    with start_program(command, folder, variables, end) as program:
        program.wait_for_text("Headrace: ")
        yield Tree(folder, program, port, prefect_port)
    assert program.process.returncode in {0, -signal.SIGKILL}, program.log.read_text()  # killed by the test itself


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "home").mkdir()
    videos = folder / "data" / "videos"
    videos.mkdir(parents=True)
    first = shutil.copy(find_clip(CLIPS["bunny.mp4"]), videos / "video-0.mp4")
    for number in range(1, VIDEOS):
        (videos / f"video-{number}.mp4").hardlink_to(first)
    return folder


@pytest.fixture(scope="module")
def tree(folder: Path) -> Iterator[Tree]:
    with start_tree(folder, signal.SIGINT) as running:
        yield running


def test_prints_one_address_and_keeps_the_password_private(tree: Tree) -> None:
    text = tree.program.log.read_text()
    (address,) = re.findall(r"http\S+", text)
    assert address == tree.web.url
    users = tree.state / "users"
    assert f"Headrace: {address} (user:password is the first line of {users})" in text
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    secret = tree.password.partition(":")[2]
    assert secret not in text
    assert not any(secret in line for line in find_processes(tree.program.mark).values())


def test_address_requires_the_password_and_links_to_prefect(tree: Tree) -> None:
    user, _, secret = tree.password.partition(":")
    for auth, status in ((None, 401), ((user, "other"), 401), ((user, secret), 200)):
        page = httpx.get(tree.web.url, auth=auth, headers={"Accept": "text/html"}, trust_env=False)
        assert page.status_code == status
        version = httpx.get(f"{tree.service.url}/admin/version", auth=auth, trust_env=False)
        assert version.status_code == status
    assert f'href="http://127.0.0.1:{tree.prefect_port}"' in page.text


def test_pool_deployments_and_automations_are_registered(tree: Tree) -> None:
    assert tree.service.get("/work_pools/headrace")["status"] == "READY"
    assert len(tree.service.find("deployments")) == 24
    assert "headrace crashed runs" in {row["name"] for row in tree.service.find("automations")}


def test_upload_runs_to_its_end(tree: Tree) -> None:
    upload_id = tree.web.send(find_clip("bikes.mp4").read_bytes(), flow="frames", preset="few")
    assert tree.web.call("POST", f"/api/uploads/{upload_id}/run").status_code == 202
    tree.web.wait_for(upload_id, "done")
    assert tree.web.call("GET", f"/uploads/{upload_id}/result").content[:2] == b"PK"


def test_second_tree_and_ports_in_use_are_refused_with_one_line(tree: Tree, tmp_path: Path) -> None:
    in_use = f"{tree.state} is in use by headrace serve, process {tree.program.process.pid} at {tree.web.url}"
    other = ("--folder", tmp_path)
    for arguments, code, line in (
        (("--folder", tree.folder), 1, in_use),
        ((*other, "--port", tree.port), 2, f"--port {tree.port}: is in use"),
        (("--folder", "/proc"), 1, "cannot be written"),
    ):
        command = [str(word) for word in (HEADRACE, "serve", *arguments)]
        ran = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (code, "", 1), ran.stderr
        assert ran.stderr.startswith("error: ")
        assert line in ran.stderr


def test_run_survives_kills_of_every_part(tree: Tree) -> None:
    run = tree.start_slow_run("data/killed")
    for words in PARTS:
        tree.kill_part(words)
    items = tree.wait_for_end(run, "data/killed")
    assert (items["failed"], items["done"] + items["cached"]) == (0, items["total"])
    assert items["cached"] > 0  # of the part of the run before its worker was killed
    wait_until(lambda: tree.web.call("GET", "/health", "").is_success, "the upload service")
    text = tree.program.log.read_text()
    for name in ("inbox", "upload service", "Prefect server", "worker"):
        assert f"the {name} ended (signal 9); starting it again in 1 s" in text
    assert len(re.findall(r"^the run .+ continues$", text, re.MULTILINE)) == 1


def test_killed_tree_leaves_no_process_and_continues(tree: Tree) -> None:
    """The last test of this tree: kill it, start it again in the same folder, and stop it in two ways."""
    password, run = tree.password, tree.start_slow_run("data/again")
    tree.program.process.kill()
    tree.program.wait()
    wait_until_gone(tree.program.mark)
    with start_tree(tree.folder, signal.SIGTERM) as again:
        assert again.password == password
        assert again.service.wait_for_final_state(run)["name"] == "Completed"
        assert "registered already" in (again.state / "logs" / "register.log").read_text()
        again.program.process.send_signal(signal.SIGINT)
        again.program.wait()
        assert "stopped" in again.program.log.read_text()
