"""Test that no text in Prefect's artifacts of a run acts as Markdown, HTML or an escape sequence."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.runs.bench import Bench

NAME = "[free](http://evil.example) <img src=x onerror=alert(1)>"
SHOWN_NAME = r"\[free\]\(http:\/\/evil.example\) \<img src=x onerror=alert\(1\)\>"
WORDS = "\x1b[2J**bold** `code` <b>x</b>\u200b\u202e | cell"
SHOWN_WORDS = r"\\x1b\[2J\*\*bold\*\* \`code\` \<b\>x\</b\>\\u200b\\u202e \| cell"


def test_names_and_messages_are_escaped_in_artifacts(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    output = bench.output = bench.folder / "<i>out_put</i>"
    bench.write_manifest({"id": NAME, "do": "raise", "words": WORDS}, {"id": "good"})
    assert bench.run("--retries", 0) == 3
    log = capsys.readouterr().err
    assert "\x1b[2J" not in log
    assert "\u200b" not in log
    [row] = json.loads(read_latest_artifact(bench, "fault-flow-failures")["data"])
    assert row["name"] == SHOWN_NAME
    assert row["message"].endswith(SHOWN_WORDS), row
    assert row["failure_kind"] == "error"
    assert all("<" not in value.replace(r"\<", "") for value in row.values() if isinstance(value, str)), row
    summary = read_latest_artifact(bench, "fault-flow-summary")["data"]
    assert r"\<i\>out\_put\</i\>" in summary
    assert "<i>" not in summary.replace(r"\<i", "")
    failure = json.loads((output / "failures.json").read_bytes())[0]
    assert failure["name"] == NAME
    page = (output / "report.html").read_text()
    assert not any(sign in page for sign in ("\x1b", "\u200b", "\u202e", "<img src=x"))


def read_latest_artifact(bench: Bench, key: str) -> dict[str, Any]:
    """Return the newest version of an artifact from the server's API."""
    answer = httpx.get(f"{bench.api}/artifacts/{key}/latest", timeout=30)
    answer.raise_for_status()
    artifact: dict[str, Any] = answer.json()
    return artifact
