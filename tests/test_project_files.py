"""Files that the hosting site and users of the project read: valid, and in step with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_citation_has_the_version_and_license_of_the_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (VERSION, "Apache-2.0")


def test_workflow_runs_the_script_of_ci_on_every_supported_python() -> None:
    job = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]["check"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_templates_have_what_the_site_requires(name: str) -> None:
    template = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= template.keys()
    for field in template["body"]:
        assert field["type"] == "markdown" or (field["id"] and field["attributes"]["label"])


def test_changelog_dates_releases_and_begins_with_the_version_of_the_project() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    releases = titles[1:] if titles[0] == "Unreleased" else titles
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", title) for title in releases)
    assert not releases or releases[0].startswith(f"{VERSION} - ")
