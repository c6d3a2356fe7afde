"""The docs are true: flows, options, defaults, fields, columns, commands, targets and links are there, and told."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tasks.engine.contract.execution import Execution

ROOT = Path(__file__).resolve().parents[1]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# Options of other programs that pages name.
FOREIGN = {
    "--help",
    "--trials",
    "--seed",
    "--only",
    "--no-injection",
    "--videos",
    "--images",
    "--every",
    "--other-python",
    "--yes",
    "--outputs",
    "--upgrade",
    "--all",
    "--pool",
    "--name",
    "--param",
    "--no-run-bls",
    "--no-run-tls",
    "--no-plots",
    "--no-rescue-hands",
    "--no-overlay",
    "--no-auto-detect",
    "--no-preview",
    "--no-allow-private-hosts",
    "--no-keep-segments",
    "--no-deps",
    "--diagnosis",
    "--save",
    "--fp",
    "--verbose",
}


def option(name: str) -> str:
    return "--" + name.strip("_").replace("_", "-")


@cache
def flow_function(name: str) -> Any:
    """The flow's plain function: the flow of module ``flows.x`` is ``x``."""
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    return getattr(flow, "fn", flow)


@cache
def flow_options(name: str) -> dict[str, Any]:
    """The flow's own options with their defaults; shared models such as Execution are told on pages of their own."""
    parameters = inspect.signature(flow_function(name)).parameters.values()
    return {
        option(parameter.name): parameter.default
        for parameter in parameters
        if not isinstance(parameter.default, BaseModel)
    }


def shared_options() -> dict[str, Any]:
    return {option(name): field.default for name, field in Execution.model_fields.items()}


def rows(page: Path) -> dict[str, str]:
    """The rows of the page's tables by each name that their first cell holds in code quotes."""
    found: dict[str, str] = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", line.split("|")[1]), line)
    return found


def untold(options: dict[str, Any], page: Path) -> list[str]:
    """Options that ``page`` has no row for, or whose row does not hold the default."""
    told = rows(page)
    wrong = [f"{page.name} has no row for {name}" for name in options if name not in told]
    for name, default in options.items():
        plain = isinstance(default, str | int | float) and not isinstance(default, bool)
        if plain and name in told and f"`{default}`" not in told[name]:
            wrong.append(f"{page.name}: the row of {name} does not hold its default `{default}`")
    return wrong


@pytest.mark.parametrize("name", FLOWS)
def test_every_option_of_a_flow_is_told(name: str) -> None:
    page = ROOT / "docs" / f"{name}.md"
    assert page.is_file(), f"flows/{name}.py has no page docs/{name}.md"
    assert untold(flow_options(name), page) == []
    assert "(execution.md)" in page.read_text(encoding="utf-8")


def test_every_shared_option_is_told() -> None:
    assert untold(shared_options(), ROOT / "docs" / "execution.md") == []


@pytest.mark.parametrize("name", FLOWS)
def test_every_option_has_help(name: str) -> None:
    documented = inspect.getdoc(flow_function(name)) or ""
    missing = [key for key in inspect.signature(flow_function(name)).parameters if f"{key}:" not in documented]
    assert missing == [], f"the docstring of {name} has no line for these under Args"


def test_pages_name_no_option_that_is_gone() -> None:
    known = set(shared_options()) | FOREIGN | {name for flow in FLOWS for name in flow_options(flow)}
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]
    gone = [f"{page.name}: {name}" for page in pages for name in _options(page) if name not in known]
    assert gone == []


def _options(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every ``python flows/...`` command in the page's code blocks; a backslash continues a line."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^(?:    |\$ )?((?:\S+/)?python flows/.*)$", text, re.MULTILINE):
        yield shlex.split(line, comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_flows_and_their_options(page: Path) -> None:
    for words in commands(page):
        name = Path(words[1]).stem
        assert name in FLOWS, f"{page.name}: there is no {words[1]}"
        known = {*flow_options(name), *shared_options(), "--help"}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known, f"{page.name}: {words[1]} has no {sorted(given - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`|\$ )make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


def test_make_targets_are_phony_and_told() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets
    assert set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE)) == targets


