"""Run flows whose inputs and outputs are in a store on a real server."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench, hash_files
from tests.stores.faulty_proxy import FaultyProxy
from tests.stores.s3_server import S3Server

RUN_FILES = {"summary.json", "items.parquet", "failures.json", "report.html"}
SECRETS = (b"secret-of-a-test", b"key-of-a-test")


def get_key(url: str) -> str:
    return url.partition("://")[2].partition("/")[2] + "/"


def list_outputs(objects: dict[str, bytes]) -> dict[str, bytes]:
    """Return the outputs of stages: no file of the run, no state."""
    return {key: body for key, body in objects.items() if key not in RUN_FILES and not key.startswith(".headrace/")}


def read_counts(objects: dict[str, bytes]) -> dict[str, int]:
    counts: dict[str, int] = json.loads(objects["summary.json"])["items"]
    return counts


def use_other_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use another folder for temporary files, as another machine has, so that nothing local is left."""
    folder.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))


@pytest.fixture
def clips_in_store(prefix: str, s3_server: S3Server, clips: list[Path]) -> str:
    """A prefix with three videos and a manifest of two samples of each."""
    rows = []
    for number, clip in enumerate(clips):
        s3_server.put(f"{get_key(prefix)}in/videos/clip-{number}.mp4", clip)
        rows += [{"id": f"{number}-{part}", "video_path": f"videos/clip-{number}.mp4", "label": part} for part in "ab"]
    s3_server.put(f"{get_key(prefix)}in/train.json", json.dumps(rows).encode())
    return f"{prefix}/in"


def run_dataset_prep(bench: Bench, manifest: str, output: str, *options: object) -> int:
    given = ("--manifest", manifest, "--output-dir", output, "--max-frames", 3, "--resize", 64)
    return bench.run(*given, *options, flow="flows.dataset_prep")


