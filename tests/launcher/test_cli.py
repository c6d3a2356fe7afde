"""Test the console command ``headrace`` from any folder and in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.test_maintenance import run_actions

ROOT = Path(__file__).resolve().parents[2]
HEADRACE = Path(sys.executable).with_name("headrace")
FLOWS = {path.stem.replace("_", "-") for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__"}


def run_headrace(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HEADRACE, *map(str, words)], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture
def foreign_folder(tmp_path: Path) -> Path:
    """Create a folder with modules that have the names of Headrace's packages and fail when imported."""
    for name in ("tasks.py", "flows/__init__.py", "deployments.py"):
        path = tmp_path / "foreign" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise SystemExit('the wrong module was imported')\n")
    return tmp_path / "foreign"


def test_flows_are_listed_in_a_folder_with_modules_of_the_same_names(foreign_folder: Path) -> None:
    ran = run_headrace("flows", cwd=foreign_folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert {line.split()[0] for line in ran.stdout.splitlines()} == FLOWS


def test_dry_run_works_in_a_folder_with_modules_of_the_same_names(foreign_folder: Path) -> None:
    (foreign_folder / "videos").mkdir()
    (foreign_folder / "videos" / "bad.mp4").write_text("Not a video.\n")
    ran = run_headrace(
        "run", "dataset-prep", "--videos-dir", "videos", "--output-dir", "out", "--dry-run", cwd=foreign_folder
    )
    assert ran.returncode == 0, ran.stderr
    assert "frames: 1 item" in ran.stderr
    assert not (foreign_folder / "out").exists()


@pytest.mark.parametrize("flow", ["dataset-prep", "dataset_prep"])
def test_run_has_the_options_of_the_flow(flow: str) -> None:
    ran = run_headrace("run", flow, "--help")
    assert ran.returncode == 0
    assert "headrace run dataset-prep" in ran.stdout
    assert "--videos-dir" in ran.stdout
    ran = run_headrace("run", flow, "--nonsense")
    assert ran.returncode == 2
    assert "error: --nonsense: no such option" in ran.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nope"], "error: nope: no such flow; allowed: dataset-prep, "),
        (["nope"], 'Unknown command "nope"'),
        (["items", "list"], "error: OUTPUT_DIR: missing; allowed: the output folder of a run"),
        (["items", "list", "nowhere"], "error: nowhere: no such folder; allowed: the output folder of a run"),
        (["items", "list", "tests"], "error: tests: no .headrace in it; allowed: the output folder of a run"),
        (["completion"], "error: SHELL: missing; allowed: bash or zsh"),
        (["completion", "fish"], '"bash", "zsh"'),
    ],
)
def test_usage_error_is_one_line(words: list[str], message: str) -> None:
    ran = run_headrace(*words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert message in ran.stderr


def test_items_are_listed_verified_and_forgotten(tmp_path: Path, foreign_folder: Path) -> None:
    run_actions(tmp_path / "out", "run-1", first="write", second="write")
    listed = run_headrace("items", "list", tmp_path / "out", cwd=foreign_folder)
    assert [line.split()[1] for line in listed.stdout.splitlines()] == ["first", "second"]
    assert run_headrace("items", "verify", tmp_path / "out").returncode == 0
    assert run_headrace("items", "forget", tmp_path / "out", "first", "--yes").returncode == 0
    assert [line.split()[1] for line in run_headrace("items", "list", tmp_path / "out").stdout.splitlines()] == [
        "second"
    ]


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("bash") / "completion.bash"
    script.write_text(run_headrace("completion", "bash").stdout)
    return script


COMPLETE_BASH = """
source completion.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_headrace
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["headrace", ""], {"run", "flows", "items", "doctor", "completion"}),
        (["headrace", "run", ""], FLOWS),
        (["headrace", "run", "vhs-batch", "--de"], {"--device", "--deinterlace"}),
        (["headrace", "run", "dataset-prep", "--work"], {"--workers"}),
        (["headrace", "run", "dataset-prep", "--format", ""], {"jsonl", "parquet", "webdataset", "imagefolder"}),
        (["headrace", "items", ""], {"list", "show", "verify", "forget", "sweep", "prune"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,  # sets have no order
)
def test_bash_completes(bash_script: Path, words: list[str], offered: set[str]) -> None:
    command = ["bash", "--norc", "-c", COMPLETE_BASH, "complete", *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=bash_script.parent)
    assert ran.stderr == ""
    assert offered <= set(ran.stdout.split())


COMPLETE_ZSH = """
zmodload zsh/zpty
zpty shell "zsh -f -i"
zpty -w shell "fpath=($1 \\$fpath); autoload -U compinit; compinit -u -D; print completes=\\$_comps[headrace]"
zpty -r shell seen '*completes=_headrace*'
zpty -w -n shell "headrace run vhs-batch --dein"$'\\t'
zpty -r shell seen '*--deinterlace*'
zpty -d shell
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_an_option(tmp_path: Path) -> None:
    """Type an unambiguous option and a tab in an interactive zsh on a pseudo-terminal; wait for the whole option."""
    (tmp_path / "_headrace").write_text(run_headrace("completion", "zsh").stdout)
    command = ["zsh", "-f", "-c", COMPLETE_ZSH, "zsh", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(("option", "words"), [("--videos-dir", ("out", "")), ("--output-dir", ("", "videos"))])
def test_empty_path_is_refused_and_writes_nothing(foreign_folder: Path, option: str, words: tuple[str, str]) -> None:
    (foreign_folder / "videos").mkdir()
    before = sorted(foreign_folder.iterdir())
    output, videos = words
    ran = run_headrace("run", "dataset-prep", "--videos-dir", videos, f"--output-dir={output}", cwd=foreign_folder)
    assert ran.returncode == 2
    assert f"error: {option}: an empty text; allowed: a path on this machine; " in ran.stderr
    assert sorted(foreign_folder.iterdir()) == before


def test_unknown_short_option_hides_no_other_option(foreign_folder: Path) -> None:
    (foreign_folder / "videos").mkdir()
    (foreign_folder / "videos" / "bad.mp4").write_text("Not a video.\n")
    options = ("--videos-dir", "videos", "--output-dir", "out", "--dry-run", "-x")
    ran = run_headrace("run", "dataset-prep", *options, cwd=foreign_folder)
    assert ran.returncode == 2
    assert [line.partition(";")[0] for line in ran.stderr.splitlines()] == ["error: -x: no such option"]


@pytest.mark.parametrize("flow", ["overlay-removal", "vhs-presets"])
def test_priority_is_refused_if_the_input_has_no_table(flow: str, tmp_path: Path) -> None:
    video = ROOT / "tests" / "data" / "video" / "palette-raw.avi"
    ran = run_headrace("run", flow, "--input", video, "--output-dir", tmp_path / "out", "--priority", "score")
    assert ran.returncode == 2
    assert "error: --priority: no column 'score'; allowed: no value: the input has no table" in ran.stderr


def test_module_without_its_flow_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "start.py").write_text("from tasks.launcher.command import main\nraise SystemExit(main('empty', []))\n")
    (tmp_path / "empty.py").write_text("")
    ran = subprocess.run([sys.executable, "start.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: the module empty has no flow empty; ")
    assert len(ran.stderr.splitlines()) == 1


FLOW_SCRIPT = """
from pathlib import Path
{imports}
from tasks.api import Item, NoParams, Stage, StageResult, Steps, batch_flow

class Copies(Stage):
    name, version = "copies", 1

    def run(self, item, work):
        return StageResult()

@batch_flow("copies")
def copies(output_dir: Path) -> Steps:
    def steps(run):
        run.stage(Copies(NoParams()), [Item("a")])
        return run.finish()
    return steps

if __name__ == "__main__":
    copies(output_dir=Path("out"))
"""


def test_stage_class_in_the_started_script_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "copies.py").write_text(FLOW_SCRIPT.format(imports=""))
    ran = subprocess.run([sys.executable, "copies.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    message = ran.stderr.splitlines()[-1]
    assert "RunError: the stage class Copies is in __main__, which child processes cannot import; " in message
    assert "tasks.launcher.command.main('copies')" in message
    assert not (tmp_path / "out").exists()


def test_flow_that_imports_prefect_with_unreadable_profiles_gives_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "copies.py").write_text(FLOW_SCRIPT.format(imports="from prefect import task"))
    (tmp_path / "start.py").write_text("from tasks.launcher.command import main\nraise SystemExit(main('copies'))\n")
    (tmp_path / "profiles.toml").write_text("active = [\n")
    command = [sys.executable, "start.py", "--output-dir", "out"]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]  # after a warning of Prefect
    assert last.startswith(f"error: the Prefect home cannot be read: {tmp_path / 'profiles.toml'} is not TOML: ")
    assert "Traceback" not in ran.stderr
