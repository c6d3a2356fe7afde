"""Test deployments end to end: `prefect deploy`, a server, a worker, and runs that are triggered by the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engine.processes import find_processes, wait_until
from tests.flows.service import PREFECT, ROOT, Program, Service, start_program

TEST = "dataset-prep/test"
RETRY = "Retry (in the menu of the run) runs only the failed items."
DAMAGED = {"damaged-truncated.mp4", "damaged-text.mp4"}
BUSY: dict[str, Any] = {"manifest": None, "max_frames": 12, "resize": None, "image_format": "png"}


@pytest.fixture(scope="module")
def worker(service: Service, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Start a process worker in a folder other than the deployed one."""
    service.run_prefect("work-pool", "create", "headrace", "--type", "process", cwd=checkout)
    service.run_prefect("deploy", "--all", cwd=checkout)
    variables = service.build_environment(PREFECT_WORKER_QUERY_SECONDS="1", PREFECT_WORKER_PREFETCH_SECONDS="1")
    command = [PREFECT, "worker", "start", "--pool", "headrace", "--type", "process"]
    with start_program(command, tmp_path_factory.mktemp("worker"), variables) as program:
        program.wait_for_text("started!")
        yield program


@pytest.fixture(scope="module")
def first_run(service: Service, worker: Program) -> str:
    """Finish a run of the test profile with changed parameters; return its id."""
    execution = {"order": "manifest", "shard_size": 4}
    run = service.trigger(TEST, max_frames=3, execution=execution)
    service.wait_for_final_state(run)
    return run


@pytest.fixture(scope="module")
def second_run(service: Service, first_run: str) -> str:
    """Finish another run that keeps failed items and counts as failed because of them; return its id."""
    run = service.trigger(TEST, max_frames=3, execution={"keep_failed": True, "max_failed": 0.01})
    service.wait_for_final_state(run)
    return run


def read_summary(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "summary.json").read_bytes())
    return content


def count_records(output: Path) -> int:
    return len(list((output / ".headrace" / "records").rglob("*.json")))


def build_slow_parameters(slow_videos: Path, output: Path, **execution: Any) -> dict[str, Any]:
    return {**BUSY, "videos_dir": str(slow_videos), "output_dir": str(output), "execution": execution}


FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("flow", FLOWS)
def test_deployment_has_the_declared_settings(service: Service, worker: Program, checkout: Path, flow: str) -> None:
    schedules = {"default": [], "test": [], "nightly": [False], "inbox": []}
    for name, active in schedules.items():
        deployment = service.get_deployment(f"{flow.replace('_', '-')}/{name}")
        assert deployment["entrypoint"] == f"flows.{flow}.{flow}"
        assert deployment["work_pool_name"] == "headrace"
        assert [step["directory"] for pull in deployment["pull_steps"] for step in pull.values()] == [str(checkout)]
        assert [schedule["active"] for schedule in deployment["schedules"]] == active
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert name in deployment["tags"]
        assert deployment["description"]
        assert deployment["enforce_parameter_schema"]


def test_triggered_run_uses_changed_parameters(service: Service, first_run: str, checkout: Path) -> None:
    output = checkout / "demo" / "deployment"
    state = service.get_state(first_run)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed with failures")
    assert state["message"] == f"15 done, 0 cached, 2 failed. {RETRY}"
    content = read_summary(output)
    assert content["parameters"]["max_frames"] == 3
    assert content["parameters"]["resize"] == "160"
    assert content["parameters"]["execution"]["shard_size"] == 4
    assert {row["id"] for row in json.loads((output / "failures.json").read_bytes())} == DAMAGED
    samples = [path for path in (output / "frames").iterdir() if path.is_dir()]
    assert {len(list(sample.glob("*.jpg"))) for sample in samples} == {3}
    assert len(samples) == 37


