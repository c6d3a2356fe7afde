"""Runs in the browser: artifacts in Prefect link to pages, reports, logs and images, which only some users may see."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deployments.web.client import Web, start_web
from tests.flows.service import Service
from tests.runs.bench import Bench

PIXEL = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def web(service: Service, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Start a service that shows runs to anna; its uploads are below the same folder."""
    settings = {"HEADRACE_WEB_OUTPUTS": f"{runs}:/no/such/folder", "HEADRACE_WEB_VIEWERS": "anna"}
    with start_web(tmp_path_factory.mktemp("web"), service, folder=runs / "uploads", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def run(web: Web, runs: Path, prefect_home: Path, prefect_api: str) -> dict[str, str]:
    """Finish a run with a failed item; return the addresses in its artifacts by their texts."""
    output = runs / "a (1)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_WEB_URL", web.url)
        bench = Bench(runs, prefect_home, prefect_api, patch)
        bench.output = output
        bench.write_manifest({"id": "<b>bad</b>", "do": "raise"}, {"id": "good"})
        assert bench.run("--retries", 0) == 3
    (output / "images").mkdir()
    (output / "images" / "1 é.png").write_bytes(PIXEL)
    (output / "secret.txt").write_text("secret")
    (output / "escape.png").symlink_to("/etc/hostname")
    (output / ".hidden.png").write_bytes(PIXEL)
    texts = [
        httpx.get(f"{prefect_api}/artifacts/fault-flow-{word}/latest", trust_env=False).json()["data"]
        for word in ("summary", "failures")
    ]
    return {address.rpartition("/")[2]: address for text in texts for address in re.findall(r"\]\((http[^)]+)\)", text)}


def read(web: Web, address: str, user: str = "anna") -> httpx.Response:
    return web.call("GET", address.removeprefix(web.url), user, headers={"Accept": "text/html"})


def test_links_in_artifacts_open_the_page_the_report_and_the_log(web: Web, run: dict[str, str]) -> None:
    page = read(web, run["a%20%281%29"])
    assert page.status_code == 200
    assert "1 done, 0 cached, 1 failed" in page.text
    assert "&lt;b&gt;bad&lt;/b&gt;" in page.text
    report = read(web, run["report.html"])
    assert (report.status_code, report.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "sandbox" in report.headers["Content-Security-Policy"]
    (log,) = (address for name, address in run.items() if name.endswith(".log"))
    assert log.removeprefix(web.url) in page.text
    shown = read(web, log)
    assert (shown.headers["Content-Type"], "second line" in shown.text) == ("text/plain; charset=utf-8", True)
    (image,) = re.findall(r'<img src="([^"]+)"', page.text)
    assert read(web, image).content == PIXEL
    assert read(web, f"{run['a%20%281%29']}/failures.json").json()[0]["name"] == "<b>bad</b>"


@pytest.mark.parametrize(
    "path",
    [
        "secret.txt",
        "summary.json/",
        "items.parquet",
        "escape.png",
        ".hidden.png",
        ".headrace/lock",
        "images/../secret.txt",
        "images/%2e%2e/%2e%2e/a%20%281%29/report.html",
        "%00",
        "/report.html",
        "nothing.png",
        f"{'x' * 300}.png",
        "..",
    ],
)
def test_other_files_are_not_found(web: Web, run: dict[str, str], path: str) -> None:
    answer = read(web, f"{run['a%20%281%29']}/{path}")
    assert answer.status_code == 404, answer.text
    assert "secret" not in answer.text
    assert os.uname().nodename not in answer.text


def test_other_users_and_folders_are_not_found(web: Web, run: dict[str, str], runs: Path) -> None:
    for address in run.values():
        assert read(web, address, "bert").status_code == 404
        assert read(web, address, "").status_code == 401
    for folder in (runs, runs.parent, Path("/etc"), Path("/")):
        assert read(web, f"/runs{folder}").status_code == 404
    (runs / "link").symlink_to(runs / "a (1)")
    assert read(web, f"/runs{runs}/link/report.html").status_code == 404


def test_runs_on_uploads_are_shown_to_their_owner_only(web: Web, runs: Path, run: dict[str, str]) -> None:
    upload = web.create(20, user="bert").json()["id"]
    output = web.folder / "bert" / upload / "output"
    (output / ".headrace").mkdir(parents=True)
    for name in ("summary.json", "report.html"):
        (output / name).write_text("{}")
    (output / "image.png").write_bytes(PIXEL)
    for path in ("", "/report.html", "/image.png"):
        assert read(web, f"/runs{output}{path}", "bert").status_code == 200
        assert read(web, f"/runs{output}{path}", "anna").status_code == 404
    for path in ("..", "../upload.json", "../../../uploads"):
        assert read(web, f"/runs{output}/{path}", "bert").status_code == 404
    (runs / ".headrace").mkdir()
    (runs / "summary.json").write_text("[]")
    page = read(web, f"/runs{runs}")
    assert page.status_code == 200
    assert "/a%20%281%29/images/" in page.text
    assert upload not in page.text
