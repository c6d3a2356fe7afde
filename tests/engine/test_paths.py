"""Test paths among parameters: text that only looks like a path is refused before any file is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.manifest import InputFolder
from tasks.engine.contract.paths import find_path_problems


def find_problem_lines(**parameters: Any) -> list[str]:
    return [str(problem) for problem in find_path_problems(parameters)]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder, where relative paths start."""
    empty = tmp_path / "here"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return empty


@pytest.mark.parametrize("name", ["output_dir", "input", "manifest", "targets", "light_curves", "model", "preset_file"])
@pytest.mark.parametrize("url", ["gs://b", "https://host/x?y=1", "S4:/bucket", "az+blob://x", "hdfs:///data"])
def test_urls_that_no_store_has_are_refused(name: str, url: str) -> None:
    found = find_problem_lines(**{name: Path(url)})
    assert len(found) == 1
    assert found[0].startswith(f"--{name.replace('_', '-')}: the URL ")
    assert "allowed: a path, or a URL that begins with s3://" in found[0]


@pytest.mark.parametrize("url", ["s3://bucket/out", "S3:/bucket", "file:///data", "sftp://host/x"])
def test_urls_of_stores_are_allowed(url: str) -> None:
    assert find_problem_lines(output_dir=Path(url)) == []


@pytest.mark.parametrize("name", ["model", "weights", "mask"])
def test_texts_that_may_be_paths_are_checked(name: str) -> None:
    assert len(find_problem_lines(**{name: "https://host/x.task?signature=x"})) == 1
    assert find_problem_lines(**{name: "https://host/x.task"}) == []
    assert find_problem_lines(**{name: "holistic"}) == []


def test_other_texts_may_be_urls() -> None:
    assert find_problem_lines(input="https://host/video.mp4", command="curl https://host {input} {output}") == []


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("~/out", f"give the path in full: {Path.home()}/out"),
        ("~", f"give the path in full: {Path.home()}"),
        ("~user/out", "give the path in full"),
        ("$HOME/out", "give the path in full: {HOME}/out"),
        ("${HOME}/out", "give the path in full: {HOME}/out"),
        ("$NO_SUCH_VARIABLE/out", "give the path in full"),
        ("*.mp4", "name one file or folder"),
        ("tapes/tape?.avi", "name one file or folder"),
        ("out ", "remove the blanks"),
        (" out", "remove the blanks"),
        ("a /out", "remove the blanks"),
    ],
)
def test_unexpanded_shell_patterns_are_refused(path: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.home()))
    found = find_problem_lines(output_dir=Path(path))
    assert len(found) == 1
    assert found[0].endswith(advice.replace("{HOME}", str(Path.home())))


@pytest.mark.parametrize("name", ["~", "$HOME", "a*b", "what?", "blank ", "s3 bucket", "out[1]", "50% off"])
def test_existing_names_are_accepted(name: str) -> None:
    Path(name).mkdir()
    assert find_problem_lines(output_dir=Path(name), input=Path(name, "within")) == []


@pytest.mark.parametrize("name", ["out", "out[1]", "a b/c", "50% off", "C:/x", "über", "a:b/c", "x~/y"])
def test_ordinary_names_are_accepted(name: str) -> None:
    assert find_problem_lines(output_dir=Path(name)) == []


@pytest.mark.parametrize("name", ["out\n", "out\x1b[31m", "out\udcff"])
def test_names_that_records_cannot_store_are_refused(name: str) -> None:
    found = find_problem_lines(output_dir=Path(name))
    assert "allowed: a path in UTF-8 without control or hidden characters" in found[0]
    found[0].encode()
    assert "\n" not in found[0]


@pytest.mark.parametrize("name", ["input", "videos_dir", "light_curves"])
def test_output_folder_must_not_be_the_scanned_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    found = find_problem_lines(**{name: tmp_path, "output_dir": tmp_path / "link"})
    assert "would take the outputs for inputs" in found[0]
    assert find_problem_lines(**{name: tmp_path, "output_dir": tmp_path / "out"}) == []


def test_output_folder_may_be_the_folder_of_manifest_paths(tmp_path: Path) -> None:
    manifest = tmp_path / "train.json"
    assert find_problem_lines(videos_dir=tmp_path, output_dir=tmp_path, manifest=manifest) == []
    assert len(find_problem_lines(videos_dir=tmp_path, output_dir=tmp_path, manifest=None)) == 1


def test_run_refuses_wrong_urls(in_empty_folder: Path) -> None:
    """Test runs without the command line: from Prefect's UI or from Python."""
    from tasks.batch import batch_run

    with (
        pytest.raises(InvalidInput, match="the URL 's4://bucket/out'"),
        batch_run("a", Path("s4://bucket/out"), Execution(), {}),
    ):
        pass
    with (
        pytest.raises(InvalidInput, match="--input: the URL"),
        batch_run("a", Path("out"), Execution(), {"input": Path("s4://x")}),
    ):
        pass
    assert list(in_empty_folder.iterdir()) == []


def test_url_in_a_manifest_is_refused(tmp_path: Path) -> None:
    problem = InputFolder(tmp_path, "--videos-dir").relative("s3://bucket/a.mp4", "row 1, video_path")
    assert str(problem).startswith("row 1, video_path: the URL 's3://bucket/a.mp4'; allowed: a relative path; download")