def test_make_targets_run_scripts_that_exist() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    scripts = set(re.findall(r"(?:\$\(BIN\)/python|\$\(PYTHON\)) (\S+\.py)", text))
    assert sorted(script for script in scripts if not (ROOT / script).is_file()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_field_of_the_summary_is_told() -> None:
    from tasks.engine.reporting.summary import Summary

    told = rows(ROOT / "docs" / "outputs.md")
    assert [field.name for field in dataclasses.fields(Summary) if field.name not in told] == []


def test_every_common_column_is_told() -> None:
    from tasks.engine.reporting.summary import _COMMON

    assert sorted(set(_COMMON.names) - set(rows(ROOT / "docs" / "outputs.md"))) == []


def test_every_column_of_the_dataset_is_told() -> None:
    from tasks.frames.columns import FRAME, OWN

    assert isinstance(FRAME, dict)
    assert sorted({*OWN, *FRAME} - set(rows(ROOT / "docs" / "dataset_prep.md"))) == []


def test_the_table_of_candidates_is_told_as_it_is_declared() -> None:
    from tasks.transits.columns import COLUMNS, FLAGS, REASONS, format_markdown

    page = (ROOT / "docs" / "exoplanet_features.md").read_text(encoding="utf-8")
    declared = format_markdown(COLUMNS).splitlines()[2:]
    assert [line for line in declared if line not in page] == []
    words = [f"| `{word.value}` | {text} |" for words in (REASONS, FLAGS) for word, text in words.items()]
    assert [line for line in words if line not in page] == []


def test_the_figures_of_samples_and_splits_are_told_as_they_are_declared() -> None:
    from tasks.landmarks.metrics_columns import render_columns, render_summary_keys

    page = (ROOT / "docs" / "landmark_extraction.md").read_text(encoding="utf-8")
    declared = [*render_columns().splitlines(), *render_summary_keys().splitlines()]
    assert [line for line in declared if line not in page] == []


def test_everything_about_presets_is_told_and_the_example_loads(tmp_path: Path) -> None:
    from tasks.restoration.presets import Preset, load_presets

    page = ROOT / "docs" / "vhs_batch.md"
    told, shipped = rows(page), load_presets()
    assert sorted({*shipped.names, *Preset.model_fields} - {"name"} - set(told)) == []
    example = re.search(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    file = tmp_path / "presets.toml"
    file.write_text(example[1], encoding="utf-8")
    loaded = load_presets(file).presets
    assert loaded["vhs_standard"].crf == 16
    assert loaded["grandfather"].denoise_luma == shipped.presets["vhs_heavy"].denoise_luma
    assert loaded["grandfather"].denoise_chroma == 2.0


def test_placeholders_and_options_of_single_tapes_are_told() -> None:
    from tasks.restoration.engines.template import PLACEHOLDERS
    from tasks.restoration.options import TapeOptions

    page = ROOT / "docs" / "vhs_batch.md"
    assert sorted({f"{{{name}}}" for name in PLACEHOLDERS} - set(rows(page))) == []
    section = page.read_text(encoding="utf-8").partition("## Settings")[2].partition("##")[0]
    assert [name for name in TapeOptions.model_fields if f"`{name}`" not in section] == []


def test_every_figure_of_the_diagnosis_and_the_comparison_is_told() -> None:
    from tasks.restoration.comparison import Figures
    from tasks.restoration.diagnosis import Borders, Diagnosis

    own = {field.name for field in dataclasses.fields(Diagnosis)} - {"borders"}
    own |= {f"border_{field.name}" for field in dataclasses.fields(Borders)}
    assert sorted(own - set(rows(ROOT / "docs" / "vhs_batch.md"))) == []
    figures = {field.name for field in dataclasses.fields(Figures)}
    assert sorted(figures - set(rows(ROOT / "docs" / "vhs_presets.md"))) == []


def test_every_module_has_its_line() -> None:
    """ARCHITECTURE.md lists each module in the section of its package, and lists no module that does not exist."""
    packages = ("flows", "tasks", "deployments")
    modules = {path.relative_to(ROOT).as_posix() for name in packages for path in (ROOT / name).rglob("*.py")}
    listed = set(list_modules((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")))
    assert sorted(path for path in modules - listed if not path.endswith("/__init__.py")) == []
    assert sorted(path for path in listed if not (ROOT / path).is_file()) == []


def list_modules(text: str) -> Iterator[str]:
    """Yield the paths of the modules in the lists of ARCHITECTURE.md.

    A heading names a package, a line such as ```store/`: ...`` a package in it. An item such as ``- `report/`: ...``
    names a package for the rest of the item and for the items nested in it.
    """
    section = package = folder = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = re.match(r"#+ ([\w/]+/)", line)
            section = package = folder = heading[1] if heading else ""
            continue
        start = re.match(r"(- )?`(\w+/)`: ", line)
        if start and not start[1]:
            package = folder = section + start[2]
        elif line.startswith("- "):
            folder = package + (start[2] if start else "")
        if line.startswith(("- ", "  ")):
            yield from (folder + name for name in re.findall(r"`([\w/]+\.py)`", line))


def test_modules_are_listed_by_section() -> None:
    text = """
## tasks/

- `batch/`: a group
  - `run.py`: a module
- `api.py`: a module, see `SECURITY.md`

### tasks/engine/: a package

- `run.py`: a module

`contract/`: a package in it; `stage.py` is not in a list
- `stage.py`: a module
- `manifest/`: `reading.py` reads,
  `table.py` holds
- `errors.py`: a module

## Other folders

- `scripts/lock.py`: a script
"""
    engine = "tasks/engine/"
    assert list(list_modules(text)) == [
        "tasks/batch/run.py",
        "tasks/api.py",
        f"{engine}run.py",
        f"{engine}contract/stage.py",
        f"{engine}contract/manifest/reading.py",
        f"{engine}contract/manifest/table.py",
        f"{engine}contract/errors.py",
        "scripts/lock.py",
    ]


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [line for lines in project["project"]["optional-dependencies"].values() for line in lines]
    wanted = [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"]]
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    told = {name.strip() for line in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in line.split(",")}
    names = {re.split(r"[<>=!~;\s]", line)[0] for line in wanted if not line.startswith("headrace[")}
    assert sorted(names - told) == []
    assert sorted(told - names - {"package", "---"}) == []
