"""Test that the docs match the code: flows, options, defaults, fields, columns, commands, targets and links."""

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
    "--host",
    "--pool",
    "--name",
    "--param",
    "--no-run-bls",
    "--no-run-tls",
    "--no-keep-downloads",
    "--no-plots",
    "--no-rescue-hands",
    "--no-overlay",
    "--no-auto-detect",
    "--no-preview",
    "--no-allow-private-hosts",
    "--no-keep-segments",
    "--no-embed-images",
    "--no-frames",
    "--repo-type",
    "--no-deps",
    "--diagnosis",
    "--save",
    "--fp",
    "--verbose",
}


def format_option(name: str) -> str:
    return "--" + name.strip("_").replace("_", "-")


@cache
def get_flow_function(name: str) -> Any:
    """Return the flow's plain function: the flow of module ``flows.x`` is ``x``."""
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    return getattr(flow, "fn", flow)


@cache
def read_flow_options(name: str) -> dict[str, Any]:
    """Return the flow's options with their defaults, without shared models such as Execution."""
    parameters = inspect.signature(get_flow_function(name)).parameters.values()
    return {
        format_option(parameter.name): parameter.default
        for parameter in parameters
        if not isinstance(parameter.default, BaseModel)
    }


def read_shared_options() -> dict[str, Any]:
    return {format_option(name): field.default for name, field in Execution.model_fields.items()}


def read_rows(page: Path) -> dict[str, str]:
    """Return the rows of the page's tables by each name in code quotes in their first cell."""
    found: dict[str, str] = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", line.split("|")[1]), line)
    return found


def find_undocumented(options: dict[str, Any], page: Path) -> list[str]:
    """Return options without a row on ``page``, or whose row lacks the default."""
    told = read_rows(page)
    wrong = [f"{page.name} has no row for {name}" for name in options if name not in told]
    for name, default in options.items():
        plain = isinstance(default, str | int | float) and not isinstance(default, bool)
        if plain and name in told and f"`{default}`" not in told[name]:
            wrong.append(f"{page.name}: the row of {name} does not hold its default `{default}`")
    return wrong


@pytest.mark.parametrize("name", FLOWS)
def test_every_option_of_a_flow_is_documented(name: str) -> None:
    page = ROOT / "docs" / f"{name}.md"
    assert page.is_file(), f"flows/{name}.py has no page docs/{name}.md"
    assert find_undocumented(read_flow_options(name), page) == []
    assert "(execution.md)" in page.read_text(encoding="utf-8")


def test_every_shared_option_is_documented() -> None:
    assert find_undocumented(read_shared_options(), ROOT / "docs" / "execution.md") == []


@pytest.mark.parametrize("name", FLOWS)
def test_every_option_has_help(name: str) -> None:
    documented = inspect.getdoc(get_flow_function(name)) or ""
    missing = [key for key in inspect.signature(get_flow_function(name)).parameters if f"{key}:" not in documented]
    assert missing == [], f"the docstring of {name} has no line for these under Args"


def test_pages_name_only_existing_options() -> None:
    known = set(read_shared_options()) | FOREIGN | {name for flow in FLOWS for name in read_flow_options(flow)}
    # Most commands of these pages are of other programs; tests/flows/test_operations.py runs those of operations.md.
    pages = [page for page in PAGES if page.name not in {"CHANGELOG.md", "operations.md", "clusters.md"}]
    gone = [f"{page.name}: {name}" for page in pages for name in _find_options(page) if name not in known]
    assert gone == []


