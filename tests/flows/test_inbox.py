"""Test `python deployments/inbox.py` with real files, a real server and real processes.

No worker runs: the tests count the runs that the server has created for a deployment.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient

from deployments import inbox as inbox_module
from deployments.arrivals import Handled, Quiet, State, compute_key, find_new, is_temporary, list_files
from deployments.inbox import INPUTS
from tests.engine.processes import wait_until
from tests.flows.conftest import Deployed
from tests.flows.service import ROOT, Program, Service, build_environment, start_program

INBOX = ROOT / "deployments" / "inbox.py"
_QUIET_SECONDS = 1.5


@pytest.fixture(scope="module")
def server(deployed: Deployed) -> Service:
    return deployed.service


@pytest.fixture(scope="module")
def inbox(deployed: Deployed) -> Path:
    """Return the folder of all inboxes."""
    return deployed.folder / "data" / "inbox"


@contextlib.contextmanager
def watch(server: Service, folder: Path, state: Path) -> Iterator[Program]:
    """Run the inbox with short intervals until it watches the folders."""
    options = ["--poll", 0.1, "--quiet", _QUIET_SECONDS, "--state", state]
    with start_program([sys.executable, INBOX, *options], folder, server.build_environment()) as program:
        program.wait_for_text("watching ")
        yield program


def find_runs(server: Service, name: str) -> list[str]:
    """Return the ids of the runs of a deployment that the inbox has started."""
    deployment = server.get_deployment(name)["id"]
    rows = server.find("flow_runs", deployments={"id": {"any_": [deployment]}})
    return [row["id"] for row in rows if (row["idempotency_key"] or "").startswith("headrace-inbox-")]


def wait_for_runs(server: Service, name: str, count: int) -> None:
    """Wait until a deployment has ``count`` runs. Raises AssertionError if it has more."""
    wait_until(lambda: len(find_runs(server, name)) >= count, f"{count} runs of {name}", 30.0, every_seconds=0.1)
    assert len(find_runs(server, name)) == count


def test_ten_files_within_a_second_start_one_run(server: Service, inbox: Path, tmp_path: Path) -> None:
    name, folder = "dataset-prep/inbox", inbox / "dataset_prep"
    with watch(server, tmp_path, tmp_path / "state.json") as program:
        assert folder.is_dir()
        for number in range(10):
            (folder / f"{number}.mp4").write_bytes(b"0" * 1000)
            time.sleep(0.05)
        wait_for_runs(server, name, 1)
        program.wait_for_text("10 new files")
        (folder / "later.mp4").write_bytes(b"1")
        wait_for_runs(server, name, 2)
        program.wait_for_text("1 new file in")
        (folder / "later.mp4").unlink()
        (folder / "0.mp4").write_bytes(b"another content")  # a removed file alone starts no run
        wait_for_runs(server, name, 3)


def test_growing_file_starts_a_run_only_when_it_is_complete(server: Service, inbox: Path, tmp_path: Path) -> None:
    name, folder = "vhs-batch/inbox", inbox / "vhs_batch"
    with watch(server, tmp_path, tmp_path / "state.json"):
        (folder / "complete.mkv").write_bytes(b"0")
        end = time.monotonic() + 3 * _QUIET_SECONDS
        with (folder / "growing.mkv").open("wb", buffering=0) as stream:
            while time.monotonic() < end:
                stream.write(b"0" * 100)
                assert find_runs(server, name) == []
                time.sleep(_QUIET_SECONDS / 5)
        wait_for_runs(server, name, 1)


def test_renamed_file_starts_a_run_and_its_temporary_name_does_not(
    server: Service, inbox: Path, tmp_path: Path
) -> None:
    name, folder = "overlay-removal/inbox", inbox / "overlay_removal"
    other = inbox / "exoplanet_features"
    with watch(server, tmp_path, tmp_path / "state.json"):
        for temporary in ("video.mp4.part", ".video.mp4.Xy1", "~$video.mp4"):
            (folder / temporary).write_bytes(b"0" * 1000)
        (other / "star.csv").write_bytes(b"0")  # when it has a run, the first folder was quiet for as long
        wait_for_runs(server, "exoplanet-features/inbox", 1)
        assert find_runs(server, name) == []
        (folder / "video.mp4.part").rename(folder / "video.mp4")
        wait_for_runs(server, name, 1)


def test_killed_inbox_starts_each_run_once(server: Service, inbox: Path, tmp_path: Path) -> None:
    """Test a kill after the run was created, before and after that was recorded."""
    name, folder = "landmark-extraction/inbox", inbox / "landmark_extraction"
    state = tmp_path / "state.json"
    for is_recorded in (False, True):
        with watch(server, tmp_path, state) as program:
            if not is_recorded:
                (folder / "sample").mkdir()
                (folder / "sample" / "0.png").write_bytes(b"0")
            wait_for_runs(server, name, 1)
            wait_until(state.is_file, "the state file", 20.0)
            program.process.send_signal(signal.SIGKILL)
            program.wait()
        if not is_recorded:
            state.unlink()
    with watch(server, tmp_path, state):
        (folder / "sample" / "1.png").write_bytes(b"0")
        wait_for_runs(server, name, 2)


def test_single_file_of_a_deployment_is_watched(server: Service, inbox: Path, tmp_path: Path) -> None:
    tape = inbox / "vhs_presets" / "sample.mkv"
    with watch(server, tmp_path, tmp_path / "state.json"):
        assert tape.parent.is_dir()
        tape.write_bytes(b"0" * 100)
        wait_for_runs(server, "vhs-presets/inbox", 1)


def test_every_deployment_is_watched_or_named(
    server: Service, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = server.get_deployment("dataset-prep/inbox")["flow_id"]
    made = server.post("/deployments/", name="no-folder", flow_id=flow, tags=["inbox"]).raise_for_status().json()
    try:
        monkeypatch.setattr(inbox_module, "_PAGE", 2)
        with SyncPrefectClient(server.url) as client:
            watched, ignored = inbox_module.find_watched(client)
        assert len(watched) == len(list((ROOT / "flows").glob("*.py"))) - 1, "one per flow"
        assert ignored == ["dataset-prep/no-folder"]
        with watch(server, tmp_path, tmp_path / "state.json") as program:
            program.wait_for_text("dataset-prep/no-folder has the tag inbox and none of the parameters videos_dir")
    finally:
        server.delete(f"/deployments/{made['id']}")


def test_unavailable_server_is_waited_for(tmp_path: Path) -> None:
    variables = build_environment(tmp_path, uuid.uuid4().hex, "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0")
    with start_program([sys.executable, INBOX, "--poll", 0.1, "--quiet", 1], tmp_path, variables) as program:
        program.wait_for_text("the Prefect server does not answer")
        assert program.process.poll() is None
    assert program.process.returncode == 0
    assert program.log.read_text().count("\n") == 1


@pytest.mark.parametrize(("options", "words"), [((), "PREFECT_API_URL"), (("--poll", "9", "--quiet", "1"), "--poll 9")])
def test_usage_error_is_one_line(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    api = "http://127.0.0.1:9/api" if options else None
    variables = build_environment(tmp_path, uuid.uuid4().hex, api)
    command = [sys.executable, INBOX, *options]
    ran = subprocess.run(command, check=False, env=variables, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert words in ran.stderr


def test_every_inbox_deployment_names_its_input() -> None:
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    for entry in entries:
        if entry["name"] == "inbox":
            assert "inbox" in entry["tags"]
            assert sum(name in entry["parameters"] for name in INPUTS) == 1


# Arrivals


def test_listing_has_complete_files_of_all_subfolders(tmp_path: Path) -> None:
    for name in ("a.mp4", "tapes/b.mkv", ".hidden", "c.PART", "d~", ".rsync/e.mp4", "tapes/.f.mkv.aB3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"00")
    (tmp_path / "dangling").symlink_to("missing")
    listing = list_files(tmp_path)
    assert set(listing) == {"a.mp4", "tapes/b.mkv"}
    assert listing["a.mp4"] == (2, (tmp_path / "a.mp4").stat().st_mtime_ns)
    assert list_files(tmp_path / "missing") == {}
    assert set(list_files(tmp_path / "a.mp4")) == {"a.mp4"}


def test_unreadable_folder_raises(tmp_path: Path) -> None:
    """Test a name that is too long for the file system, which fails for root, too."""
    with pytest.raises(OSError, match="too long"):
        list_files(tmp_path / ("a" * 300))


@pytest.mark.parametrize("name", ["a.part", "a.mp4.crdownload", "a.TMP", ".a", "~$a.csv", "a.csv~"])
def test_temporary_names_are_recognized(name: str) -> None:
    assert is_temporary(name)
    assert not is_temporary("partial.mp4")


def test_folder_is_quiet_after_equal_listings() -> None:
    quiet, listing = Quiet(10.0), {"a": (1, 1)}
    assert not quiet.is_quiet(listing, 0.0)
    assert not quiet.is_quiet(listing, 9.9)
    assert quiet.is_quiet(listing, 10.0)
    assert not quiet.is_quiet({"a": (1, 2)}, 11.0)
    assert not quiet.is_quiet({"a": (1, 2)}, 20.0)
    assert quiet.is_quiet({"a": (1, 2)}, 21.0)
    quiet.reset()
    assert not quiet.is_quiet({"a": (1, 2)}, 40.0)


def test_new_files_are_those_that_differ_from_the_handled_ones() -> None:
    handled = {"a": (1, 1), "b": (1, 1)}
    assert find_new({"a": (1, 1)}, handled) == []
    assert find_new({"a": (1, 2), "c": (1, 1)}, handled) == ["a", "c"]


def test_keys_differ_when_an_earlier_version_returns() -> None:
    first, second = {"a": (1, 1)}, {"a": (2, 2)}
    keys = [""]
    for listing in (first, second, first, second):
        keys.append(compute_key("deployment", listing, keys[-1]))
    assert len(set(keys)) == 5
    assert compute_key("deployment", first, "") == keys[1] != compute_key("other", first, "")


def test_state_survives_and_damage_is_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.json"
    assert State(path).get("deployment") == Handled()
    handled = Handled("key", {"a": (1, 2)})
    State(path).set("deployment", handled)
    assert State(path).get("deployment") == handled
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]
    for content in ("", "[]", '{"deployment": 1}', '{"deployment": {"key": "a", "files": {"a": [1]}}}'):
        path.write_text(content)
        assert State(path).get("deployment") == Handled()
    shutil.rmtree(path.parent)


def read_docs() -> Any:
    return (ROOT / "deployments" / "README.md").read_text(encoding="utf-8")


def test_options_and_temporary_names_are_documented() -> None:
    for word in ("--poll", "--quiet", "--state", "HEADRACE_INBOX_STATE", "`.part`"):
        assert word in read_docs()
