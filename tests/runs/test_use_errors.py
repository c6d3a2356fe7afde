"""Test usage errors: all problems are reported together, one line each, with exit code 2, no traceback and no files."""

import json
import subprocess
import sys

import pytest

from tests.runs.bench import ROOT, Bench, list_files

FLOW = "flows.dataset_prep"


def test_all_problems_are_reported_together(bench: Bench) -> None:
    rows = [
        {"id": "a", "path": "x.mp4"},
        {"id": "a", "path": "x.mp4"},
        {"id": "../b", "path": "../../etc/passwd"},
    ]
    bench.manifest.write_text(json.dumps(rows))
    before = list_files(bench.folder)
    options = ["--manifest", bench.manifest, "--output-dir", bench.output, "--strategy", "best", "--max-frames", "-3"]
    with bench.start_flow(*options, "--nonsense", "1", flow=FLOW) as flow:
        assert flow.wait() == 2
        log = flow.log.read_text()
        flow.log.unlink()
    lines = log.splitlines()
    assert all(line.startswith("error: ") for line in lines), log
    for words in [
        "--strategy: 'best'",
        "--max-frames: -3",
        "--nonsense",
        "no column 'video_path'",
        "'a' again",
        "'../b'",
    ]:
        assert len([line for line in lines if words in line]) == 1, (words, log)
    assert len(lines) == 6, log
    assert {name: stamp for name, stamp in list_files(bench.folder).items() if name in before} == before
    assert not bench.output.exists()


def test_manifest_paths_outside_the_folder_are_refused(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "a", "video_path": "../x.mp4"}, {"id": "b", "video_path": "/etc/passwd"}]
    bench.manifest.write_text(json.dumps(rows))
    assert bench.run("--manifest", bench.manifest, "--output-dir", bench.output, flow=FLOW) == 2
    log = capsys.readouterr().err.splitlines()
    assert len(log) == 2
    assert "manifest.json row 1, video_path: '..' in '../x.mp4'" in log[0]
    assert "manifest.json row 2, video_path: the absolute path '/etc/passwd'" in log[1]
    assert not bench.output.exists()


def test_size_of_another_form_is_refused_with_an_example(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--videos-dir", bench.folder, "--output-dir", bench.output, "--resize", "big"]
    assert bench.run(*options, flow=FLOW) == 2
    log = capsys.readouterr().err
    assert "--resize: 'big'; allowed: WIDTHxHEIGHT, such as 640x360, or the longest side in pixels, such as 512" in log


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "0"], "--workers: '0'; allowed: a number greater than or equal to 1"),
        (["--workers", "two"], "--workers: 'two'; allowed: a whole number; "),
        (["--timeout", "0"], "--timeout: '0'; allowed: a number greater than 0"),
        (["--order", "best"], "--order: 'best'; allowed: 'heaviest', 'manifest' or 'lightest'"),
        (["--max-failed", "2"], "--max-failed: '2'"),
        (
            ["--memory-per-item", "lots"],
            "--memory-per-item: 'lots'; allowed: a size with a unit, such as 2GiB or 500MB; ",
        ),
        *[
            (["--part", part], f"--part: '{part}'; allowed: K/N, where K is the number of the part from 1 to N, ")
            for part in ("0/4", "5/4", "a/b")
        ],
        (["--no-such"], "--no-such: no such option"),
        (["--retries", "2", "--retries", "3"], "--retries: given more than once"),
        (["stray"], "stray: a word without an option"),
    ],
)
def test_invalid_option_is_a_one_line_error(
    bench: Bench, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    bench.write_manifest({"id": "a"})
    assert bench.run(*options) == 2
    log = capsys.readouterr().err
    assert len(log.splitlines()) == 1, log
    assert log.startswith("error: ")
    assert words in log
    assert "Traceback" not in log
    assert not bench.output.exists()


def test_wrong_urls_are_refused_by_every_path_option(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    options = [
        "--videos-dir",
        "hdfs://host/videos",
        "--manifest",
        "gs://bucket/a.json",
        "--output-dir",
        "https://host/out",
    ]
    assert bench.run(*options, flow=FLOW) == 2
    log = sorted(capsys.readouterr().err.splitlines())
    assert [line.partition("; allowed: a path, or a URL that begins with s3://")[0] for line in log] == [
        "error: --manifest: the URL 'gs://bucket/a.json'",
        "error: --output-dir: the URL 'https://host/out'",
        "error: --videos-dir: the URL 'hdfs://host/videos'",
    ]
    assert list(bench.folder.iterdir()) == []


def test_missing_option_and_missing_manifest_are_reported(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("--videos-dir", bench.folder / "nowhere", flow=FLOW) == 2
    log = capsys.readouterr().err
    assert "--output-dir: missing" in log
    assert "does not exist" in log
    assert bench.run() == 2
    assert "manifest.json: cannot be read" in capsys.readouterr().err
    assert not bench.output.exists()


def test_help_lists_the_options_without_other_arguments(bench: Bench) -> None:
    script = [sys.executable, "flows/dataset_prep.py", "--help"]
    shown = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    for option in ("--manifest", "--workers", "--memory-per-item", "--stage-inputs", "--strategy", "--splits"):
        assert option in shown.stdout


def test_unwritable_output_folder_is_reported(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.write_manifest({"id": "a"})
    bench.output.write_text("a file")
    assert bench.run() == 1
    log = capsys.readouterr().err
    assert f"error: cannot write to {bench.output}" in log
    assert "Traceback" not in log
    assert bench.output.read_text() == "a file"


def test_escape_sequences_of_inputs_do_not_reach_the_terminal(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Test column names, cells, and the name of an option."""
    title = "\x1b]0;pwned\x07"
    table = bench.folder / "table.csv"
    table.write_text(f"id,{title},video_path\na\x1b[2J,1,/etc/{title}\n")
    assert bench.run("--manifest", table, "--output-dir", bench.output, f"--x{title}", "1", flow=FLOW) == 2
    log = capsys.readouterr()
    assert "pwned" in log.err
    assert not any(sign in log.err + log.out for sign in "\x1b\x07")
