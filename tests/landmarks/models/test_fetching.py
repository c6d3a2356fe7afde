"""Official files over a network that does everything wrong: the right file is there, or a message that says why not."""

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
    busy,
    cut,
    endless,
    hold,
    instead,
    redirect,
    stall,
)

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., ModelFetcher]


def files_in(folder: Path) -> list[str]:
    """The names of all files in the cache but the locks."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix not in {".lock", ".json"})


def refused(fetcher: ModelFetcher, file: ModelFile) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        fetcher.path(file)
    return caught.value


def flipped(content: bytes) -> bytes:
    """One bit in the middle is another."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_it_is_downloaded_once_and_then_taken_from_the_cache(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes
) -> None:
    path = fetcher().path(file)
    assert path.read_bytes() == content
    assert path == fetcher().settings.cache / "small.task"
    assert fetcher().path(file) == path
    assert [path for path, _ in server.requests] == [PATH]
    assert files_in(path.parent) == ["small.task"]


FAULTS: dict[str, list[Fault]] = {
    "cut off": [cut],
    "cut off twice": [cut, cut],
    "busy": [busy(503)],
    "busy for a while": [busy(429, "20"), busy(503)],
    "a web page": [instead(b"<html>Back at noon</html>", "text/html")],
    "another file, once": [instead(b"something else")],
    "a longer file than the server says": [lambda handler, content: handler.answer(content[:1000])],
    "one bit flipped, once": [lambda handler, content: handler.answer(flipped(content))],
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_passes_is_overcome(
    name: str, server: ModelServer, fetcher: Make, file: ModelFile, content: bytes
) -> None:
    server.faults.extend(FAULTS[name])
    path = fetcher().path(file)
    assert path.read_bytes() == content
    assert len(server.requests) == len(FAULTS[name]) + 1
    assert files_in(path.parent) == ["small.task"]


def test_a_file_that_was_cut_is_resumed_where_it_ends(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes, clock: Clock
) -> None:
    server.faults.append(cut)
    fetcher().path(file)
    first, second = server.ranges
    assert first == ""
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= len(content) // 2
    assert clock.waits == [0.5]


def test_retry_after_is_heeded(server: ModelServer, fetcher: Make, file: ModelFile, clock: Clock) -> None:
    server.faults.append(busy(503, "30"))
    fetcher().path(file)
    assert clock.waits == [30.5]  # what was asked for, and half of 1 s


def test_a_server_that_hangs_is_left_and_asked_again(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes
) -> None:
    server.faults.append(stall)
    assert fetcher(stall_seconds=0.3).path(file).read_bytes() == content
    assert server.ranges[1].startswith("bytes=")


LIES: dict[str, tuple[Fault, bool, str]] = {
    "wrong digest": (lambda handler, content: handler.answer(flipped(content)), False, "a file with sha256 "),
    "short": (lambda handler, content: handler.answer(content[:1000]), False, "1,000 bytes came and not 400,001"),
    "empty": (instead(b""), False, "0 bytes came and not 400,001"),
    "endless": (endless, False, "more than the 400001 bytes that small.task has"),
    "too long": (lambda handler, content: handler.answer(content + b"x"), False, "more than the 400001 bytes that"),
    "not there": (busy(404), False, f"{PATH} is not there; check HEADRACE_MODEL_URL"),
    "not allowed": (busy(401), False, f"HTTP 401 from http://127.0.0.1:PORT{PATH}; check HEADRACE_MODEL_URL"),
    "busy": (busy(503), True, "HTTP 503; tried 4 times"),
    "a web page": (instead(b"<html/>", "text/html"), True, "a web page came instead of the file"),
    "sent on to http": (redirect("http://elsewhere.example/small.task"), False, "sent on to http://elsewhere.example"),
    "sent in circles": (redirect(PATH), True, "TooManyRedirects"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_server_that_lies_is_told_and_leaves_nothing(
    name: str, server: ModelServer, fetcher: Make, file: ModelFile
) -> None:
    fault, passing, words = LIES[name]
    server.faults.extend([fault] * 30)
    error = refused(fetcher(), file)
    assert words.replace("PORT", server.url.rpartition(":")[2]) in error.reason
    assert error.passing is passing
    assert files_in(fetcher().settings.cache) == []


def test_a_mirror_may_send_on_by_https(server: ModelServer, fetcher: Make, file: ModelFile) -> None:
    server.faults.extend([redirect(server.url.replace("http:", "https:") + PATH)] * 4)
    error = refused(fetcher(), file)  # this server speaks no TLS: what matters is that it was asked
    assert "SSLError" in error.reason
    assert error.passing


def test_what_a_wrong_server_gave_is_not_gone_on_with(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes
) -> None:
    own = fetcher()
    own.settings.cache.mkdir(parents=True)
    left = own.settings.cache / ".small.task.partial"
    for wrong in (flipped(content)[: len(content) - 10], flipped(content), content + b"x"):
        left.write_bytes(wrong)
        path = own.path(file)
        assert path.read_bytes() == content
        path.unlink()
    assert [span != "" for span in server.ranges] == [True, False, False, False]
    assert files_in(own.settings.cache) == []


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_file_in_the_cache_is_told_and_fetched_anew(
    damage: bytes | None,
    server: ModelServer,
    fetcher: Make,
    file: ModelFile,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = fetcher().path(file)
    path.chmod(0o644)
    path.write_bytes(flipped(content) if damage is None else damage)
    assert fetcher().path(file).read_bytes() == content
    assert len(server.requests) == 2
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"{path} in the cache is damaged" in record.getMessage()


def test_the_user_s_folder_is_looked_at_first_and_by_any_name(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.task").write_bytes(flipped(content))
    (folder / "b.task").write_bytes(content)
    assert fetcher(folder=folder).path(file) == folder / "b.task"
    (folder / "small.task").write_bytes(content)
    assert fetcher(folder=folder).path(file) == folder / "small.task"
    assert server.requests == []


def test_a_folder_that_lacks_it_or_has_another_leaves_the_download(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    server.faults.append(busy(404))
    lacking = str(refused(fetcher(folder=folder), file).problem("--model hands"))
    assert f"small.task is not in HEADRACE_MODEL_DIR={folder} and cannot be downloaded (" in lacking
    (folder / "small.task").write_bytes(flipped(content))
    server.faults.append(busy(404))
    another = str(refused(fetcher(folder=folder), file).problem("--model hands"))
    assert f"in HEADRACE_MODEL_DIR={folder} is another file" in another
    assert fetcher(folder=folder).path(file) == fetcher().settings.cache / "small.task"


def test_the_message_says_which_file_with_which_digest_to_put_where(
    server: ModelServer, fetcher: Make, file: ModelFile
) -> None:
    server.faults.extend([busy(503)] * 4)
    error = refused(fetcher(), file)
    cache = fetcher().settings.cache
    assert str(error.problem("--model hands")) == (
        "--model hands: small.task cannot be downloaded (HTTP 503; tried 4 times); "
        f"allowed: the file with sha256 {file.sha256} (400,001 bytes) from {file.url}; "
        f"put it into {cache}, or into a folder named by HEADRACE_MODEL_DIR, or give its path by --model PATH"
    )
    assert str(error.problem("--rescue-hands")).endswith(
        f"put it into {cache}, or into a folder named by HEADRACE_MODEL_DIR"
    )


def test_a_server_that_is_not_there_is_told_in_few_words(fetcher: Make, file: ModelFile, clock: Clock) -> None:
    error = refused(fetcher(base_url="http://127.0.0.1:9"), file)
    assert error.passing
    assert "Connection refused" in error.reason
    assert "Max retries" not in error.reason
    assert clock.waits == [0.5, 1.0, 2.0]


def test_a_file_put_into_the_cache_by_hand_is_taken(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes
) -> None:
    cache = fetcher().settings.cache
    cache.mkdir(parents=True)
    (cache / "small.task").write_bytes(content)
    assert fetcher().path(file) == cache / "small.task"
    assert server.requests == []
    assert files_in(cache.parent) == ["small.task"]
    assert not (cache / "locks").exists()  # a cache that may only be read does as well


def test_a_cache_that_takes_no_files_is_told(fetcher: Make, file: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    error = refused(fetcher(cache=tmp_path / "file" / "models"), file)
    assert error.reason.startswith(f"the cache {tmp_path / 'file' / 'models'} takes no files: ")
    assert os.strerror(errno.ENOTDIR) in error.reason
    assert not error.passing


def test_a_full_disk_is_told(server: ModelServer, fetcher: Make, file: ModelFile, content: bytes) -> None:
    """As far as a process can make one: no file may grow beyond a limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, before[1]))
    try:
        error = refused(fetcher(), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.strerror(errno.EFBIG) in error.reason
    assert len(server.requests) == 1
    assert fetcher().path(file).read_bytes() == content


def test_no_proxy_stands_between_this_machine_and_itself(
    server: ModelServer, fetcher: Make, file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    fetcher().path(file)
    assert [path for path, _ in server.requests] == [PATH]


def test_a_proxy_is_used_for_other_machines(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.files[f"http://models.example{PATH}"] = content
    assert fetcher(base_url="http://models.example").path(file).read_bytes() == content


# argv: the cache, the server, and the file's name, URL, size and digest. Says when it is about to ask, then the digest.
FETCH = """
import sys
from pathlib import Path
from tasks.downloads.partial import file_digest
from tasks.landmarks.models.catalogue import ModelFile
from tasks.landmarks.models.fetching import ModelFetcher
from tasks.landmarks.models.settings import ModelSettings

fetcher = ModelFetcher(ModelSettings(Path(sys.argv[1]), None, sys.argv[2]))
print("asking", flush=True)
print(file_digest(fetcher.path(ModelFile(sys.argv[3], sys.argv[4], int(sys.argv[5]), sys.argv[6], "hands"))))
"""


def another_process(cache: Path, server: ModelServer, file: ModelFile) -> subprocess.Popen[str]:
    given = [str(cache), server.url, file.file_name, file.url, str(file.bytes), file.sha256]
    return subprocess.Popen([sys.executable, "-c", FETCH, *given], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_eight_processes_at_once_download_once(server: ModelServer, fetcher: Make, file: ModelFile) -> None:
    server.faults.append(hold)
    processes = [another_process(fetcher().settings.cache, server, file) for _ in range(8)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "asking\n"
    assert server.reached.wait(30)
    server.released.set()
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [file.sha256] * 8
    assert len(server.requests) == 1
    assert files_in(fetcher().settings.cache) == ["small.task"]


def test_what_a_killed_process_left_is_gone_on_with(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes
) -> None:
    cache = fetcher().settings.cache
    server.faults.append(stall)
    process = another_process(cache, server, file)
    assert server.reached.wait(30)
    left = cache / ".small.task.partial"
    wait_until(lambda: left.exists() and left.stat().st_size, "a part that has come")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    size = left.stat().st_size
    assert 0 < size < len(content)
    assert fetcher().path(file).read_bytes() == content
    assert server.ranges == ["", f"bytes={size}-"]
    assert files_in(cache) == ["small.task"]


def test_where_there_are_no_locks_every_process_has_a_part_of_its_own(
    server: ModelServer, fetcher: Make, file: ModelFile, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filesystem without flock(2): another's part lies there and grows; the file is right, the part untouched."""

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", none)
    own = fetcher()
    own.settings.cache.mkdir(parents=True)
    other = own.settings.cache / ".small.task.partial"
    other.write_bytes(b"another's")
    assert own.path(file).read_bytes() == content
    assert other.read_bytes() == b"another's"
    assert files_in(own.settings.cache) == [".small.task.partial", "small.task"]