def test_flow_and_task_runs_have_readable_names(service: Service, first_run: str) -> None:
    assert service.get(f"/flow_runs/{first_run}")["name"] == "dataset-prep demo/deployment"
    states = service.wait_for_task_runs(first_run)
    assert states.keys() >= {"plan dataset-prep", "summarize dataset-prep"}
    leases = {name: state for name, state in states.items() if name.startswith(("frames: ", "dataset: "))}
    assert {state for name, state in leases.items() if "failed" not in name} == {"Completed"}
    failed = {f"{name.partition(': ')[0]}: {state}" for name, state in leases.items() if "failed" in name}
    assert failed
    assert failed <= leases.keys(), "the state of a lease with failed items gives its counts"


def test_failures_and_summary_are_artifacts(service: Service, first_run: str) -> None:
    artifacts = service.find_artifacts(first_run)
    assert {row["type"] for name, row in artifacts.items() if not name.endswith("-progress")} == {"markdown"}
    failures, summary = (artifacts[f"dataset-prep-{word}"] for word in ("failures", "summary"))
    assert all(f"| {name} | frames |" in failures["data"] for name in DAMAGED)
    assert "**15 done, 0 cached, 2 failed**" in summary["data"]
    assert f"- Failed items: [2 items](../artifact/{failures['id']})" in summary["data"]
    assert all(RETRY in artifact["data"] for artifact in (failures, summary))


def test_repeated_run_shows_stages_as_cached(service: Service, second_run: str, checkout: Path) -> None:
    states = service.wait_for_task_runs(second_run)
    assert states == {"plan dataset-prep": "Cached", "summarize dataset-prep": "Completed"}
    assert read_summary(checkout / "demo" / "deployment")["items"]["cached"] == 15


def test_run_with_more_failures_than_max_failed_fails(service: Service, second_run: str) -> None:
    state = service.get_state(second_run)
    assert state["type"] == "FAILED"
    settled = "12% failed, more than --max-failed 0.01: 0 done, 15 cached, 2 failed"
    assert state["message"] == settled, "failed items are kept, so a retry would not run them"


def test_invalid_parameter_is_refused_before_a_run_is_created(
    service: Service, worker: Program, tmp_path: Path
) -> None:
    for name, value, words in (("strategy", "zz", "support-then-uniform"), ("resize", "banana", "banana")):
        answer = service.request_run(TEST, **{name: value, "output_dir": str(tmp_path / "output")})
        assert answer.status_code == httpx.codes.CONFLICT
        assert name in answer.text
        assert words in answer.text


def test_form_shows_the_field_with_an_invalid_value(service: Service, worker: Program) -> None:
    """Send what the form of the UI sends while a user edits it."""
    schema = service.get_deployment(TEST)["parameter_openapi_schema"]
    assert schema["properties"]["resize"]["title"] == "Size of the frames (px)"
    values = {"videos_dir": "videos", "output_dir": "output", "resize": "banana"}
    answer = service.post("/ui/schemas/validate", schema=schema, values=values).raise_for_status().json()
    assert answer["valid"] is False
    assert [error["property"] for error in answer["errors"]] == ["resize"]


def test_invalid_manifest_fails_the_run_with_all_problems(service: Service, worker: Program, tmp_path: Path) -> None:
    rows = [{"id": "a", "video_path": "../bunny.mp4"}, {"id": "a"}]
    manifest = tmp_path / "train.json"
    manifest.write_text(json.dumps(rows))
    output = tmp_path / "output"
    run = service.trigger(TEST, manifest=str(manifest), splits="train=2", output_dir=str(output))
    state = service.wait_for_final_state(run)
    assert state["type"] == "FAILED"
    for words in ("row 1, video_path: '..'", "row 2, video_path: nothing", "'a' again", "train=2"):
        assert words in state["message"]
    assert not output.exists()


def test_exoplanet_features_deployment_searches_stars(service: Service, worker: Program, checkout: Path) -> None:
    run = service.trigger("exoplanet-features/test", max_planets=1, plots=False)
    state = service.wait_for_final_state(run)
    assert (state["name"], state["message"]) == ("Completed with failures", f"7 done, 0 cached, 1 failed. {RETRY}")
    output = checkout / "demo" / "stars-deployment"
    assert read_summary(output)["parameters"]["max_planets"] == 1
    assert {path.name for path in output.iterdir()} >= {"features.parquet", "bls_tls_features.csv", "report.html"}


