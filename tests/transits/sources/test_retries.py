"""Tests of waits, allowed addresses, settings, and the coordination of processes through the cache folder."""

import math
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tasks.downloads import cache as cache_module
from tasks.downloads.cache import Pace, SharedCache, read_json, write_json
from tasks.downloads.folder import find_cache_problems
from tasks.downloads.retries import TransientFailure, compute_backoff_seconds, parse_retry_after, retry
from tasks.downloads.sessions import RefusedAddress, open_session
from tasks.engine.contract.cache_folder import get_default_cache
from tasks.engine.contract.errors import InvalidInput, TransientError
from tasks.transits.sources.downloads import Downloads
from tasks.transits.sources.products import Product
from tasks.transits.sources.settings import MastSettings, read_settings
from tests.engine.processes import wait_until
from tests.transits.sources.archive import Archive, send_when_released
from tests.transits.sources.conftest import Clock

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("301", 300.0),
        ("9" * 400, 300.0),
        ("Fri, 15 Jan 2027 08:00:09 GMT", 9.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 9999 07:00:00 GMT", 300.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
    ],
)
def test_parse_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_backoff_has_full_jitter_and_a_maximum() -> None:
    chance = random.Random(1).random
    for number in range(1, 40):
        bound = min(60.0, 2.0 ** (number - 1))
        assert compute_backoff_seconds(number, None, 0.0) == 0.0
        assert 0 <= compute_backoff_seconds(number, None, chance()) <= bound
        assert 20.0 <= compute_backoff_seconds(number, 20.0, chance()) <= 20.0 + bound
    assert compute_backoff_seconds(1, math.inf, 0.0) == 300.0


def test_only_transient_failures_are_retried(clock: Clock) -> None:
    answers = iter([TransientFailure("no"), TransientFailure("no", 3.0), None])

    def action() -> str:
        if error := next(answers):
            raise error
        return "yes"

    assert retry(action, "it", 3, clock.pace) == "yes"
    assert clock.waits == [0.5, 4.0]

    def fail() -> str:
        raise KeyError("no retry")

    with pytest.raises(KeyError):
        retry(fail, "it", 3, clock.pace)
    assert len(clock.waits) == 2

    def fail_transiently() -> str:
        raise TransientFailure("HTTP 503")

    with pytest.raises(TransientError, match="it: HTTP 503; tried 2 times; run the same command later"):
        retry(fail_transiently, "it", 2, clock.pace)
    assert len(clock.waits) == 3  # no wait after the last attempt


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("{url}/x", True),
        ("https://127.0.0.1/x", False),
        ("http://127.0.0.1/x", False),
        ("http://127.0.0.1.elsewhere.example/x", False),
        ("http://{host}@elsewhere.example/x", False),
        ("http://user@{host}/x", True),
    ],
)
def test_only_configured_addresses_are_requested(
    url: str, allowed: bool, archive: Archive, settings: MastSettings
) -> None:
    archive.bucket["/x"] = b"x"
    address = url.format(url=archive.url, host=archive.url.removeprefix("http://"))
    session = open_session(settings)
    if allowed:
        assert session.get(address).content == b"x"
        assert archive.requests[0][1]["User-Agent"].startswith("headrace python-requests/")
        assert archive.requests[0][1]["Connection"] == "close"  # kept-alive connections would exceed the maximum
    else:
        with pytest.raises(RefusedAddress, match="which is not allowed; allowed: http://127"):
            session.get(address)
        assert archive.requests == []


def test_session_times_out_even_if_a_library_disables_timeouts(archive: Archive, settings: MastSettings) -> None:
    archive.bucket["/x"] = b"x" * 100
    archive.faults.append(send_when_released)
    session = open_session(MastSettings(**{**vars(settings), "stall_seconds": 0.1}))
    with pytest.raises(requests.Timeout):
        session.get(f"{archive.url}/x", timeout=None)


def test_public_copies_are_allowed_only_for_mast() -> None:
    copies = {"mast.stsci.edu", "mastresolver.stsci.edu", "archive.stsci.edu"}
    copies |= {"stpubdata.s3.amazonaws.com", "stpubdata.s3.us-east-1.amazonaws.com"}
    assert MastSettings().origins == {("https", host) for host in copies}
    own = MastSettings(server="https://mast.example:8443", resolver="https://names.example/query")
    assert own.origins == {("https", "mast.example:8443"), ("https", "names.example")}


def test_read_settings_from_the_environment() -> None:
    assert read_settings({}) == read_settings({"HEADRACE_MAST_SERVER": ""}) == MastSettings()
    environment = {
        "HEADRACE_MAST_SERVER": "https://mast.example/",
        "HEADRACE_MAST_RESOLVER": "https://names.example/query",
        "HEADRACE_MAST_MIRROR": "https://stpubdata.s3.amazonaws.com",
        "HEADRACE_MAST_CONNECTIONS": "2",
    }
    own = read_settings(environment)
    assert (own.server, own.resolver) == ("https://mast.example", "https://names.example/query")
    assert (own.mirror, own.connections) == ("https://stpubdata.s3.amazonaws.com", 2)


def test_all_invalid_settings_are_reported_together() -> None:
    environment = {
        "HEADRACE_MAST_SERVER": "mast.stsci.edu",
        "HEADRACE_MAST_RESOLVER": "file:///etc/passwd",
        "HEADRACE_MAST_MIRROR": "https://user@host/?x=1",
        "HEADRACE_MAST_CONNECTIONS": "17",
    }
    with pytest.raises(InvalidInput) as caught:
        read_settings(environment)
    assert [problem.where for problem in caught.value.problems] == list(environment)
    assert "a whole number from 1 to 16" in str(caught.value)


