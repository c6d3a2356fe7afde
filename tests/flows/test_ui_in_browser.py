"""Prefect's UI in a real browser, as a user clicks: forms, artifacts, retries, schedules and cancellation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Locator, Page, Response, expect

from tests.browser import PATIENCE_MS, open_page, save_screenshot, start_chromium
from tests.engine.processes import find_processes, wait_until
from tests.flows.conftest import make_checkout
from tests.flows.service import PREFECT, RUN_SECONDS, Program, Service, run_service, start_program

DEPLOYMENT = "dataset-prep/test"
RETRY = "Retry (in the menu of the run) runs only the failed items."
SETTINGS = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
}
expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True)
class Site:
    """A server with one deployment, and a worker that runs one flow at a time."""

    service: Service
    folder: Path
    worker: Program

    @property
    def ui(self) -> str:
        """The address of the UI."""
        return self.service.url.removesuffix("/api")

    def find_runs(self) -> list[dict[str, Any]]:
        """Return all flow runs."""
        return self.service.find("flow_runs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[Site]:
    folder = make_checkout(tmp_path_factory.mktemp("ui"), "demo_data.py")
    keep_deployment(folder / "prefect.yaml")
    with ExitStack() as stack:
        service = stack.enter_context(run_service(folder, make_home(folder / "home"), **SETTINGS))
        service.run_prefect("work-pool", "create", "headrace", "--type", "process", cwd=folder)
        service.run_prefect("deploy", "--all", cwd=folder)
        variables = service.build_environment(PREFECT_WORKER_QUERY_SECONDS="1", PREFECT_WORKER_PREFETCH_SECONDS="1")
        command = [PREFECT, "worker", "start", "--pool", "headrace", "--type", "process", "--limit", "1"]
        worker = stack.enter_context(start_program(command, folder, variables))
        worker.wait_for_text("started!")
        yield Site(service, folder, worker)


def keep_deployment(path: Path) -> None:
    """Remove all other deployments from a ``prefect.yaml``."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = content["deployments"]
    content["deployments"] = [
        entry
        for entry in entries
        if (entry["entrypoint"].rpartition(".")[2], entry["name"]) == ("dataset_prep", "test")
    ]
    assert len(content["deployments"]) == 1
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture(scope="module")
def chromium(browser: str) -> Iterator[Browser]:
    with start_chromium(browser) as running:
        yield running


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    """Open the page of the deployment, from the first page of the UI."""
    with open_page(chromium, site.ui, viewport={"width": 1280, "height": 900}) as page:
        page.goto("/")
        page.get_by_role("link", name="Deployments").click()
        page.get_by_role("link", name="test", exact=True).click()
        yield page


def open_form(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    expect(page.get_by_role("button", name="Submit")).to_be_visible()


def find_field(place: Page | Locator, title: str) -> Locator:
    """Return the part of a form with the field ``title``."""
    return place.locator("div.group", has_text=title).last


def click(page: Page, button: Locator, path: str) -> None:
    """Click ``button``, and again if the server answers 503: on SQLite it refuses one of two concurrent writers."""

    def is_answer(response: Response) -> bool:
        return response.request.method in ("POST", "PATCH") and path in response.url

    status = 503
    while status == 503:
        with page.expect_response(is_answer) as answer:
            button.click()
        status = answer.value.status
    assert status < 400, f"{path}: {status}"


def choose(page: Page, action: str, confirmation: str) -> None:
    """Choose ``action`` in the menu of a run, and confirm it."""
    page.get_by_role("button", name="Open menu").click()
    page.get_by_role("menuitem", name=action, exact=True).click()
    click(page, page.get_by_role("alertdialog").get_by_role("button", name=confirmation, exact=True), "/set_state")


def read_summary(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "summary.json").read_bytes())
    return content


def open_artifact(page: Page, word: str) -> None:
    """Open an artifact of a run from the cards on the run's page."""
    page.get_by_role("link", name=f"dataset-prep-{word}").click()
    page.locator('a[href*="/artifacts/artifact/"]').first.click()


def test_form_rejects_an_invalid_value(page: Page, site: Site, tmp_path: Path) -> None:
    before = len(site.find_runs())
    open_form(page)
    field = find_field(page, "Size of the frames (px)")
    field.get_by_role("textbox").fill("banana")
    page.get_by_role("button", name="Submit").click()
    expect(field).to_contain_text("'banana' is not valid")
    field.scroll_into_view_if_needed()
    save_screenshot(page, tmp_path, "form")
    assert len(site.find_runs()) == before


