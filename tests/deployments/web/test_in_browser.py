"""The pages in a real browser: upload a video, choose overlays, watch the run, compare and download."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import PATIENCE_MS, open_page, save_screenshot, start_chromium
from tests.deployments.web.client import TOKENS, Web
from tests.deployments.web.clips import HIDDEN, HIDDEN_START, LOGO, SIZE, STAYS, crop, make_clips, read_luma

REFUSED = ("status of 422", "status of 404")  # Chromium reports each refused request


@pytest.fixture(scope="module")
def chromium(browser: str) -> Iterator[Browser]:
    with start_chromium(browser) as running:
        yield running


@pytest.fixture
def page(chromium: Browser, served_web: Web) -> Iterator[Page]:
    """Return a page of the user anna; its scripts may print nothing."""
    with open_as(chromium, served_web, "anna") as page:
        yield page


@contextmanager
def open_as(chromium: Browser, web: Web, user: str) -> Iterator[Page]:
    signed_in = {"username": user, "password": TOKENS[user]}
    with open_page(chromium, web.url, http_credentials=signed_in, viewport={"width": 1200, "height": 1400}) as page:
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        yield page
    assert [text for text in complaints if not any(words in text for words in REFUSED)] == []


def upload(page: Page, path: Path, preset: str) -> None:
    page.goto("/")
    page.get_by_label("Preset for: Remove logos").select_option(preset)
    page.get_by_label("Video, at most").set_input_files(path)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/uploads/*")


def draw_box(page: Page, box: tuple[int, int, int, int]) -> None:
    area = page.locator("#paint").bounding_box()
    assert area is not None
    scale = area["width"] / SIZE[0]
    x, y, width, height = (scale * value for value in box)
    page.mouse.move(area["x"] + x, area["y"] + y)
    page.mouse.down()
    page.mouse.move(area["x"] + x + width / 2, area["y"] + y + height / 2)
    page.mouse.move(area["x"] + x + width, area["y"] + y + height)
    page.mouse.up()


def measure_error(frames: np.ndarray, truth: np.ndarray, box: tuple[int, int, int, int]) -> float:
    return float(np.abs(crop(frames, box) - crop(truth, box)).mean())


def test_false_box_is_switched_off_and_another_drawn(page: Page, tmp_path: Path) -> None:
    truth_path, marked_path = make_clips(tmp_path)
    upload(page, marked_path, "lossless")
    boxes = page.locator("#overlays li")
    expect(boxes).to_have_count(2, timeout=PATIENCE_MS)
    expect(page.locator("#sentence")).to_contain_text("Nothing has been removed yet")
    boxes.filter(has_text=f"at {STAYS[0]}").or_(boxes.nth(1)).last.get_by_role("checkbox").uncheck()
    draw_box(page, HIDDEN)
    expect(boxes).to_have_count(3)
    save_screenshot(page, tmp_path, "overlays")
    page.get_by_role("button", name="Start with these").click()
    expect(page.locator("#sentence")).to_have_text("The result is ready.", timeout=PATIENCE_MS)
    with page.expect_download() as started:
        page.get_by_role("link", name="Download the result").click()
    assert started.value.suggested_filename.startswith("marked-cleaned.")
    cleaned = read_luma(started.value.path().read_bytes())
    truth, marked = read_luma(truth_path.read_bytes()), read_luma(marked_path.read_bytes())
    assert cleaned.shape == truth.shape
    changed = np.abs(cleaned - marked).max(axis=0) > 0
    for box, start in ((LOGO, 0), (HIDDEN, HIDDEN_START)):
        before, after = (measure_error(frames[start:], truth[start:], box) for frames in (marked, cleaned))
        assert after < before / 4, box
        x, y, width, height = box
        changed[max(0, y - 8) : y + height + 8, max(0, x - 8) : x + width + 8] = False
    assert not changed.any(), "pixels outside the chosen overlays have changed"
    expect(page.locator("#compare img.after")).to_be_visible()
    page.wait_for_function("[...document.querySelectorAll('#compare img')].every((image) => image.naturalWidth > 0)")
    page.get_by_label("Before / after").fill("20")
    assert page.locator("#compare img.before").evaluate("(image) => image.style.clipPath") == "inset(0px 80% 0px 0px)"
    save_screenshot(page, tmp_path, "compared")
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/")
    expect(page.get_by_text("You have no uploads.")).to_be_visible()


def test_mask_is_painted_and_comes_back(page: Page, served_web: Web, tmp_path: Path) -> None:
    _, marked_path = make_clips(tmp_path, 60)
    upload(page, marked_path, "standard")
    page.locator("#paint").wait_for()
    page.get_by_label("Paint a mask").check()
    draw_box(page, HIDDEN)
    page.get_by_label("Remove overlays only in these parts").fill("0-1, 1.5-2")
    page.get_by_role("button", name="Start with these").click()
    page.get_by_role("button", name="Cancel the run").or_(page.get_by_role("button", name="Run again")).first.wait_for()
    upload_id = page.url.rpartition("/")[2]
    choice = served_web.call("GET", f"/api/uploads/{upload_id}/choice").json()
    assert choice["times"] == [{"start": 0.0, "end": 1.0}, {"start": 1.5, "end": 2.0}]
    assert choice["mask"] is True
    assert served_web.call("GET", f"/uploads/{upload_id}/mask").content.startswith(b"\x89PNG")
    served_web.call("DELETE", f"/api/uploads/{upload_id}")


def test_refused_file_is_one_sentence_on_the_page(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("Not a video.\n")
    page.goto("/")
    page.get_by_label("Video, at most").set_input_files(path)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#problem")).to_contain_text("not a video")


def test_users_do_not_see_each_others_uploads(chromium: Browser, page: Page, served_web: Web, tmp_path: Path) -> None:
    _, marked_path = make_clips(tmp_path, 25)
    upload(page, marked_path, "standard")
    expect(page.get_by_role("heading", name="marked.mp4")).to_be_visible()
    address = page.url
    with open_as(chromium, served_web, "bert") as other:
        other.goto("/")
        expect(other.get_by_text("You have no uploads.")).to_be_visible()
        for path in ("", "/report", "/result", "/frames/0"):
            answer = other.goto(f"{address}{path}")
            assert answer is not None
            assert answer.status == 404
        expect(other.get_by_text("There is no such upload.")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("link", name="marked.mp4")).to_be_visible()
    served_web.call("DELETE", f"/api/uploads/{address.rpartition('/')[2]}")
