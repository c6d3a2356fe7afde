"""Official files over a faulty network: fetching returns the right file or states why it cannot."""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.landmarks.models.catalogue import ModelFile
from tasks.landmarks.models.fetching import ModelFetcher, Unavailable
from tests.engine.processes import wait_until
from tests.landmarks.models.conftest import PATH, Clock
from tests.landmarks.models.server import (
    Fault,
    ModelServer,
    answer_busy,
    answer_with,
    hold,
    redirect_to,
    send_endlessly,
    stall,
    truncate,
)

ROOT = Path(__file__).resolve().parents[3]
FetcherFactory = Callable[..., ModelFetcher]


def list_files(folder: Path) -> list[str]:
    """Return the names of all files in the cache except locks."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix not in {".lock", ".json"})


def get_fetch_error(fetcher: ModelFetcher, file: ModelFile) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        fetcher.fetch(file)
    return caught.value


def flip_bit(content: bytes) -> bytes:
    """Flip one bit in the middle."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_file_is_downloaded_once_and_then_taken_from_the_cache(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes
) -> None:
    path = fetcher().fetch(file)
    assert path.read_bytes() == content
    assert path == fetcher().settings.cache / "small.task"
    assert fetcher().fetch(file) == path
    assert [path for path, _ in server.requests] == [PATH]
    assert list_files(path.parent) == ["small.task"]


FAULTS: dict[str, list[Fault]] = {
    "truncated": [truncate],
    "truncated twice": [truncate, truncate],
    "busy": [answer_busy(503)],
    "busy for a while": [answer_busy(429, "20"), answer_busy(503)],
    "web page": [answer_with(b"<html>Back at noon</html>", "text/html")],
    "wrong file once": [answer_with(b"something else")],
    "longer than declared": [lambda handler, content: handler.answer(content[:1000])],
    "flipped bit once": [lambda handler, content: handler.answer(flip_bit(content))],
}


@pytest.mark.parametrize("name", FAULTS)
def test_transient_faults_are_retried(
    name: str, server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes
) -> None:
    server.faults.extend(FAULTS[name])
    path = fetcher().fetch(file)
    assert path.read_bytes() == content
    assert len(server.requests) == len(FAULTS[name]) + 1
    assert list_files(path.parent) == ["small.task"]


def test_truncated_download_is_resumed(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes, clock: Clock
) -> None:
    server.faults.append(truncate)
    fetcher().fetch(file)
    first, second = server.ranges
    assert first == ""
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= len(content) // 2
    assert clock.waits == [0.5]


def test_retry_after_header_delays_the_retry(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, clock: Clock
) -> None:
    server.faults.append(answer_busy(503, "30"))
    fetcher().fetch(file)
    assert clock.waits == [30.5]  # the header's value plus half of 1 s


def test_stalled_download_is_retried(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes
) -> None:
    server.faults.append(stall)
    assert fetcher(stall_seconds=0.3).fetch(file).read_bytes() == content
    assert server.ranges[1].startswith("bytes=")


PERMANENT_FAULTS: dict[str, tuple[Fault, bool, str]] = {
    "wrong digest": (lambda handler, content: handler.answer(flip_bit(content)), False, "received a file with sha256 "),
    "short": (
        lambda handler, content: handler.answer(content[:1000]),
        False,
        "1,000 bytes received instead of 400,001",
    ),
    "empty": (answer_with(b""), False, "0 bytes received instead of 400,001"),
    "endless": (send_endlessly, False, "more than the 400001 bytes that small.task has"),
    "too long": (lambda handler, content: handler.answer(content + b"x"), False, "more than the 400001 bytes that"),
    "missing": (answer_busy(404), False, f"{PATH} does not exist; check HEADRACE_MODEL_URL"),
    "not allowed": (answer_busy(401), False, f"HTTP 401 from http://127.0.0.1:PORT{PATH}; check HEADRACE_MODEL_URL"),
    "busy": (answer_busy(503), True, "HTTP 503; tried 4 times"),
    "a web page": (answer_with(b"<html/>", "text/html"), True, "a web page arrived instead of the file"),
    "redirect to http": (
        redirect_to("http://elsewhere.example/small.task"),
        False,
        "redirected to http://elsewhere.example",
    ),
    "redirect loop": (redirect_to(PATH), True, "TooManyRedirects"),
}