def test_default_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_default_cache({}, "mast") == tmp_path / ".cache/headrace/mast"
    assert get_default_cache({"XDG_CACHE_HOME": "relative"}, "mast") == tmp_path / ".cache/headrace/mast"
    assert get_default_cache({"XDG_CACHE_HOME": "/x"}, "mast") == Path("/x/headrace/mast")
    assert get_default_cache({"XDG_CACHE_HOME": "/x", "HEADRACE_CACHE": "~/own"}, "mast") == tmp_path / "own/mast"


def test_unwritable_cache_is_reported(tmp_path: Path) -> None:
    assert find_cache_problems(tmp_path / "a/b") == []
    assert list((tmp_path / "a/b").iterdir()) == []
    (tmp_path / "file").touch()
    (problem,) = find_cache_problems(tmp_path / "file" / "mast")
    assert str(problem).startswith(
        f"HEADRACE_CACHE: the cache {tmp_path}/file/mast cannot be written to (Not a directory)"
    )


def create_fetches(archive: Archive, settings: MastSettings, content: bytes, count: int) -> list[Callable[[], object]]:
    """Return downloads of different files, each with a separate cache object and session, as in separate processes."""
    fetches: list[Callable[[], object]] = []
    for number in range(count):
        cache = SharedCache(settings.folder, settings.connections, Pace())
        product = Product(f"{number}.fits", f"mast:x/{number}.fits", None, "SPOC", 120.0, "TESS", "S1", "1", 0.0)
        archive.files[product.uri] = content
        downloads = Downloads(settings, cache, open_session(settings), Pace())
        fetches.append(lambda downloads=downloads, product=product: downloads.fetch(product))  # type: ignore[misc]
    return fetches


def test_connections_stay_below_the_maximum(archive: Archive, settings: MastSettings, light_curve: bytes) -> None:
    own = MastSettings(**{**vars(settings), "connections": 2})
    fetches = create_fetches(archive, own, light_curve, 6)
    archive.faults.extend([send_when_released, send_when_released])
    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(fetch) for fetch in fetches]
        wait_until(lambda: len(archive.downloads) == 2, "two downloads at a time")
        archive.released.set()
        for future in running:
            future.result(60)
    assert archive.busy.max_inside == 2
    assert len(archive.downloads) == 6


def test_failure_releases_the_connection(settings: MastSettings, clock: Clock) -> None:
    cache = SharedCache(settings.folder, 1, clock.pace)

    def fail() -> None:
        with cache.hold_connection("host"):
            raise TransientFailure("no")

    for _ in range(2):
        with pytest.raises(TransientFailure):
            fail()
    assert clock.waits == []


def test_concurrent_downloads_without_locks_are_correct(
    archive: Archive, settings: MastSettings, light_curve: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_acquire_lock", lambda *_: False)
    fetch = create_fetches(archive, settings, light_curve, 1)[0]
    archive.faults.extend([send_when_released, send_when_released])
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(fetch), pool.submit(create_fetches(archive, settings, light_curve, 1)[0])]
        wait_until(lambda: len(archive.downloads) == 2, "both downloads")
        archive.released.set()
        files = [future.result(60) for future in running]
    for file in files:
        assert file.path.read_bytes() == light_curve  # type: ignore[attr-defined]
    assert len(list(settings.folder.glob("files/*/*"))) == 2


def test_wait_is_ignored_if_the_clock_was_set_back(settings: MastSettings, clock: Clock) -> None:
    cache = SharedCache(settings.folder, 1, clock.pace)
    with cache.hold_connection("host"):
        pass
    cache.set_quiet("host", 60.0)
    clock.seconds -= 86_400
    with cache.hold_connection("host"):
        assert clock.waits == []


def test_shorter_wait_does_not_replace_a_longer_one(settings: MastSettings, clock: Clock) -> None:
    cache = SharedCache(settings.folder, 1, clock.pace)
    with cache.hold_connection("host"):
        pass
    cache.set_quiet("host", 60.0)
    cache.set_quiet("host", 5.0)
    with cache.hold_connection("other host"):
        assert clock.waits == []
    with cache.hold_connection("host"):
        assert clock.waits == [60.5]


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"until": "x"}', '{"until": NaN}', '{"until": 1e999}', "[" * 10**5]
)
def test_damaged_note_of_a_wait_is_ignored(content: str, settings: MastSettings, clock: Clock) -> None:
    cache = SharedCache(settings.folder, 1, clock.pace)
    with cache.hold_connection("host"):
        pass
    cache.set_quiet("host", 60.0)
    (note,) = settings.folder.glob("connections/quiet-*")
    note.write_text(content)
    with cache.hold_connection("host"):
        assert clock.waits == []


def test_write_json_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": [1, object()]})
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_second_lock_waits_for_the_first(settings: MastSettings) -> None:
    first, second = (SharedCache(settings.folder, 1, Pace()) for _ in range(2))
    order: list[str] = []

    def other() -> None:
        with second.lock("thing") as alone:
            assert alone
            order.append("second")

    with first.lock("thing") as alone:
        assert alone
        thread = threading.Thread(target=other)
        thread.start()
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
