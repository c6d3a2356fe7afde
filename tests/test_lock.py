"""Test the locks without an index: they match pyproject.toml, name no address, and one distribution owns cv2."""

from __future__ import annotations

import importlib.metadata
import re
import sysconfig
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
FIELDS = ("video", "signs", "stars")
ADVICE = "the locks no longer match pyproject.toml: run `make lock` and commit both"


def read_pins(text: str) -> dict[str, set[Version]]:
    """Return the locked versions by name; several if they depend on Python or the platform."""
    found: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(Version(version))
    return found


def find_required_by(text: str, source: str) -> set[str]:
    """Return the names that the lock pins for ``source``, by its "via" comments."""
    found: set[str] = set()
    for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        if re.search(rf"^\s+#\s+(?:via )?{re.escape(source)}$", block, re.MULTILINE):
            found.add(canonicalize_name(block.partition("==")[0]))
    return found


def find_mismatches(requirements: Iterable[str], lock: str, source: str) -> list[str]:
    """Return missing, mismatched and superfluous pins of ``lock`` compared with ``requirements``."""
    wanted = {canonicalize_name(Requirement(line).name): Requirement(line) for line in requirements}
    locked = read_pins(lock)
    problems = [f"{name} is not locked" for name in sorted(wanted.keys() - locked.keys())]
    for name, requirement in wanted.items():
        outside = [
            version for version in locked.get(name, ()) if not requirement.specifier.contains(version, prereleases=True)
        ]
        problems += [f"{requirement} does not allow the locked {version}" for version in outside]
    problems += [
        f"{name} is locked but no longer asked for" for name in sorted(find_required_by(lock, source) - wanted.keys())
    ]
    return problems


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read_runtime_requirements(project: dict) -> list[str]:
    """Return the dependencies, and those of the extras that are in the locks."""
    extras = project["project"]["optional-dependencies"]
    return [*project["project"]["dependencies"], *(line for name in FIELDS for line in extras[name])]


def test_runtime_lock_matches_pyproject(project: dict) -> None:
    lock = (ROOT / LOCKS[0]).read_text(encoding="utf-8")
    assert find_mismatches(read_runtime_requirements(project), lock, "headrace (pyproject.toml)") == [], ADVICE


def test_dev_lock_matches_pyproject(project: dict) -> None:
    lock = (ROOT / LOCKS[1]).read_text(encoding="utf-8")
    assert find_mismatches(read_runtime_requirements(project), lock, "headrace (pyproject.toml)") == [], ADVICE
    assert find_mismatches(project["dependency-groups"]["dev"], lock, "headrace (pyproject.toml:dev)") == [], ADVICE


def test_dev_lock_includes_the_runtime_lock() -> None:
    runtime, dev = (read_pins((ROOT / name).read_text(encoding="utf-8")) for name in LOCKS)
    assert {name: dev.get(name) for name in runtime} == runtime, ADVICE


@pytest.mark.parametrize("name", LOCKS)
def test_locks_have_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for word in ("://", "--index-url", "--extra-index-url", "--find-links", "file:", " @ "):
        assert word not in text, f"{name} holds {word!r}"
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_installed_versions_match_the_lock() -> None:
    locked = read_pins((ROOT / LOCKS[1]).read_text(encoding="utf-8"))
    problems = {
        distribution.name: distribution.version
        for distribution in importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
        if Version(distribution.version)
        not in locked.get(canonicalize_name(distribution.name), {Version(distribution.version)})
    }
    assert problems == {}, "the environment is not that of the lock: run `make setup`"


def test_one_distribution_owns_cv2() -> None:
    owners = [
        distribution.name
        for distribution in importlib.metadata.distributions()
        if any(path.parts[0] == "cv2" for path in distribution.files or ())
    ]
    assert owners == ["opencv-contrib-python"]


def test_no_dependency_requires_another_cv2_distribution(project: dict) -> None:
    """After ``pip install headrace[all]``, without uv's overrides, one distribution owns cv2/."""
    extras = project["project"]["optional-dependencies"]
    names = {Requirement(line).name for line in project["project"]["dependencies"]}
    names |= {Requirement(line).name for lines in extras.values() for line in lines} - {"headrace", "torch"}
    reached: set[str] = set()
    while waiting := {canonicalize_name(name) for name in names} - reached:
        reached |= waiting
        names = {required for name in waiting for required in read_required_names(name)}
    assert {name for name in reached if name.startswith("opencv-")} == {"opencv-contrib-python"}


def read_required_names(name: str) -> list[str]:
    """Return the requirements of an installed distribution on this platform, without extras."""
    try:
        requirements = map(Requirement, importlib.metadata.requires(name) or [])
    except importlib.metadata.PackageNotFoundError:  # for another platform
        return []
    return [line.name for line in requirements if line.marker is None or line.marker.evaluate({"extra": ""})]


def test_lock_mismatches_are_found() -> None:
    lock = "old==1.0 \\\n    --hash=sha256:00\n    # via headrace (pyproject.toml)\n"
    lock += "kept==2.5\n    # via\n    #   headrace (pyproject.toml)\n    #   other\n"
    found = find_mismatches(["kept>=3", "new"], lock, "headrace (pyproject.toml)")
    assert found == [
        "new is not locked",
        "kept>=3 does not allow the locked 2.5",
        "old is locked but no longer asked for",
    ]