def test_run_from_the_form_is_read_and_retried_in_the_ui(page: Page, tmp_path: Path) -> None:
    output = tmp_path / "output"
    open_form(page)
    page.get_by_role("textbox", name="Output folder").fill(str(output))
    find_field(page, "Size of the frames (px)").get_by_role("textbox").fill("200")
    find_field(page, "Maximum frames per sample").get_by_role("spinbutton").fill("3")
    click(page, page.get_by_role("button", name="Submit"), "/create_flow_run")
    page.get_by_role("button", name="View run").click()
    expect(page.get_by_text("Completed with failures").first).to_be_visible()
    address = page.url.partition("?")[0]
    written = read_summary(output)
    assert (written["parameters"]["max_frames"], written["parameters"]["resize"]) == (3, "200")
    done = written["items"]["done"]
    assert done >= 13

    page.get_by_role("tab", name="Artifacts").click()
    progress = page.get_by_role("link", name="dataset-prep-progress")
    expect(progress).to_contain_text(re.compile(r"frames: 13/13 .* items/s, ETA "))
    expect(progress).to_contain_text(re.compile(r"dataset: (\d+)/\1 .* items/s, ETA "))
    save_screenshot(page, tmp_path, "run")
    open_artifact(page, "summary")
    summary = page.get_by_test_id("markdown-display")
    expect(summary).to_contain_text(f"{done} done, 0 cached, 2 failed")
    expect(summary).to_contain_text(RETRY)
    expect(summary).to_contain_text(str(output / "report.html"))
    summary.get_by_role("link", name="2 items").click()
    failures = page.get_by_role("row", name="damaged-text.mp4 frames bad_input")
    expect(failures).to_be_visible()
    save_screenshot(page, tmp_path, "failures")
    failures.get_by_role("link", name="log").click()
    expect(page.get_by_role("heading", name="damaged-text.mp4")).to_be_visible()

    page.goto(address)
    choose(page, "Retry", "Retry")
    page.get_by_role("tab", name="Details").click()
    expect(page.get_by_text(f"0 done, {done} cached, 2 failed. {RETRY}")).to_be_visible()


def test_schedule_set_by_clicking_fires(page: Page, site: Site, tmp_path: Path) -> None:
    output = tmp_path / "output"
    page.get_by_role("button", name="Schedule", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Value").fill("10")
    dialog.get_by_role("combobox", name="Interval").click()
    page.get_by_role("option", name="Seconds").click()
    videos = find_field(dialog, "Folder of videos")
    videos.get_by_role("tab", name="path").click()
    videos.get_by_role("textbox").fill(str(site.folder / "demo" / "videos"))
    dialog.get_by_role("textbox", name="Output folder").fill(str(output))
    click(page, dialog.get_by_role("button", name="Save"), "/schedules")
    expect(dialog).to_be_hidden()
    schedules = page.get_by_role("complementary")
    expect(schedules).to_contain_text("Every 10 seconds")

    def has_run() -> bool:
        runs = [run for run in site.find_runs() if run["parameters"]["output_dir"] == str(output)]
        return any(run["auto_scheduled"] and run["state"]["type"] == "COMPLETED" for run in runs)

    wait_until(has_run, lambda: f"a scheduled run: {site.find_runs()}", RUN_SECONDS, every_seconds=0.2)
    click(page, schedules.get_by_role("switch").last, "/schedules/")
    expect(schedules.get_by_role("switch").last).not_to_be_checked()
    assert read_summary(output)["state"] == "completed_with_failures"
    wait_until(lambda: not find_run_processes(site), "the end of scheduled runs", RUN_SECONDS, every_seconds=0.2)
    deployment = site.service.get_deployment(DEPLOYMENT)
    for schedule in deployment["schedules"]:
        site.service.delete(f"/deployments/{deployment['id']}/schedules/{schedule['id']}")


def find_run_processes(site: Site) -> list[str]:
    """Return the command lines of all processes of the worker except its own."""
    return [line for pid, line in find_processes(site.worker.mark).items() if pid != site.worker.process.pid]


def test_run_cancelled_by_clicking_leaves_no_process(page: Page, site: Site, slow_videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    busy = {"manifest": None, "videos_dir": str(slow_videos), "max_frames": 12, "resize": None, "image_format": "png"}
    run = site.service.trigger(DEPLOYMENT, output_dir=str(output), **busy)
    page.goto(f"/v2/runs/flow-run/{run}")
    records = output / ".headrace" / "records"
    wait_until(lambda: list(records.rglob("*.json")), "a finished item", RUN_SECONDS)
    assert find_run_processes(site)
    choose(page, "Cancel", "Cancel Flow Run")
    expect(page.get_by_text(re.compile("^(Cancelled|Interrupted)$")).first).to_be_visible()
    wait_until(lambda: not find_run_processes(site), lambda: f"left: {find_run_processes(site)}", 20.0)
    assert read_summary(output)["state"] == "interrupted"
