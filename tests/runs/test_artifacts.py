"""Test that no text in Prefect's artifacts of a run acts as Markdown, HTML or an escape sequence."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tasks.engine.contract.text import markdown
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
    table = read_latest_artifact(bench, "fault-flow-failures")
    assert f"\n| {SHOWN_NAME} | faults | error | " in table["data"]
    assert f"{SHOWN_WORDS} | 1 | [log](../artifact/" in table["data"]
    logs = read_latest_artifact(bench, "fault-flow-logs")["data"]
    assert logs.startswith(f"### {SHOWN_NAME}\n\nerror: ")
    for text in (table["data"], logs.partition("```")[0]):
        assert "<" not in text.replace(r"\<", "")
    summary = read_latest_artifact(bench, "fault-flow-summary")["data"]
    assert f"- Failed items: [1 item](../artifact/{table['id']})\n" in summary
    assert "\n\nThe same command runs only the failed items.\n\n" in summary, (
        "the UI cannot retry a run without a deployment"
    )
    assert r"\<i\>out\_put\</i\>" in summary
    assert "<i>" not in summary.replace(r"\<i", "")
    failure = json.loads((output / "failures.json").read_bytes())[0]
    assert failure["name"] == NAME
    page = (output / "report.html").read_text()
    assert not any(sign in page for sign in ("\x1b", "\u200b", "\u202e", "<img src=x"))


def test_log_cannot_end_its_block(bench: Bench) -> None:
    bench.write_manifest({"id": "bad", "do": "raise", "words": "```\n# heading ````"})
    assert bench.run("--retries", 0) == 3
    logs = read_latest_artifact(bench, "fault-flow-logs")["data"]
    block = logs.partition("`````\n")[2].partition("\n`````\n")[0]
    assert "```\n# heading ````" in block


def test_artifacts_link_to_the_upload_service(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_WEB_URL", "https://headrace.example/")
    bench.output = bench.folder / "out (1)"
    (bench.folder / "place").mkdir()
    (bench.folder / "out (1)").symlink_to("place")
    bench.write_manifest({"id": "bad", "do": "raise"})
    assert bench.run("--retries", 0) == 3
    address = f"https://headrace.example/runs{bench.folder}/place"
    summary = read_latest_artifact(bench, "fault-flow-summary")["data"]
    assert f"- Report: [{markdown(str(bench.output))}/report.html]({address}/report.html)\n" in summary
    assert f"- Outputs: [{markdown(str(bench.output))}]({address})\n" in summary
    assert (
        f"| 1 | [log]({address}/.headrace/logs/faults/bad.log) |"
        in read_latest_artifact(bench, "fault-flow-failures")["data"]
    )


def read_latest_artifact(bench: Bench, key: str) -> dict[str, Any]:
    """Return the newest version of an artifact from the server's API."""
    only = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC", "limit": 1}
    answer = httpx.post(f"{bench.api}/artifacts/filter", json=only, timeout=30)
    answer.raise_for_status()
    artifact: dict[str, Any] = answer.json()[0]
    return artifact
