"""Test which modules may import which. See ARCHITECTURE.md."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORCHESTRATION = {"prefect", "prefect_dask", "dask", "distributed"}
MEDIA = {"av", "cv2", "ffmpeg", "imageio_ffmpeg", "PIL", "mediapipe", "pose_format"}
SCIENCE = {
    *(
        "numpy",
        "scipy",
        "pandas",
        "astropy",
        "astroquery",
        "lightkurve",
        "matplotlib",
        "numba",
        "transitleastsquares",
        "wotan",
    )
}
GLUE = {"tasks.assembly", "tasks.batch", "tasks.launcher", "flows", "deployments"}
# Modules of the engine that a stage package may import.
STAGE_API = ("tasks.engine.contract", "tasks.engine.reporting.report")
NOT_STAGES = {"batch", "engine", "media", "downloads", "launcher", "stores"}
SHARED = ("downloads", "media")  # packages that any stage may use
STORES = {"tasks.stores", "fsspec", "s3fs", "gcsfs", "adlfs", "paramiko", "botocore", "aiobotocore"}
STAGES = sorted(
    path.name for path in (ROOT / "tasks").iterdir() if (path / "__init__.py").is_file() and path.name not in NOT_STAGES
)


def list_source_files(*packages: str) -> list[Path]:
    """Return the source files of ``packages``, each a folder or a module, dotted."""
    found: list[Path] = []
    for package in packages:
        path = ROOT.joinpath(*package.split("."))
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return [path for path in found if path.is_file()]


def find_imports(path: Path) -> set[str]:
    """Return every module that ``path`` imports anywhere in it, dotted; ``from a import b`` gives ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def find_violations(paths: list[Path], forbidden: set[str]) -> list[str]:
    """Return ``module imports module`` for every import of ``forbidden`` modules in ``paths``."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(find_imports(path))
        if any(name == package or name.startswith(f"{package}.") for package in forbidden)
    ]


def test_one_module_of_the_upload_service_imports_prefect() -> None:
    paths = [
        path for path in list_source_files("deployments.web") if path.name != "runs.py" or path.parent.name == "routes"
    ]
    assert len(paths) > 20
    assert find_violations(paths, ORCHESTRATION | {"flows", "tasks.batch"}) == []


def test_engine_imports_no_orchestration_media_or_science_library() -> None:
    stages = {f"tasks.{name}" for name in STAGES}
    forbidden = ORCHESTRATION | MEDIA | SCIENCE | GLUE | stages | {"tasks.media"}
    assert find_violations(list_source_files("tasks.engine"), forbidden) == []


@pytest.mark.parametrize("package", SHARED)
def test_shared_packages_import_no_stage_and_no_upper_layer(package: str) -> None:
    stages = {f"tasks.{name}" for name in STAGES}
    assert find_violations(list_source_files(f"tasks.{package}"), ORCHESTRATION | GLUE | stages) == []


def test_only_the_engine_uses_stores() -> None:
    allowed = ("tasks/engine", "tasks/stores", "tasks/batch", "tasks/launcher")
    others = [path for path in list_source_files("tasks", "flows", "deployments") if not _is_within(path, *allowed)]
    assert find_violations(others, STORES) == []
    assert find_violations(list_source_files("tasks.engine"), STORES - {"tasks.stores"}) == []


def test_stores_import_only_errors_and_texts_of_the_engine() -> None:
    paths = list_source_files("tasks.stores")
    assert find_violations(paths, ORCHESTRATION | GLUE | MEDIA | SCIENCE | {"tasks.media", "tasks.downloads"}) == []
    allowed = ("tasks.engine.contract.errors", "tasks.engine.contract.text")
    used = [line.partition(" imports ")[2] for line in find_violations(paths, {"tasks.engine"})]
    assert [name for name in used if not name.startswith(allowed)] == []


def test_downloads_import_no_media_or_science_library() -> None:
    assert find_violations(list_source_files("tasks.downloads"), MEDIA | SCIENCE | {"tasks.media"}) == []


@pytest.mark.parametrize("stage", STAGES)
def test_stage_imports_no_orchestration_and_no_other_stage(stage: str) -> None:
    others = {f"tasks.{name}" for name in STAGES if name != stage}
    assert find_violations(list_source_files(f"tasks.{stage}"), ORCHESTRATION | GLUE | others) == []


@pytest.mark.parametrize("package", [*STAGES, *SHARED])
def test_stage_imports_only_the_contract_of_the_engine(package: str) -> None:
    forbidden = find_violations(list_source_files(f"tasks.{package}"), {"tasks.engine"})
    assert [line for line in forbidden if not line.partition(" imports ")[2].startswith(STAGE_API)] == []


# Each package of the engine may import those before it.
ENGINE_PACKAGES = ("contract", "store", "planning", "reporting", "running")


@pytest.mark.parametrize("package", ENGINE_PACKAGES)
def test_engine_package_imports_no_later_package(package: str) -> None:
    later = ENGINE_PACKAGES[ENGINE_PACKAGES.index(package) + 1 :]
    above = {"tasks.engine.run", "tasks.engine.maintenance"}
    forbidden = {f"tasks.engine.{name}" for name in later} | above
    assert find_violations(list_source_files(f"tasks.engine.{package}"), forbidden) == []


def test_only_upper_layers_import_orchestration() -> None:
    everything = list_source_files("tasks", "flows", "deployments")
    prefect = [
        path for path in everything if not _is_within(path, "flows", "deployments", "tasks/batch", "tasks/launcher")
    ]
    dask = [path for path in everything if not _is_within(path, "tasks/batch", "tasks/launcher")]
    assert find_violations(prefect, {"prefect", "prefect_dask"}) == []
    assert find_violations(dask, {"dask", "distributed"}) == []


def test_tasks_import_no_flows() -> None:
    assert find_violations(list_source_files("tasks"), {"flows", "deployments"}) == []


def _is_within(path: Path, *places: str) -> bool:
    return any(path.is_relative_to(ROOT / place) for place in places)


def find_import_cycle(paths: list[Path]) -> list[str]:
    """Return the modules of one import cycle among ``paths``, each imported by the next; empty if there is none.

    Imports inside functions count. Imports below ``if TYPE_CHECKING:`` do not, as they never run.
    """
    by_name = {_name_module(path): path for path in paths}
    graph = {name: _list_modules(path, by_name.keys()) for name, path in by_name.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _list_modules(path: Path, modules: AbstractSet[str]) -> set[str]:
    """Return those of ``modules`` that ``path`` imports; ``from a import b`` counts as ``a.b`` if that is a module."""
    names: set[str] = set()
    for node in _walk_at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name in modules else str(node.module) for name in full}
    return names & modules


def _walk_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Yield ``node`` and all below it but ``if TYPE_CHECKING:`` blocks."""
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk_at_run_time(child)