def test_landmark_extraction_deployment_writes_landmarks(
    service: Service, worker: Program, checkout: Path, shared_models: Path
) -> None:
    model = shared_models / "holistic_assembled.task"
    run = service.trigger("landmark-extraction/test", model=str(model), split="train")
    state = service.wait_for_final_state(run)
    assert (state["name"], state["message"]) == ("Completed with failures", f"3 done, 0 cached, 1 failed. {RETRY}")
    output = checkout / "demo" / "signs-deployment"
    assert read_summary(output)["parameters"]["fill_gaps"] == 3
    assert {path.name for path in (output / "train" / "landmarks").iterdir()} == {
        "left-turn.npz",
        "passing.npz",
        "torn.npz",
    }


def test_vhs_presets_deployment_compares_presets(service: Service, worker: Program, checkout: Path) -> None:
    run = service.trigger("vhs-presets/test")
    assert service.wait_for_final_state(run)["name"] == "Completed"
    output = checkout / "demo" / "presets-deployment"
    assert read_summary(output)["parameters"]["piece_seconds"] == 0.4
    assert {path.name for path in output.iterdir()} >= {"comparison.jpg", "comparison.csv", "report.html"}


def test_vhs_batch_deployment_restores_tapes(service: Service, worker: Program, checkout: Path) -> None:
    settings = checkout / "settings.csv"
    settings.write_text("tape,codec,crf\nbroken-off.mkv,x264,30\n")
    run = service.trigger("vhs-batch/test", settings=str(settings), height=120)
    assert service.wait_for_final_state(run)["name"] == "Completed with failures"
    output = checkout / "demo" / "tapes-deployment"
    assert [row["id"] for row in json.loads((output / "failures.json").read_bytes())] == ["never-began"]
    assert {path.stem for path in (output / "restored").iterdir()} == {"street-1994", "film", "broken-off"}


def test_overlay_removal_deployment_removes_overlays(service: Service, worker: Program, checkout: Path) -> None:
    run = service.trigger("overlay-removal/test", detector="mask", mask="256,14,44x32", segments=2)
    assert service.wait_for_final_state(run)["name"] == "Completed"
    output = checkout / "demo" / "marked-deployment"
    assert read_summary(output)["parameters"]["method"] == "unblend"
    assert read_summary(output)["stages"]["segments"]["done"] == 4
    assert {path.name for path in (output / "cleaned").iterdir()} == {"bunny.mp4", "street.mp4"}


def test_cancelled_run_is_resumed(service: Service, worker: Program, slow_videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    run = service.trigger(TEST, **build_slow_parameters(slow_videos, output, workers=1))
    wait_until(
        lambda: count_records(output) >= 2 and "dataset-prep-progress" in service.find_artifacts(run),
        "two records and an artifact",
    )
    service.cancel(run)
    state = service.wait_for_final_state(run)
    assert state["type"] == "CANCELLED"
    wait_until(
        lambda: not find_item_processes(worker), f"the run's processes are left: {find_item_processes(worker)}", 20.0
    )
    done = count_records(output)
    assert 2 <= done < 8, "the run was over before it was cancelled"
    assert read_summary(output)["state"] == "interrupted"
    counts = {"total": 8, "done": done, "cached": 0, "failed": 0, "remaining": 8 - done, "upstream": 0}
    assert read_summary(output)["items"] == counts
    assert service.find_artifacts(run)["dataset-prep-progress"]["type"] == "progress"

    again = service.trigger(TEST, **build_slow_parameters(slow_videos, output))
    assert service.wait_for_final_state(again)["name"] == "Completed"
    assert read_summary(output)["stages"]["frames"]["cached"] == done


def find_item_processes(worker: Program) -> list[str]:
    """Return the command lines of a worker's run and item processes."""
    modules = ("prefect.engine", "tasks.engine.running.child")
    return [line for line in find_processes(worker.mark).values() if any(module in line for module in modules)]
