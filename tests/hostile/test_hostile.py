"""More than a thousand damaged and malicious inputs: each refused for the right reason, and nothing touched beside."""

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
from tests.hostile.conftest import ROOT, Listener, Watched, environment, snapshot
from tests.hostile.corpus import Case, Targets
from tests.hostile.watch import Deed, is_within, strace, system_folders

ISOLATED = ("timeout", "crash", "out_of_memory")


def verdict(case: Case, result: dict[str, Any], sound: dict[str, set[str]]) -> str:
    """``right``, ``other frames``, or the kind of the failure."""
    if result["outcome"] != "done":
        return str(result["kind"])
    frames = set(result["frames"])
    return "right" if frames and frames <= sound.get(case.base, set()) else "other frames"


def allowed(case: Case) -> set[str]:
    return {
        "refused": {"bad_input"},
        "right": {"right"},
        "not wrong": {"bad_input", "right"},
        "bounded": {"bad_input", "right", "other frames"},
        "contained": {"bad_input", "right", "other frames", *ISOLATED},
    }[case.expects]


def test_the_corpus_is_large(watched: Watched) -> None:
    assert len(watched.videos) >= 500
    assert len({case.name for case in watched.videos}) == len(watched.videos)
    assert len(watched.manifests) >= 250


def test_each_video_ends_as_it_may(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    sound = {result["name"]: set(result["frames"]) for result in watched.results["sound"]}
    assert all(sound.values()), "the videos that the corpus is made from must be sound"
    table: dict[str, Counter[str]] = {}
    wrong = []
    for case, result in zip(watched.videos, watched.results["videos"], strict=True):
        found = verdict(case, result, sound)
        table.setdefault(case.family, Counter())[found] += 1
        if found not in allowed(case):
            wrong.append((case, found, result["message"]))
    with capsys.disabled():
        print(table_of(table, ["bad_input", "right", "other frames", *ISOLATED]))
    assert wrong == []


def table_of(table: dict[str, Counter[str]], columns: list[str]) -> str:
    """The outcomes by family, as docs/reliability.md shows them."""
    lines = [["family", "cases", *columns]]
    lines += [[name, str(found.total()), *(str(found[column]) for column in columns)] for name, found in table.items()]
    total: Counter[str] = sum(table.values(), Counter())
    lines.append(["all", str(total.total()), *(str(total[column]) for column in columns)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def test_isolation_had_to_step_in_for_few(watched: Watched) -> None:
    results = watched.results["videos"]
    isolated = [result["name"] for result in results if result["kind"] in ISOLATED]
    assert len(isolated) <= len(results) // 100, isolated


def test_messages_are_lines_that_a_terminal_can_show(watched: Watched) -> None:
    for result in watched.results["videos"]:
        if result["kind"]:
            assert 0 < len(result["message"]) < 500
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", result["message"])


def test_no_video_takes_long_or_much(watched: Watched) -> None:
    usages = {result["name"]: result["usage"] for result in watched.results["videos"]}
    assert max(usage["seconds"] for usage in usages.values()) < 10
    assert max(usage["peak_memory_bytes"] for usage in usages.values()) < 1 << 30


def test_each_manifest_is_refused_or_read_as_it_should(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    table: dict[str, Counter[str]] = {}
    for case, result in zip(watched.manifests, watched.results["manifests"], strict=True):
        refused = bool(result["problems"])
        table.setdefault(case.family, Counter())["refused" if refused else "read"] += 1
        if case.expects != "either" and refused is not (case.expects == "refused"):
            wrong.append((case, result["problems"][:1]))
    with capsys.disabled():
        print(table_of(table, ["refused", "read"]))
    assert wrong == []


def test_problems_are_lines_that_a_terminal_can_show(watched: Watched) -> None:
    for result in watched.results["manifests"]:
        assert result["seconds"] < 10, result["name"]
        assert len(result["problems"]) < 200, result["name"]
        for problem in result["problems"]:
            assert len(problem) < 20_000
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", problem), result["name"]


def test_a_manifest_leads_to_files_of_its_folder_only(watched: Watched) -> None:
    listed = watched.folder / "listed"
    for result in watched.results["manifests"]:
        for video in result["videos"]:
            real = Path(os.path.realpath(listed / video))
            assert real.is_relative_to(listed)
            assert real.is_file()


def test_every_picture_was_drawn_or_left_empty(watched: Watched) -> None:
    assert all(size > 0 for size in watched.results["pictures"])


def test_no_picture_is_decoded_that_the_stage_did_not_make(watched: Watched) -> None:
    """Two of them would take gigabytes."""
    assert watched.results["altered"] == 0


def test_nothing_is_written_outside_the_output_folder(watched: Watched) -> None:
    own = ("/dev/null", "/proc")  # what a process sets of itself: its priority for the kernel's memory killer
    changes = [deed for deed in watched.deeds if deed.kind in {"write", "change"} and deed.done]
    assert len(changes) > 1000, "the watch sees what is written"
    assert [deed for deed in changes if not is_within(deed.path, watched.folder / "output", *own)] == []


def test_inputs_are_as_they_were(watched: Watched) -> None:
    after = snapshot(watched.folder)
    changed = {path for path in after if after[path] != watched.outside_before.get(path)}
    assert {path for path in changed if not is_within(path, "output", "trace")} == set()
    assert set(watched.outside_before) <= set(after)


def test_nothing_is_read_but_inputs_and_the_system_s_own_files(watched: Watched) -> None:
    own = [watched.folder / name for name in ("bases", "videos", "listed", "manifests", "pictures", "output")]
    code = [ROOT / "tasks", ROOT / "tests", ROOT / "pyproject.toml"]
    fine = [*own, *code, watched.folder / "order.json", "/dev/null", "/dev/urandom", *system_folders()]
    reads = [deed for deed in watched.deeds if deed.kind == "read" and deed.done]
    assert len(reads) > len(watched.videos), "the watch sees what is read"
    strange = {deed.path for deed in reads if not is_within(deed.path, *fine)}
    assert {path for path in strange if path not in (str(ROOT), "/", str(ROOT.parent))} == set()


def test_what_hostile_files_point_at_is_not_even_tried(watched: Watched) -> None:
    outside = watched.targets.canary.parent
    touched = [deed for deed in watched.deeds if is_within(deed.path, outside, "/etc/passwd", "/dev/zero", "/dev/tty")]
    assert touched == []
    wandering = [deed for deed in watched.deeds if "canary" in deed.path and deed.kind != "unclear"]
    assert [deed for deed in wandering if not is_within(deed.path, watched.folder)] == []


def test_nobody_calls(watched: Watched) -> None:
    assert watched.listener.calls == []
    assert [deed for deed in watched.deeds if deed.kind == "network"] == []


def test_no_other_program_is_started(watched: Watched) -> None:
    started = {os.path.realpath(deed.path) for deed in watched.deeds if deed.kind == "start" and deed.done}
    assert started == {os.path.realpath(sys.executable)}


def test_the_watch_understands_every_call(watched: Watched) -> None:
    assert [deed for deed in watched.deeds if deed.kind == "unclear"] == []


def test_outputs_are_frames_records_and_logs(watched: Watched) -> None:
    files = [path for path in (watched.folder / "output").rglob("*") if path.is_file()]
    kinds = Counter(path.suffix for path in files if path.parent.name != "marks")
    assert set(kinds) <= {".jpg", ".json", ".log"}
    for path in (watched.folder / "output").rglob("*.json"):
        json.loads(path.read_bytes())


# The watch itself


def test_the_watch_sees_misdeeds(tmp_path: Path, listener: Listener, tracer: None) -> None:
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
    found = strace(command, tmp_path / "trace", tmp_path, environment(tmp_path), 60)

    def told(kind: str, path: Path) -> list[Deed]:
        return [deed for deed in found if deed.kind == kind and deed.path == str(path) and deed.done]

    assert len(told("read", tmp_path / "canary é.txt")) == 2  # the link is followed
    assert told("write", tmp_path / "work/made")
    assert {deed.call for deed in told("change", tmp_path / "work/moved")} >= {"unlinkat"}
    assert {"socket", "sendto"} <= {deed.call for deed in found if deed.kind == "network"}
    assert any(deed.path.endswith("/true") for deed in found if deed.kind == "start" and deed.done)
    wait_until(lambda: len(listener.calls) > before, "the listener notes a call")


def test_the_corpus_is_dangerous_without_the_allow_list(watched: Watched, tmp_path: Path, tracer: None) -> None:
    """FFmpeg with its door open reads the canary and calls the port for some of the very files that are refused."""
    open_door = ["-protocol_whitelist", "file,http,tcp", "-v", "quiet", "-nostdin"]
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    dangerous = {
        "list-ffconcat-path": ["-f", "concat", "-safe", "0"],
        "list-m3u8-http": ["-f", "hls", "-allowed_extensions", "ALL", "-extension_picky", "0"],
        "dref-alis-path": ["-enable_drefs", "1", "-use_absolute_path", "1"],
    }
    touched = []
    for number, (name, options) in enumerate(dangerous.items()):
        file = next(watched.folder.glob(f"videos/{name}.*"))
        script = [ffmpeg, *open_door, *options, "-i", str(file), "-f", "null", "-"]
        command = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:], timeout=20)", *script]
        found = strace(command, tmp_path / f"trace{number}", tmp_path, environment(tmp_path), 60)
        reads = any(deed.path == str(watched.targets.canary) for deed in found)
        calls = any(deed.call == "connect" for deed in found)
        touched.append((name, reads, calls))
    assert touched == [
        ("list-ffconcat-path", True, False),
        ("list-m3u8-http", False, True),
        ("dref-alis-path", True, False),
    ]


# What the code may not do


def test_nothing_is_unpickled_or_evaluated() -> None:
    banned_modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "dbm", "yaml"}
    banned_calls = {"eval", "exec", "compile", "__import__"}
    found = []
    for path in [*ROOT.glob("tasks/**/*.py"), *ROOT.glob("flows/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                found += [f"{place} {name}" for name in modules if name.partition(".")[0] in banned_modules]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in banned_calls:
                found.append(f"{place} {node.func.id}")
            if isinstance(node, ast.Call) and any(
                word.arg == "allow_pickle" and getattr(word.value, "value", True) for word in node.keywords
            ):
                found.append(f"{place} allow_pickle")
            if isinstance(node, ast.Call) and any(
                word.arg == "shell" and getattr(word.value, "value", True) for word in node.keywords
            ):
                found.append(f"{place} shell")
            if isinstance(node, ast.Attribute) and node.attr in {"read_pickle", "to_pickle", "unpickle"}:
                found.append(f"{place} {node.attr}")
    assert found == []


def test_videos_are_opened_in_one_place() -> None:
    """Any other ``av.open`` for reading would open without the allow-list, and so would OpenCV's VideoCapture."""
    opening = re.compile(r"""\bav\.open\((?!.*, "w", format=)|VideoCapture\(|\bVideoStream\(|imageio\.""")
    found = [path for path in ROOT.glob("tasks/**/*.py") if opening.search(path.read_text(encoding="utf-8"))]
    assert found == [ROOT / "tasks/media/opening.py"]


def test_targets_name_what_exists(tmp_path: Path) -> None:
    """The ways to name a target are the ones that FFmpeg knows."""
    known = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-protocols"], capture_output=True, text=True, check=True
    ).stdout.split()
    named = {url.partition(":")[0].partition(",")[0] for url in Targets(tmp_path, 1).urls.values() if ":" in url}
    assert named <= set(known)
