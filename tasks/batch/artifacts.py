"""The Prefect artifacts of a finished run: its summary, its failed items and their logs. All of them are Markdown.

Prefect's UI shows links in Markdown, but not in the cells of a table artifact. The files of the run are linked through
the upload service if ``HEADRACE_WEB_URL`` is set, else their paths are shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.text import count_noun, markdown, showable_lines
from tasks.engine.reporting.summary import Summary
from tasks.engine.store.layout import Layout

WEB_URL = "HEADRACE_WEB_URL"
_ADDRESS = re.compile(r"https?://[^\s()<>\\\"]+")
_MAX_FAILURES_SHOWN = 500
_MAX_LOGS_SHOWN = 20
_MAX_LOG_BYTES = 8000  # the end of each


@dataclass(frozen=True)
class FinishedRun:
    """What the artifacts tell. ``rerun`` says how to run the failed items again; empty if none failed."""

    summary: Summary
    failures: Sequence[Mapping[str, Any]]
    layout: Layout
    rerun: str


def artifact_key(flow: str, word: str) -> str:
    """Return Prefect's key for an artifact of a flow: lower-case letters, digits and ``-``."""
    return re.sub(r"[^a-z0-9]+", "-", f"{flow}-{word}".lower())


def create_artifacts(run: FinishedRun) -> None:
    """Create the artifacts; the summary comes last and links to the others."""
    address = find_address(run.layout)
    table = _create_failures(run, address) if run.failures else ""
    message = f"{run.summary.message}. {run.rerun}" if run.rerun else run.summary.message
    _create(run, "summary", _format_summary(run, address, table), message)


def find_address(layout: Layout) -> str:
    """Return the address of the output folder in the upload service; empty if the variable is not set."""
    service = os.environ.get(WEB_URL, "").strip().rstrip("/")
    if not service or layout.store:  # the service shows local folders
        return ""
    if not _ADDRESS.fullmatch(service):
        message = "%s: %r; allowed: an address such as https://headrace.example; artifacts show paths instead of links"
        get_run_logger().warning(message, WEB_URL, service)
        return ""
    return f"{service}/runs{quote(os.fsencode(os.path.realpath(layout.output_dir)))}"


def _create_failures(run: FinishedRun, address: str) -> str:
    """Create the table of failed items, and their logs if no service shows them; return the table's address."""
    shown = run.failures[:_MAX_FAILURES_SHOWN]
    logged = [row for row in shown if row["log"]]
    links = {row["log"]: f"{address}/{quote(row['log'])}" for row in logged} if address else {}
    if logged and not address:
        sections = [_format_log(row, run.layout) for row in logged[:_MAX_LOGS_SHOWN]]
        page = _create(run, "logs", "\n\n".join(sections), "The ends of the logs of failed items")
        links = dict.fromkeys((row["log"] for row in logged[:_MAX_LOGS_SHOWN]), page)
    lines = [
        run.rerun,
        "",
        "| item | stage | kind | message | attempts | log |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_format_row(row, links) for row in shown]
    if len(shown) < len(run.failures):
        lines += ["", f"The first {len(shown)} of {len(run.failures)}; all of them are in failures.json."]
    return _create(run, "failures", "\n".join(lines), count_noun(len(run.failures), "failed item"))


def _create(run: FinishedRun, word: str, text: str, description: str) -> str:
    """Create an artifact; return its address relative to the page of any other artifact, in both UIs of Prefect."""
    key = artifact_key(run.summary.flow, word)
    created = cast("UUID", create_markdown_artifact(text, key=key, description=markdown(description)))
    return f"../artifact/{created}"


def _format_row(row: Mapping[str, Any], links: Mapping[str, str]) -> str:
    log = f"[log]({links[row['log']]})" if row["log"] in links else markdown(row["log"])
    texts = [markdown(str(row[column] or "")) for column in ("name", "stage", "failure_kind", "message", "attempts")]
    return f"| {' | '.join([*texts, log])} |"


def _format_log(row: Mapping[str, Any], layout: Layout) -> str:
    """Return a section with the end of the log of a failed item."""
    try:
        text = layout.tree.read_end(row["log"], _MAX_LOG_BYTES).decode("utf-8", "replace")
    except (OSError, RunError) as error:
        text = f"not readable: {error}"
    content = showable_lines(text.replace("\r\n", "\n").replace("\r", "\n")).strip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    title = f"### {markdown(row['name'])}\n\n{markdown(row['failure_kind'])}: {markdown(row['message'])}"
    return f"{title}\n\n{fence}\n{content}\n{fence}\n\n{markdown(row['log'])}"


def _format_summary(run: FinishedRun, address: str, table: str) -> str:
    summary, layout = run.summary, run.layout
    counts = "\n".join(f"| {name} | {number} |" for name, number in summary.items.items())
    places = {
        "Report": (f"{address}/report.html", layout.name("report.html")),
        "Outputs": (address, layout.place),
    }
    rows = [f"[{markdown(path)}]({link})" if address else markdown(path) for link, path in places.values()]
    lines = [f"- {name}: {row}" for name, row in zip(places, rows, strict=True)]
    if table:
        lines.insert(1, f"- Failed items: [{count_noun(len(run.failures), 'item')}]({table})")
    return (
        f"**{markdown(summary.message)}**\n\n{run.rerun}\n\n" + "\n".join(lines) + "\n\n"
        f"| items | |\n| --- | --- |\n{counts}\n\n"
        f"{summary.wall_seconds:.1f} s on {count_noun(summary.slots, 'slot')}, {summary.items_per_second:g} items/s, "
        f"{summary.speedup:g} times as fast as sequential execution.\n"
    )
