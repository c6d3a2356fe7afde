"""Test messages about paths among parameters, and lengths and forms of text, character by character."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract import text
from tasks.engine.contract.paths import find_path_problems


def find_problem_lines(**parameters: Any) -> list[str]:
    return [str(problem) for problem in find_path_problems(parameters)]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "hdfs://host/x",
            (
                "the URL 'hdfs://host/x'; allowed: a path, or a URL that begins with s3://, sftp:// or file://; "
                "copy the files to one of these, or use a mounted folder"
            ),
        ),
        (
            "file:///a/*",
            "'/a/*'; allowed: a path on this machine; * and ? are replaced by shells only: name one file or folder",
        ),
        ("a\x1b", "'a\\x1b'; allowed: a path in UTF-8 without control or hidden characters; rename it"),
        (
            "~/x",
            (
                "'~/x'; allowed: a path on this machine; "
                "~ is replaced by shells only, and only at the start of a word; give the path in full: /home/me/x"
            ),
        ),
        (
            "~nobody-of-this-name/x",
            (
                "'~nobody-of-this-name/x'; allowed: a path on this machine; "
                "~ is replaced by shells only, and only at the start of a word; give the path in full"
            ),
        ),
        (
            "a/$HOME",
            (
                "'a/$HOME'; allowed: a path on this machine; "
                "variables are replaced by shells only; give the path in full: a//home/me"
            ),
        ),
        (
            "a/*",
            "'a/*'; allowed: a path on this machine; * and ? are replaced by shells only: name one file or folder",
        ),
        ("a / b", "'a / b'; allowed: a path without blanks around its names; remove the blanks"),
    ],
)
def test_message_about_text_that_only_looks_like_a_path(
    path: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert find_problem_lines(output_dir=Path(path), other=3) == [f"--output-dir: {said}"]


def test_only_the_missing_part_of_a_path_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a*").mkdir()
    Path("b ").symlink_to("nowhere")
    assert find_problem_lines(output_dir=Path("a*/b/c")) == []
    assert find_problem_lines(output_dir=Path("b ")) == []
    assert len(find_problem_lines(output_dir=Path("a*/b*"))) == 1


@pytest.mark.parametrize("folder", ["input", "videos_dir", "light_curves"])
def test_message_about_a_scanned_output_folder(tmp_path: Path, folder: str) -> None:
    said = f"--output-dir: {str(tmp_path)!r}, the folder of --{folder.replace('_', '-')}; allowed: another folder; "
    advice = "name another folder: the next run would take the outputs for inputs"
    assert find_problem_lines(**{folder: str(tmp_path), "output_dir": tmp_path}) == [said + advice]
    assert find_problem_lines(**{folder: str(tmp_path)}) == []
    assert find_problem_lines(**{folder: 3, "output_dir": tmp_path}) == []
    assert find_problem_lines(**{folder: tmp_path / "missing", "output_dir": tmp_path}) == []


def test_only_the_scanned_input_folder_is_reported(tmp_path: Path) -> None:
    problem_lines = find_problem_lines(
        input=tmp_path, videos_dir=tmp_path, manifest=tmp_path / "a.csv", output_dir=tmp_path
    )
    assert [line.partition(";")[0] for line in problem_lines] == [
        f"--output-dir: {str(tmp_path)!r}, the folder of --input"
    ]


@pytest.mark.parametrize(("length", "shown"), [(2000, "x" * 2000), (2001, "x" * 1996 + " ...")])
def test_messages_have_at_most_two_thousand_characters(length: int, shown: str) -> None:
    assert text.short_line("x" * length) == shown


def test_lines_keep_newlines_and_tabs() -> None:
    assert text.showable_lines("a\n\tb\r\x1b\u2028") == "a\n\tb\\r\\x1b\\u2028"


def test_json_is_indented_and_shows_other_values_as_text() -> None:
    assert text.json_text({"ä": [Path("a"), "\x7f\u2028\u202e"]}) == (
        '{\n  "ä": [\n    "a",\n    "\\u007f\\u2028\\u202e"\n  ]\n}'
    )
