"""Over a thousand damaged and malicious inputs: each is refused for the right reason, and has no side effects."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from tests.engine.processes import wait_until
from tests.hostile.conftest import ROOT, Listener, TracedRun, create_environment, take_snapshot
from tests.hostile.corpus import Case, Targets
from tests.hostile.watch import Action, is_within, list_system_folders, trace_command

ISOLATED = ("timeout", "crash", "out_of_memory")


def classify(case: Case, result: dict[str, Any], base_frames: dict[str, set[str]]) -> str:
    """Return ``correct``, ``other frames``, or the kind of the failure."""
    if result["outcome"] != "done":
        return str(result["kind"])
    frames = set(result["frames"])
    return "correct" if frames and frames <= base_frames.get(case.base, set()) else "other frames"


def list_allowed(case: Case) -> set[str]:
    return {
        "refused": {"bad_input"},
        "correct": {"correct"},
        "not wrong": {"bad_input", "correct"},
        "bounded": {"bad_input", "correct", "other frames"},
        "contained": {"bad_input", "correct", "other frames", *ISOLATED},
    }[case.expects]


def test_corpus_is_large(traced_run: TracedRun) -> None:
    assert len(traced_run.videos) >= 500
    assert len({case.name for case in traced_run.videos}) == len(traced_run.videos)
    assert len(traced_run.manifests) >= 250


def test_each_video_has_an_allowed_result(traced_run: TracedRun, capsys: pytest.CaptureFixture[str]) -> None:
    base_frames = {result["name"]: set(result["frames"]) for result in traced_run.results["bases"]}
    assert all(base_frames.values()), "the base videos of the corpus must be intact"
    table: dict[str, Counter[str]] = {}
    violations = []
    for case, result in zip(traced_run.videos, traced_run.results["videos"], strict=True):
        verdict = classify(case, result, base_frames)
        table.setdefault(case.family, Counter())[verdict] += 1
        if verdict not in list_allowed(case):
            violations.append((case, verdict, result["message"]))
    with capsys.disabled():
        print(format_table(table, ["bad_input", "correct", "other frames", *ISOLATED]))
    assert violations == []


def format_table(table: dict[str, Counter[str]], columns: list[str]) -> str:
    """Format the results by family as the table in docs/reliability.md."""
    lines = [["family", "cases", *columns]]
    lines += [
        [name, str(counts.total()), *(str(counts[column]) for column in columns)] for name, counts in table.items()
    ]
    total: Counter[str] = sum(table.values(), Counter())
    lines.append(["all", str(total.total()), *(str(total[column]) for column in columns)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def test_at_most_one_percent_needs_isolation(traced_run: TracedRun) -> None:
    results = traced_run.results["videos"]
    isolated = [result["name"] for result in results if result["kind"] in ISOLATED]
    assert len(isolated) <= len(results) // 100, isolated


def test_messages_are_printable_lines(traced_run: TracedRun) -> None:
    for result in traced_run.results["videos"]:
        if result["kind"]:
            assert 0 < len(result["message"]) < 500
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", result["message"])


def test_time_and_memory_per_video_are_bounded(traced_run: TracedRun) -> None:
    usages = {result["name"]: result["usage"] for result in traced_run.results["videos"]}
    assert max(usage["seconds"] for usage in usages.values()) < 10
    assert max(usage["peak_memory_bytes"] for usage in usages.values()) < 1 << 30


def test_each_manifest_is_refused_or_read_as_expected(
    traced_run: TracedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    violations = []
    table: dict[str, Counter[str]] = {}
    for case, result in zip(traced_run.manifests, traced_run.results["manifests"], strict=True):
        refused = bool(result["problems"])
        table.setdefault(case.family, Counter())["refused" if refused else "read"] += 1
        if case.expects != "either" and refused is not (case.expects == "refused"):
            violations.append((case, result["problems"][:1]))
    with capsys.disabled():
        print(format_table(table, ["refused", "read"]))
    assert violations == []


def test_problems_are_printable_lines(traced_run: TracedRun) -> None:
    for result in traced_run.results["manifests"]:
        assert result["seconds"] < 10, result["name"]
        assert len(result["problems"]) < 200, result["name"]
        for problem in result["problems"]:
            assert len(problem) < 20_000
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", problem), result["name"]


def test_manifests_lead_only_to_files_in_their_folder(traced_run: TracedRun) -> None:
    listed = traced_run.folder / "listed"
    for result in traced_run.results["manifests"]:
        for video in result["videos"]:
            real = Path(os.path.realpath(listed / video))
            assert real.is_relative_to(listed)
            assert real.is_file()


def test_every_image_gives_a_contact_sheet(traced_run: TracedRun) -> None:
    assert all(size > 0 for size in traced_run.results["images"])


def test_images_that_do_not_match_their_records_are_not_decoded(traced_run: TracedRun) -> None:
    """Check it because two of them would take gigabytes."""
    assert traced_run.results["altered"] == 0


def test_no_file_is_written_outside_the_output_folder(traced_run: TracedRun) -> None:
    allowed = ("/dev/null", "/proc")  # a process sets its own OOM score
    changes = [action for action in traced_run.actions if action.kind in {"write", "change"} and action.has_succeeded]
    assert len(changes) > 1000, "the trace contains writes"
    assert [action for action in changes if not is_within(action.path, traced_run.folder / "output", *allowed)] == []


def test_inputs_are_unchanged(traced_run: TracedRun) -> None:
    after = take_snapshot(traced_run.folder)
    changed = {path for path in after if after[path] != traced_run.outside_before.get(path)}
    assert {path for path in changed if not is_within(path, "output", "trace")} == set()
    assert set(traced_run.outside_before) <= set(after)


def test_only_inputs_and_system_files_are_read(traced_run: TracedRun) -> None:
    inputs = [traced_run.folder / name for name in ("bases", "videos", "listed", "manifests", "images", "output")]
    code = [ROOT / "tasks", ROOT / "tests", ROOT / "pyproject.toml"]
    allowed = [*inputs, *code, traced_run.folder / "order.json", "/dev/null", "/dev/urandom", *list_system_folders()]
    reads = [action for action in traced_run.actions if action.kind == "read" and action.has_succeeded]
    assert len(reads) > len(traced_run.videos), "the trace contains reads"
    unexpected = {action.path for action in reads if not is_within(action.path, *allowed)}
    assert {path for path in unexpected if path not in (str(ROOT), "/", str(ROOT.parent))} == set()


def test_targets_of_hostile_files_are_never_opened(traced_run: TracedRun) -> None:
    outside = traced_run.targets.canary.parent
    touched = [
        action
        for action in traced_run.actions
        if is_within(action.path, outside, "/etc/passwd", "/dev/zero", "/dev/tty")
    ]
    assert touched == []
    attempts = [action for action in traced_run.actions if "canary" in action.path and action.kind != "unclear"]
    assert [action for action in attempts if not is_within(action.path, traced_run.folder)] == []


def test_no_network_is_used(traced_run: TracedRun) -> None:
    assert traced_run.listener.calls == []
    assert [action for action in traced_run.actions if action.kind == "network"] == []


def test_no_other_program_is_started(traced_run: TracedRun) -> None:
    started = {
        os.path.realpath(action.path)
        for action in traced_run.actions
        if action.kind == "start" and action.has_succeeded
    }
    assert started == {os.path.realpath(sys.executable)}


def test_every_traced_call_is_understood(traced_run: TracedRun) -> None:
    assert [action for action in traced_run.actions if action.kind == "unclear"] == []


def test_outputs_are_frames_records_and_logs(traced_run: TracedRun) -> None:
    files = [path for path in (traced_run.folder / "output").rglob("*") if path.is_file()]
    kinds = Counter(path.suffix for path in files if path.parent.name != "marks")
    assert set(kinds) <= {".jpg", ".json", ".log"}
    for path in (traced_run.folder / "output").rglob("*.json"):
        json.loads(path.read_bytes())


# The tracing code


def test_trace_contains_forbidden_actions(tmp_path: Path, listener: Listener, tracer: None) -> None:
    code = """