@pytest.mark.parametrize("name", PERMANENT_FAULTS)
def test_faulty_server_is_reported_and_leaves_no_files(
    name: str, server: ModelServer, fetcher: FetcherFactory, file: ModelFile
) -> None:
    fault, is_transient, message = PERMANENT_FAULTS[name]
    server.faults.extend([fault] * 30)
    error = get_fetch_error(fetcher(), file)
    assert message.replace("PORT", server.url.rpartition(":")[2]) in error.reason
    assert error.is_transient is is_transient
    assert list_files(fetcher().settings.cache) == []


def test_mirror_may_redirect_to_https(server: ModelServer, fetcher: FetcherFactory, file: ModelFile) -> None:
    server.faults.extend([redirect_to(server.url.replace("http:", "https:") + PATH)] * 4)
    error = get_fetch_error(fetcher(), file)  # the server has no TLS; the test checks that it was asked
    assert "SSLError" in error.reason
    assert error.is_transient


def test_wrong_partial_content_is_discarded(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes
) -> None:
    model_fetcher = fetcher()
    model_fetcher.settings.cache.mkdir(parents=True)
    partial = model_fetcher.settings.cache / ".small.task.partial"
    for data in (flip_bit(content)[: len(content) - 10], flip_bit(content), content + b"x"):
        partial.write_bytes(data)
        path = model_fetcher.fetch(file)
        assert path.read_bytes() == content
        path.unlink()
    assert [span != "" for span in server.ranges] == [True, False, False, False]
    assert list_files(model_fetcher.settings.cache) == []


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_damaged_cache_file_is_logged_and_downloaded_again(
    damage: bytes | None,
    server: ModelServer,
    fetcher: FetcherFactory,
    file: ModelFile,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = fetcher().fetch(file)
    path.chmod(0o644)
    path.write_bytes(flip_bit(content) if damage is None else damage)
    assert fetcher().fetch(file).read_bytes() == content
    assert len(server.requests) == 2
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"{path} in the cache is damaged" in record.getMessage()


def test_user_folder_is_searched_first_and_by_any_name(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.task").write_bytes(flip_bit(content))
    (folder / "b.task").write_bytes(content)
    assert fetcher(folder=folder).fetch(file) == folder / "b.task"
    (folder / "small.task").write_bytes(content)
    assert fetcher(folder=folder).fetch(file) == folder / "small.task"
    assert server.requests == []


def test_folder_without_the_file_falls_back_to_the_download(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    server.faults.append(answer_busy(404))
    missing = str(get_fetch_error(fetcher(folder=folder), file).describe("--model hands"))
    assert f"small.task is not in HEADRACE_MODEL_DIR={folder} and cannot be downloaded (" in missing
    (folder / "small.task").write_bytes(flip_bit(content))
    server.faults.append(answer_busy(404))
    different = str(get_fetch_error(fetcher(folder=folder), file).describe("--model hands"))
    assert f"in HEADRACE_MODEL_DIR={folder} is a different file" in different
    assert fetcher(folder=folder).fetch(file) == fetcher().settings.cache / "small.task"


def test_message_names_the_file_its_digest_and_its_destination(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile
) -> None:
    server.faults.extend([answer_busy(503)] * 4)
    error = get_fetch_error(fetcher(), file)
    cache = fetcher().settings.cache
    assert str(error.describe("--model hands")) == (
        "--model hands: small.task cannot be downloaded (HTTP 503; tried 4 times); "
        f"allowed: the file with sha256 {file.sha256} (400,001 bytes) from {file.url}; "
        f"put it into {cache}, or into a folder named by HEADRACE_MODEL_DIR, or give its path by --model PATH"
    )
    assert str(error.describe("--rescue-hands")).endswith(
        f"put it into {cache}, or into a folder named by HEADRACE_MODEL_DIR"
    )


def test_unreachable_server_gives_a_short_message(fetcher: FetcherFactory, file: ModelFile, clock: Clock) -> None:
    error = get_fetch_error(fetcher(base_url="http://127.0.0.1:9"), file)
    assert error.is_transient
    assert "Connection refused" in error.reason
    assert "Max retries" not in error.reason
    assert clock.waits == [0.5, 1.0, 2.0]


def test_file_copied_into_the_cache_is_used(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes
) -> None:
    cache = fetcher().settings.cache
    cache.mkdir(parents=True)
    (cache / "small.task").write_bytes(content)
    assert fetcher().fetch(file) == cache / "small.task"
    assert server.requests == []
    assert list_files(cache.parent) == ["small.task"]
    assert not (cache / "locks").exists()  # so a read-only cache works too


def test_unwritable_cache_is_reported(fetcher: FetcherFactory, file: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    error = get_fetch_error(fetcher(cache=tmp_path / "file" / "models"), file)
    assert error.reason.startswith(f"the cache {tmp_path / 'file' / 'models'} cannot be written: ")
    assert os.strerror(errno.ENOTDIR) in error.reason
    assert not error.is_transient


def test_full_disk_is_reported(server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes) -> None:
    """Simulate a full disk with a limit on file sizes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, before[1]))
    try:
        error = get_fetch_error(fetcher(), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.strerror(errno.EFBIG) in error.reason
    assert len(server.requests) == 1
    assert fetcher().fetch(file).read_bytes() == content


def test_no_proxy_is_used_for_loopback(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    fetcher().fetch(file)
    assert [path for path, _ in server.requests] == [PATH]


def test_proxy_is_used_for_other_hosts(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.files[f"http://models.example{PATH}"] = content
    assert fetcher(base_url="http://models.example").fetch(file).read_bytes() == content


# argv: cache, server, and the file's name, URL, size and digest. Prints a line before fetching, then the digest.
FETCH = """
import sys
from pathlib import Path
from tasks.downloads.partial import compute_file_digest
from tasks.landmarks.models.catalogue import ModelFile
from tasks.landmarks.models.fetching import ModelFetcher
from tasks.landmarks.models.settings import ModelSettings

fetcher = ModelFetcher(ModelSettings(Path(sys.argv[1]), None, sys.argv[2]))
print("asking", flush=True)
print(compute_file_digest(fetcher.fetch(ModelFile(sys.argv[3], sys.argv[4], int(sys.argv[5]), sys.argv[6], "hands"))))
"""


def start_process(cache: Path, server: ModelServer, file: ModelFile) -> subprocess.Popen[str]:
    arguments = [str(cache), server.url, file.file_name, file.url, str(file.bytes), file.sha256]
    return subprocess.Popen([sys.executable, "-c", FETCH, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_eight_concurrent_processes_download_once(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile
) -> None:
    server.faults.append(hold)
    processes = [start_process(fetcher().settings.cache, server, file) for _ in range(8)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "asking\n"
    assert server.reached.wait(30)
    server.released.set()
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [file.sha256] * 8
    assert len(server.requests) == 1
    assert list_files(fetcher().settings.cache) == ["small.task"]


def test_partial_file_of_a_killed_process_is_resumed(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes
) -> None:
    cache = fetcher().settings.cache
    server.faults.append(stall)
    process = start_process(cache, server, file)
    assert server.reached.wait(30)
    partial = cache / ".small.task.partial"
    wait_until(lambda: partial.exists() and partial.stat().st_size, "a partial download")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    size = partial.stat().st_size
    assert 0 < size < len(content)
    assert fetcher().fetch(file).read_bytes() == content
    assert server.ranges == ["", f"bytes={size}-"]
    assert list_files(cache) == ["small.task"]


def test_without_file_locks_each_process_has_its_own_partial_file(
    server: ModelServer, fetcher: FetcherFactory, file: ModelFile, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulate a filesystem without flock(2): the other process's part stays unchanged."""

    def raise_no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", raise_no_locks)
    model_fetcher = fetcher()
    model_fetcher.settings.cache.mkdir(parents=True)
    other = model_fetcher.settings.cache / ".small.task.partial"
    other.write_bytes(b"another")
    assert model_fetcher.fetch(file).read_bytes() == content
    assert other.read_bytes() == b"another"
    assert list_files(model_fetcher.settings.cache) == [".small.task.partial", "small.task"]