def test_dataset_from_and_into_a_store(
    bench: Bench, clips_in_store: str, s3_server: S3Server, clips: list[Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    local = tmp_path / "local"
    (local / "videos").mkdir(parents=True)
    for number, clip in enumerate(clips):
        (local / f"videos/clip-{number}.mp4").write_bytes(clip.read_bytes())
    (local / "train.json").write_bytes(s3_server.list(get_key(clips_in_store))["train.json"])
    assert run_dataset_prep(bench, str(local / "train.json"), str(tmp_path / "out")) == 0

    output = clips_in_store.removesuffix("in") + "out"
    assert run_dataset_prep(bench, f"{clips_in_store}/train.json", output) == 0
    said = capfd.readouterr()
    assert f"report: {output}/report.html" in said.out + said.err
    objects = s3_server.list(get_key(output))
    expected = {path: (tmp_path / "out" / path).read_bytes() for path in hash_files(tmp_path / "out")}
    assert list_outputs(objects) == list_outputs(expected)
    assert objects.keys() >= RUN_FILES
    assert [key for key in objects if key.startswith((".headrace/private", ".headrace/lease"))] == []
    assert not any(secret in body for body in objects.values() for secret in SECRETS)
    assert f"{clips_in_store}/train.json" in objects["summary.json"].decode()
    assert b"headrace-" not in objects["summary.json"], "a local path"

    use_other_machine(tmp_path / "other", monkeypatch)
    assert run_dataset_prep(bench, f"{clips_in_store}/train.json", output) == 0
    again = s3_server.list(get_key(output))
    assert read_counts(again)["cached"] == read_counts(again)["total"]
    assert list_outputs(again) == list_outputs(objects)

    s3_server.put(f"{get_key(clips_in_store)}videos/clip-0.mp4", clips[1])
    assert run_dataset_prep(bench, f"{clips_in_store}/train.json", output) == 0
    changed = s3_server.list(get_key(output))
    frames = json.loads(changed["summary.json"])["stages"]["frames"]
    assert (frames["done"], frames["cached"]) == (1, 2)
    assert list_outputs(changed) != list_outputs(objects)
    assert [path.name for path in (tmp_path / "other").rglob("*.mp4")] == []


def test_missing_object_is_restored_and_wrong_urls_say_so(
    bench: Bench, clips_in_store: str, s3_server: S3Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = clips_in_store.removesuffix("in") + "out"
    assert run_dataset_prep(bench, f"{clips_in_store}/train.json", output) == 0
    objects = s3_server.list(get_key(output))
    lost = next(key for key in objects if key.startswith("frames/"))
    s3_server.client.delete_object(Bucket="bucket", Key=get_key(output) + lost)
    assert run_dataset_prep(bench, f"{clips_in_store}/train.json", output) == 0
    assert s3_server.list(get_key(output))[lost] == objects[lost]
    capfd.readouterr()
    for manifest in (f"{clips_in_store}/none.json", "s3://no-such-bucket/train.json", "s4://bucket/train.json"):
        assert run_dataset_prep(bench, manifest, output) in (1, 2)
        said = capfd.readouterr().err
        assert "Traceback" not in said
        assert len(said.strip().splitlines()) <= 2, said
    assert sorted(path.name for path in Path.cwd().glob("s*:*")) == []


def test_killed_run_is_resumed_exactly(bench: Bench, prefix: str, s3_server: S3Server) -> None:
    bench.output = prefix  # type: ignore[assignment]
    gate = bench.folder / "gate"
    waits = {"do": "wait_for", "gate": str(gate)}
    bench.write_manifest(*({"id": f"item-{number:02d}", **(waits if number > 4 else {})} for number in range(12)))
    with bench.start_flow("--workers", 2, "--order", "manifest") as flow:
        wait_until(lambda: len(bench.count_tries()) == 7, flow.log.read_text)
        flow.signal(signal.SIGKILL)
        flow.wait()
    gate.touch()
    wait_until_gone(bench.mark)
    tried = bench.count_tries("end")
    assert bench.run("--workers", 2) == 0
    objects = s3_server.list(get_key(prefix))
    made = list_outputs(objects)
    assert len(made) == 24
    ids = {f"item-{number:02d}" for number in range(12)}
    assert {key for key in made if key.endswith("note.txt")} == {f"made/{item_id}/note.txt" for item_id in ids}
    assert read_counts(objects)["total"] == 12
    again = bench.count_tries("end") - tried
    assert set(again) | set(tried) == ids
    assert [key for key in objects if key.endswith(".stale") or "lease" in key] == []


def test_second_run_is_refused(bench: Bench, prefix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from tasks.engine.store.lease import hold_lease
    from tasks.engine.store.lock import Owner
    from tasks.stores.opening import open_writable_store

    bench.output = prefix  # type: ignore[assignment]
    bench.write_manifest({"id": "a"})
    with hold_lease(open_writable_store(prefix), Owner.mine("the-first")):
        assert bench.run() == 1
    assert f"{prefix} is in use by run the-first" in capfd.readouterr().err
    assert bench.run() == 0


@pytest.mark.parametrize("seed", [1])
def test_faulty_network_changes_no_result(
    bench: Bench, prefix: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    bench.output = prefix  # type: ignore[assignment]
    bench.write_manifest(*({"id": f"item-{number:02d}"} for number in range(20)))
    monkeypatch.setattr("tasks.stores.base._FIRST_WAIT_SECONDS", 0.01)
    with FaultyProxy(s3_server.url, share=0.15, seed=seed).run() as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        assert bench.run("--workers", 2) == 0
        assert sum(proxy.faults.values()) - proxy.faults[""] > 10
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    objects = s3_server.list(get_key(prefix))
    assert {key: body for key, body in list_outputs(objects).items() if key.endswith("note.txt")} == {
        f"made/item-{number:02d}/note.txt": f"item-{number:02d} text\n".encode() for number in range(20)
    }
    assert len(list_outputs(objects)) == 40
    assert read_counts(objects) == {"total": 20, "done": 20, "cached": 0, "failed": 0, "remaining": 0, "upstream": 0}
    assert os.environ["AWS_ENDPOINT_URL"] == s3_server.url
