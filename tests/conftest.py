"""What all tests share.

shared_data    the folder of test videos that lies beside the checkout; tests that need it are skipped without it
shared_models  the folder of test models beside it, likewise
tracer         makes sure that strace is there
browser        a Chromium, for the tests that look at pages
make_home      a function that makes a Prefect home whose database is there
prefect_home   such a home for the session
prefect_api    the address of a real Prefect API that lives as long as the session

Libraries have one thread, as in a slot: two test workers on two cores would have theirs wait for each other. What tests
start can be interrupted, even where the tests were started in the background.

With HEADRACE_CI=1 a skipped test is a failed one: CI installs what tests need. The exceptions are in MAY_SKIP.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.homes import copy_used_home, find_shared_folder, run_api

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read when NumPy and SciPy are loaded, which comes later
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
STRICT = os.environ.get("HEADRACE_CI") == "1"

# Beginnings of the reasons for which a test may be skipped in CI too: what no package index or apt can give.
MAY_SKIP = (
    "shared/ is not beside the checkout",
    "no wheel for this platform:",
    "network namespaces are not permitted:",
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """``shared/data``, beside the checkout or where HEADRACE_SHARED says."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """``shared/models``: MediaPipe's hand and face models, and a holistic one for tests."""
    return _shared("models")


def _shared(name: str) -> Path:
    folder = Path(os.environ.get("HEADRACE_SHARED") or ROOT.parent / "shared") / name
    if not folder.is_dir():
        pytest.skip("shared/ is not beside the checkout; HEADRACE_SHARED may name it")
    return folder


@pytest.fixture(scope="session")
def browser() -> str:
    """The program of a Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("HEADRACE_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium, or set HEADRACE_BROWSER")
    return found


@pytest.fixture(scope="session")
def tracer() -> None:
    """Skip tests that trace system calls if there is no strace."""
    if shutil.which("strace") is None:
        pytest.skip("no strace: apt-get install strace")


@pytest.fixture(scope="session")
def make_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A function that makes a Prefect home at a path, as a server leaves it after its first start."""
    shared = find_shared_folder(tmp_path_factory.getbasetemp())
    return lambda home: copy_used_home(home, shared)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Path:
    """A Prefect home for the session."""
    return make_home(tmp_path_factory.mktemp("prefect") / "home")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """The address of a real Prefect API that lives as long as the session."""
    from tests.runs.bench import flush_prefect_logs

    with run_api(prefect_home) as api:
        yield api.url
        flush_prefect_logs()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI, make of a skipped test a failed one."""
    report = yield
    return _strict(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """In CI, make of a module that was skipped as a whole a failed one."""
    report = yield
    return _strict(report)


def _strict(report: Any) -> Any:
    if not STRICT or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(MAY_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {reason}"
    return report