def _name_module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_there_are_no_import_cycles() -> None:
    assert find_import_cycle(list_source_files("tasks", "flows")) == []


@pytest.mark.parametrize(
    ("line", "cycle"),
    [
        ("from tasks.two import x", True),
        ("from tasks import two", True),
        ("import tasks.two", True),
        ("def load():\n from tasks.two import x", True),
        ("if TYPE_CHECKING:\n from tasks.two import x", False),
        ("from tasks.three import x", False),
    ],
)
def test_import_cycles_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, cycle: bool) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    package = tmp_path / "tasks"
    package.mkdir()
    for name, text in (("__init__", ""), ("one", line), ("two", "import tasks.one"), ("three", "")):
        (package / f"{name}.py").write_text(text)
    assert bool(find_import_cycle(list_source_files("tasks"))) is cycle


def test_item_process_loads_no_orchestration() -> None:
    """Imports are transitive: each item process pays for all of them at its start."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in list_source_files("tasks.engine")]
    load = f"[importlib.import_module(name) for name in {names!r}]"
    code = f"import importlib, json, sys; {load}; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in json.loads(ran.stdout)}
    assert loaded & (ORCHESTRATION | MEDIA | {"scipy", "pandas", "astropy"}) == set()


def test_no_flow_has_the_name_of_a_library() -> None:
    """``python flows/x.py`` puts flows/ first on sys.path, so such a module would hide the library."""
    names = {path.stem for path in (ROOT / "flows").iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__init__",
        "__pycache__",
    }
    libraries = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    assert names & libraries == set()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import prefect", True),
        ("from prefect.client import x", True),
        ("import prefectly", False),
        ("def f():\n import dask", True),
    ],
)
def test_forbidden_imports_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, found: bool) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "module.py").write_text(line)
    assert bool(find_violations([tmp_path / "module.py"], ORCHESTRATION)) is found
