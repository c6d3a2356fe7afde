"""The UI of a run's own server in a real browser: it asks for the password, and then shows the run."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tasks.launcher.api import LocalApi
from tests.engine.processes import wait_until

RUN_NAME = "patient-heron"


class Page:
    """A page of a browser, by the Chrome DevTools Protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self._connection.recv())).get("id") != number:
            pass  # an event
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def evaluate(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    @property
    def text(self) -> str:
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def type_password(self, password: str) -> None:
        """Type into the page's only password field, and press Enter."""
        wait_until(lambda: self.evaluate(f"{FIELD} !== null"), lambda: f"a password field: {self.text}")
        self.evaluate(f"{FIELD}.focus(); {FIELD}.select()")
        self.call("Input.insertText", text=password)
        for kind in ("rawKeyDown", "char", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            self.call("Input.dispatchKeyEvent", type=kind, **key)


FIELD = "document.querySelector('input[type=password]')"


@pytest.fixture(scope="module")
def api() -> Iterator[LocalApi]:
    """A run's own server."""
    with LocalApi() as running:
        running.start()
        running.wait()
        yield running


@pytest.fixture(scope="module")
def run_address(api: LocalApi) -> str:
    """The address of the UI's page of a flow run."""
    user, _, password = api.auth_string.partition(":")
    with httpx.Client(trust_env=False, auth=(user, password)) as client:
        flow = client.post(f"{api.url}/flows/", json={"name": "heron"}).json()
        state = {"type": "RUNNING", "name": "Running"}
        answer = client.post(f"{api.url}/flow_runs/", json={"name": RUN_NAME, "flow_id": flow["id"], "state": state})
    return f"{api.ui_url}/runs/flow-run/{answer.json()['id']}"


@pytest.fixture
def page(browser: str, api: LocalApi, tmp_path: Path) -> Iterator[Page]:
    """The UI in a browser that does not know the password."""
    home = tmp_path / "browser"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    options += ["--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={home}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([browser, *options, api.ui_url], stdout=log, stderr=log)
    try:
        port_file = home / "DevToolsActivePort"
        wait_until(lambda: port_file.exists() and "\n" in port_file.read_text(), "the browser")
        port = port_file.read_text().splitlines()[0]
        targets = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False).json()
        (address,) = (target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        with connect(address, max_size=None, proxy=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait()


def test_password_opens_the_page_of_the_run(page: Page, api: LocalApi, run_address: str) -> None:
    page.type_password("headrace:wrong")
    wait_until(lambda: "Invalid credentials" in page.text, lambda: f"a refusal: {page.text}")
    assert RUN_NAME not in page.text
    page.type_password(api.auth_string)
    wait_until(lambda: page.evaluate(f"{FIELD} === null"), lambda: f"the end of the login: {page.text}")
    page.call("Page.navigate", url=run_address)
    wait_until(lambda: RUN_NAME in page.text, lambda: f"the run: {page.evaluate('location.href')} {page.text}")
