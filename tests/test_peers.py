"""Test the comparison with other tools on the two peers of the standard library."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peer_comparison.catalogue import PEERS, SCRIPTS
from benchmarks.peer_comparison.tables import END, START, format_tables, update_page

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    path = tmp_path_factory.mktemp("peers") / "peers.json"
    sizes = ["--items", "40", "--fault-items", "20"]
    command = [sys.executable, "benchmarks/peers.py", "--peers", "pool,futures", "--parts", "clean,time-5", *sizes]
    subprocess.run([*command, "--results", path], check=True, cwd=ROOT, timeout=300, capture_output=True)
    return json.loads(path.read_text())


@pytest.mark.parametrize("peer", ["pool", "futures"])
def test_peer_makes_every_item_but_the_faulty_one_once(results: dict, peer: str) -> None:
    cell = results["cells"][peer]["time-5"][0]
    assert (cell["ended"], cell["items"], cell["ended_items"], cell["fault_runs"]) == ("exit 1", 40, 39, 1)
    assert (cell["lost"], cell["repeated"], cell["processes_left"]) == (0, 0, 0)
    assert cell["cpu_seconds"] > cell["items_cpu_seconds"] > 39 * 0.005 / 2
    assert cell["peak_bytes"] > 0


@pytest.mark.parametrize("peer", ["pool", "futures"])
def test_second_run_restores_the_deleted_file_but_not_the_truncated_one(results: dict, peer: str) -> None:
    cell = results["cells"][peer]["clean"]
    assert (cell["deleted_restored"], cell["truncated_restored"], cell["again_others"]) == (True, False, 0)


def test_tables_name_every_measured_peer_and_replace_the_section(results: dict, tmp_path: Path) -> None:
    tables = format_tables(results, PEERS)
    assert tables.count("| multiprocessing.Pool |") == tables.count("| concurrent.futures |") == 2
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    update_page(page, tables)
    assert page.read_text() == f"before\n{START}\n\n{tables}\n\n{END}\nafter\n"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_script_of_peer_calls_the_shared_item(peer) -> None:
    text = (SCRIPTS / peer.script).read_text()
    if peer.script.endswith(".py"):
        ast.parse(text)
    assert "make_item" in text
    assert 5 < peer.count_code_lines() < len(text.splitlines())
