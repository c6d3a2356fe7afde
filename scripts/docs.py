"""Build the documentation as a website: ``make docs``.

Copies the Markdown pages of the repository into a source folder, adds the reference pages that are generated from the
code, and runs Sphinx with warnings as errors.
"""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
# The sections of the site, with their pages in order.
SECTIONS = {
    "User guide": [
        "docs/tutorials",
        "docs/recipes",
        "docs/execution",
        "docs/clusters",
        "docs/inputs",
        "docs/outputs",
        "docs/troubleshooting",
    ],
    "Flows": [
        *("docs/dataset_prep", "docs/landmark_extraction", "docs/vhs_batch", "docs/vhs_presets"),
        *("docs/overlay_removal", "docs/exoplanet_features"),
    ],
    "Reference": ["docs/reference/options", "docs/reference/columns", "docs/custom_stage"],
    "Operation": [
        "deployments/README",
        "docs/operations",
        "docs/upload",
        "docs/architecture",
        "docs/reliability",
        "docs/benchmarks",
        "docs/scaling",
        "docs/conformance",
        "SECURITY",
    ],
    "Development": ["ARCHITECTURE", "CONTRIBUTING", "docs/dependencies", "docs/mutants", "CHANGELOG"],
}
_CONFIG = """
project = "Headrace"
root_doc = "README"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "Headrace"
exclude_patterns = ["examples"]
"""


def main() -> int:
    """Build the site; return the exit code of Sphinx."""
    sys.path.insert(0, str(ROOT))
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    copy_pages()
    write_reference()
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(SOURCE), str(SITE)]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        print(f"documentation: {SITE / 'README.html'}")
    return code


def copy_pages() -> None:
    """Copy all pages, images and examples to SOURCE, in the layout of the repository, so that links stay valid."""
    for folder in ("docs", "deployments", "examples"):
        shutil.copytree(ROOT / folder, SOURCE / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*.yaml"), *ROOT.glob("*.toml"), ROOT / "Makefile"):
        shutil.copy(path, SOURCE)
    readme = SOURCE / "README.md"
    toctrees = "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```\n"
        for title, pages in SECTIONS.items()
    )
    listed = {page for pages in SECTIONS.values() for page in pages}
    others = [
        path.relative_to(SOURCE).with_suffix("").as_posix()
        for path in sorted([*SOURCE.glob("*.md"), *SOURCE.glob("docs/*.md")])
    ]
    rest = "\n".join(page for page in others if page not in listed and page != "README")
    toctrees += f"\n```{{toctree}}\n:hidden:\n:caption: Project\n\n{rest}\n```\n" if rest else ""
    readme.write_text(readme.read_text(encoding="utf-8") + toctrees, encoding="utf-8")
    (SOURCE / "conf.py").write_text(_CONFIG)


def write_reference() -> None:
    """Write the pages that are generated from the code."""
    folder = SOURCE / "docs" / "reference"
    folder.mkdir()
    (folder / "options.md").write_text("\n".join(describe_options()), encoding="utf-8")
    (folder / "columns.md").write_text("\n".join(describe_columns()), encoding="utf-8")


def describe_options() -> Iterator[str]:
    """Yield a page with the options of every flow and the shared ones, from signatures and docstrings."""
    from tasks.engine.contract.execution import Execution

    yield "# Options of all flows\n"
    yield "Generated from the code. The page of each flow explains its options.\n"
    for path in sorted((ROOT / "flows").glob("[!_]*.py")):
        flow = getattr(importlib.import_module(f"flows.{path.stem}"), path.stem)
        document = inspect.getdoc(flow.function) or ""
        helps = dict(re.findall(r"^    (\w+): (.+)$", document, re.MULTILINE))
        yield f"## {flow.name}\n\n{document.partition(chr(10))[0]}\n"
        rows = [
            (f"`--{name.replace('_', '-')}`", _format_default(parameter.default), helps[name])
            for name, parameter in flow.signature.parameters.items()
            if name != "execution"
        ]
        yield from _format_table(("option", "default", "description"), rows)
    yield "## Execution options\n\nAll flows have these; see [Execution options](../execution.md).\n"
    fields = [
        (f"`--{name.replace('_', '-')}`", _format_default(field.default), field.description or "")
        for name, field in Execution.model_fields.items()
    ]
    yield from _format_table(("option", "default", "description"), fields)


def describe_columns() -> Iterator[str]:
    """Yield a page with the columns of all tables, from their declarations."""
    from tasks.engine.reporting.summary import _COMMON
    from tasks.frames.columns import FRAME, OWN
    from tasks.landmarks import metrics_columns
    from tasks.transits.columns import COLUMNS, format_markdown

    yield "# Columns of all tables\n"
    yield "Generated from the code.\n\n## items.parquet\n\nAll flows; see [Output files](../outputs.md).\n"
    yield from _format_table(("column", "type"), [(f"`{field.name}`", f"`{field.type}`") for field in _COMMON])
    yield "## dataset-prep: the dataset\n\nSee [dataset_prep](../dataset_prep.md).\n"
    yield from _format_table(("column",), [(f"`{name}`",) for name in [*OWN, *FRAME]])
    yield f"## landmark-extraction: samples\n\n{metrics_columns.render_columns()}\n"
    yield f"## landmark-extraction: summary\n\n{metrics_columns.render_summary_keys()}\n"
    yield f"## exoplanet-features: candidates\n\n{format_markdown(COLUMNS)}\n"


def _format_default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if value is None:
        return ""
    return "off" if value is False else "on" if value is True else f"`{value}`" if value != "" else "empty"


def _format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    yield from (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
    yield ""


if __name__ == "__main__":
    raise SystemExit(main())