import os, socket, subprocess, sys
open("canary é.txt").close()
open(sys.argv[1] + "/made", "w").close()
os.rename(sys.argv[1] + "/made", sys.argv[1] + "/moved")
folder = os.open(sys.argv[1], os.O_RDONLY)
os.unlink("moved", dir_fd=folder)
os.symlink("canary é.txt", "link")
open("link").close()
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", int(sys.argv[2])))
subprocess.run(["true"])
"""
    (tmp_path / "canary é.txt").touch()
    (tmp_path / "work").mkdir()
    before = len(listener.calls)
    command = [sys.executable, "-c", code, str(tmp_path / "work"), str(listener.port)]
    actions = trace_command(command, tmp_path / "trace", tmp_path, create_environment(tmp_path), 60)

    def find_actions(kind: str, path: Path) -> list[Action]:
        return [
            action for action in actions if action.kind == kind and action.path == str(path) and action.has_succeeded
        ]

    assert len(find_actions("read", tmp_path / "canary é.txt")) == 2  # the symlink is followed
    assert find_actions("write", tmp_path / "work/made")
    assert {action.call for action in find_actions("change", tmp_path / "work/moved")} >= {"unlinkat"}
    assert {"socket", "sendto"} <= {action.call for action in actions if action.kind == "network"}
    assert any(action.path.endswith("/true") for action in actions if action.kind == "start" and action.has_succeeded)
    wait_until(lambda: len(listener.calls) > before, "a recorded connection")


def test_corpus_is_dangerous_without_the_allow_list(traced_run: TracedRun, tmp_path: Path, tracer: None) -> None:
    """Check that unrestricted FFmpeg reads the canary and connects to the port for some of the refused files."""
    unrestricted = ["-protocol_whitelist", "file,http,tcp", "-v", "quiet", "-nostdin"]
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    dangerous = {
        "list-ffconcat-path": ["-f", "concat", "-safe", "0"],
        "list-m3u8-http": ["-f", "hls", "-allowed_extensions", "ALL", "-extension_picky", "0"],
        "dref-alis-path": ["-enable_drefs", "1", "-use_absolute_path", "1"],
    }
    touched = []
    for number, (name, options) in enumerate(dangerous.items()):
        file = next(traced_run.folder.glob(f"videos/{name}.*"))
        script = [ffmpeg, *unrestricted, *options, "-i", str(file), "-f", "null", "-"]
        command = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:], timeout=20)", *script]
        actions = trace_command(command, tmp_path / f"trace{number}", tmp_path, create_environment(tmp_path), 60)
        reads = any(action.path == str(traced_run.targets.canary) for action in actions)
        calls = any(action.call == "connect" for action in actions)
        touched.append((name, reads, calls))
    assert touched == [
        ("list-ffconcat-path", True, False),
        ("list-m3u8-http", False, True),
        ("dref-alis-path", True, False),
    ]


# Forbidden constructs in the code


def test_code_never_unpickles_or_evaluates() -> None:
    banned_modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "dbm", "yaml"}
    banned_calls = {"eval", "exec", "compile", "__import__"}
    violations = []
    for path in [*ROOT.glob("tasks/**/*.py"), *ROOT.glob("flows/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                violations += [f"{place} {name}" for name in modules if name.partition(".")[0] in banned_modules]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in banned_calls:
                violations.append(f"{place} {node.func.id}")
            if isinstance(node, ast.Call) and any(
                word.arg == "allow_pickle" and getattr(word.value, "value", True) for word in node.keywords
            ):
                violations.append(f"{place} allow_pickle")
            if isinstance(node, ast.Call) and any(
                word.arg == "shell" and getattr(word.value, "value", True) for word in node.keywords
            ):
                names_a_shell = isinstance(node.func, ast.Attribute) and node.func.attr == "generate_completion"
                violations += [] if names_a_shell else [f"{place} shell"]
            if isinstance(node, ast.Attribute) and node.attr in {"read_pickle", "to_pickle", "unpickle"}:
                violations.append(f"{place} {node.attr}")
    assert violations == []


def test_videos_are_opened_in_one_place() -> None:
    """Check that no other code opens media for reading, because it would bypass the allow-list."""
    opening = re.compile(r"""\bav\.open\((?!.*, "w", format=)|VideoCapture\(|\bVideoStream\(|imageio\.""")
    paths = [path for path in ROOT.glob("tasks/**/*.py") if opening.search(path.read_text(encoding="utf-8"))]
    assert paths == [ROOT / "tasks/media/opening.py"]


def test_targets_use_protocols_of_ffmpeg(tmp_path: Path) -> None:
    """Check that FFmpeg knows the protocols of all targets."""
    protocols = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-protocols"], capture_output=True, text=True, check=True
    ).stdout.split()
    used = {url.partition(":")[0].partition(",")[0] for url in Targets(tmp_path, 1).urls.values() if ":" in url}
    assert used <= set(protocols)