def _find_options(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def find_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every ``python flows/...`` command in the page's code blocks."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^(?:    |\$ )?((?:\S+/)?python flows/.*)$", text, re.MULTILINE):
        yield shlex.split(line, comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_existing_flows_and_options(page: Path) -> None:
    for words in find_commands(page):
        name = Path(words[1]).stem
        assert name in FLOWS, f"{page.name}: there is no {words[1]}"
        known = {*read_flow_options(name), *read_shared_options(), "--help"}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known, f"{page.name}: {words[1]} has no {sorted(given - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`|\$ )make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


def test_make_targets_are_phony_and_documented() -> None:
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
def test_links_have_existing_targets(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_field_of_the_summary_is_documented() -> None:
    from tasks.engine.reporting.summary import Summary

    told = read_rows(ROOT / "docs" / "outputs.md")
    assert [field.name for field in dataclasses.fields(Summary) if field.name not in told] == []


def test_every_common_column_is_documented() -> None:
    from tasks.engine.reporting.summary import _COMMON

    assert sorted(set(_COMMON.names) - set(read_rows(ROOT / "docs" / "outputs.md"))) == []


def test_every_column_of_the_dataset_is_documented() -> None:
    from tasks.frames.columns import FRAME, OWN

    assert isinstance(FRAME, dict)
    assert sorted({*OWN, *FRAME} - set(read_rows(ROOT / "docs" / "dataset_prep.md"))) == []


def test_table_of_candidates_is_documented_as_declared() -> None:
    from tasks.transits.columns import COLUMNS, EPHEMERIS_USES, FLAGS, ORIGINS, REASONS, format_markdown

    page = (ROOT / "docs" / "exoplanet_features.md").read_text(encoding="utf-8")
    declared = format_markdown(COLUMNS).splitlines()[2:]
    assert [line for line in declared if line not in page] == []
    tables = (REASONS, FLAGS, ORIGINS, EPHEMERIS_USES)
    words = [f"| `{word}` | {text} |" for words in tables for word, text in words.items()]
    assert [line for line in words if line not in page] == []


def test_figures_of_samples_and_splits_are_documented_as_declared() -> None:
    from tasks.landmarks.metrics_columns import render_columns, render_summary_keys

    page = (ROOT / "docs" / "landmark_extraction.md").read_text(encoding="utf-8")
    declared = [*render_columns().splitlines(), *render_summary_keys().splitlines()]
    assert [line for line in declared if line not in page] == []


def test_presets_are_documented_and_the_example_loads(tmp_path: Path) -> None:
    from tasks.restoration.presets import Preset, load_presets

    page = ROOT / "docs" / "vhs_batch.md"
    told, shipped = read_rows(page), load_presets()
    assert sorted({*shipped.names, *Preset.model_fields} - {"name"} - set(told)) == []
    example = re.search(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    file = tmp_path / "presets.toml"
    file.write_text(example[1], encoding="utf-8")
    loaded = load_presets(file).presets
    assert loaded["vhs_standard"].crf == 16
    assert loaded["grandfather"].denoise_luma == shipped.presets["vhs_heavy"].denoise_luma
    assert loaded["grandfather"].denoise_chroma == 2.0


def test_placeholders_and_options_of_single_tapes_are_documented() -> None:
    from tasks.restoration.engines.template import PLACEHOLDERS
    from tasks.restoration.options import TapeOptions

    page = ROOT / "docs" / "vhs_batch.md"
    assert sorted({f"{{{name}}}" for name in PLACEHOLDERS} - set(read_rows(page))) == []
    section = page.read_text(encoding="utf-8").partition("## Settings")[2].partition("##")[0]
    assert [name for name in TapeOptions.model_fields if f"`{name}`" not in section] == []


def test_figures_of_diagnosis_and_comparison_are_documented() -> None:
    from tasks.restoration.comparison import Figures
    from tasks.restoration.diagnosis import Borders, Diagnosis

    own = {field.name for field in dataclasses.fields(Diagnosis)} - {"borders"}
    own |= {f"border_{field.name}" for field in dataclasses.fields(Borders)}
    assert sorted(own - set(read_rows(ROOT / "docs" / "vhs_batch.md"))) == []
    figures = {field.name for field in dataclasses.fields(Figures)}
    assert sorted(figures - set(read_rows(ROOT / "docs" / "vhs_presets.md"))) == []


def test_architecture_lists_every_module() -> None:
    """ARCHITECTURE.md lists each module in the section of its package, and only existing modules."""
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


def test_every_dependency_has_a_documented_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [line for lines in project["project"]["optional-dependencies"].values() for line in lines]
    wanted = [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"]]
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    told = {name.strip() for line in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in line.split(",")}
    names = {re.split(r"[<>=!~;\s]", line)[0] for line in wanted if not line.startswith("headrace[")}
    assert sorted(names - told) == []
    assert sorted(told - names - {"package", "---"}) == []
