"""Tests of downloads from a faulty server: the cache contains the correct file, or none."""

import dataclasses
import email.utils
import gzip
import hashlib
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.engine.contract.errors import BadInput, TransientError
from tasks.transits.sources.downloads import CachedFile, Downloads
from tasks.transits.sources.products import Product
from tasks.transits.sources.settings import MastSettings
from tests.engine.processes import wait_until
from tests.transits.sources.archive import (
    Archive,
    Fault,
    Handler,
    send_busy,
    send_instead,
    send_part,
    send_redirect,
    send_reset,
    send_short_length,
    send_stalled,
    send_when_released,
)
from tests.transits.sources.conftest import Clock, make_light_curve

ROOT = Path(__file__).resolve().parents[3]
FILE = "tess2018206045859-s0001-0000000025155310-0120-s_lc.fits"
URI = f"mast:TESS/product/{FILE}"
KEY = f"/tess/public/tid/s0001/0000/0000/2515/5310/{FILE}"
Make = Callable[..., Downloads]


def create_product(content: bytes | None, file: str = FILE, uri: str = URI) -> Product:
    return Product(file, uri, content and len(content), "SPOC", 120.0, "TESS", "S1", "25155310", 0.0)


def fetch_and_check(archive: Archive, downloads: Downloads, content: bytes, *faults: Fault) -> CachedFile:
    """Fetch the file despite ``faults``; check its content, and that the cache contains no other file."""
    archive.files[URI] = content
    archive.faults.extend(faults)
    file = downloads.fetch(create_product(content))
    assert file.path.read_bytes() == content
    assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert list_names(file.path.parent) == sorted([FILE, f"{FILE}.json"])
    assert not archive.faults
    return file


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def list_cached_files(settings: MastSettings) -> list[str]:
    """Return the names of all files in the cache."""
    return sorted(path.name for path in (settings.folder / "files").rglob("*") if path.is_file())


def test_second_fetch_uses_the_cache(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    first = fetch_and_check(archive, downloads(), light_curve)
    assert first.url == f"{archive.url}/api/v0.1/Download/file?uri={URI}"
    assert not first.from_cache
    again = downloads().fetch(create_product(light_curve))
    assert again == dataclasses.replace(first, from_cache=True)
    assert len(archive.downloads) == 1


def test_interrupted_download_resumes_at_its_end(
    archive: Archive, downloads: Make, light_curve: bytes, clock: Clock
) -> None:
    fetch_and_check(archive, downloads(), light_curve, send_part(0.6), send_part(0.6))
    first, second, third = archive.downloads
    assert "Range" not in first
    for headers in (second, third):
        assert headers["If-Range"] == archive.etag(light_curve)
    start = int(second["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= len(light_curve) * 0.6
    assert clock.waits == [0.5, 1.0]  # half of 1 s, half of 2 s


def test_download_restarts_without_etag(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetch_and_check(archive, downloads(), light_curve, send_part(0.6, etag=False))
    assert ["Range" in headers for headers in archive.downloads] == [False, False]


def test_download_restarts_if_the_file_changed(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    other = make_light_curve(seed=1)
    assert len(other) == len(light_curve)

    def send_part_of_other(handler: Handler, _: bytes) -> None:
        send_part(0.6)(handler, other)

    fetch_and_check(archive, downloads(), light_curve, send_part_of_other)
    assert ["Range" in headers for headers in archive.downloads] == [False, True]


def test_download_restarts_after_a_wrong_range(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    def send_wrong_part(handler: Handler, content: bytes) -> None:
        span = {"Content-Range": f"bytes 5-{len(content) - 1}/{len(content)}"}
        handler.send(content[5:], 206, span)

    fetch_and_check(archive, downloads(), light_curve, send_part(0.6), send_wrong_part)
    assert ["Range" in headers for headers in archive.downloads] == [False, True, False]


def test_reset_connection_is_retried(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetch_and_check(archive, downloads(), light_curve, send_reset, send_reset)


def test_stalled_download_times_out_and_resumes(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetch_and_check(archive, downloads(stall_seconds=0.3), light_curve, send_stalled)
    assert "Range" in archive.downloads[1]


def test_retry_after_in_seconds_is_respected(
    archive: Archive, downloads: Make, light_curve: bytes, clock: Clock
) -> None:
    fetch_and_check(archive, downloads(), light_curve, send_busy(429, "7"), send_busy(503, "2"))
    assert clock.waits == [7.5, 3.0]  # Retry-After, plus half of 1 s and of 2 s


def test_retry_after_as_date_is_respected(archive: Archive, downloads: Make, light_curve: bytes, clock: Clock) -> None:
    fetch_and_check(
        archive, downloads(), light_curve, send_busy(429, email.utils.formatdate(clock.seconds + 30, usegmt=True))
    )
    assert clock.waits == [30.5]


def test_excessive_retry_after_is_capped(archive: Archive, downloads: Make, light_curve: bytes, clock: Clock) -> None:
    fetch_and_check(archive, downloads(), light_curve, send_busy(503, "99999999999"), send_busy(503, "nonsense"))
    assert clock.waits == [300.5, 1.0]


def test_later_downloads_respect_the_wait(archive: Archive, downloads: Make, light_curve: bytes, clock: Clock) -> None:
    """Make all processes wait for an overloaded server, not only the one that received Retry-After."""
    archive.faults.append(send_busy(429, "40"))
    with pytest.raises(TransientError, match="HTTP 429; tried 1 times"):
        downloads(tries=1).fetch(create_product(light_curve))
    fetch_and_check(archive, downloads(), light_curve)
    assert clock.waits == [40.5]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_server_fails_after_all_attempts(
    status: int, archive: Archive, downloads: Make, light_curve: bytes, clock: Clock, settings: MastSettings
) -> None:
    archive.faults.extend([send_busy(status)] * 6)
    with pytest.raises(TransientError, match=rf"download of {FILE}: HTTP {status}; tried 6 times; run the same"):
        downloads().fetch(create_product(light_curve))
    assert clock.waits == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert list_cached_files(settings) == []


def test_unreachable_server_fails_after_all_attempts(downloads: Make, light_curve: bytes, clock: Clock) -> None:
    with pytest.raises(TransientError, match="ConnectionError"):
        downloads(server="http://127.0.0.1:9").fetch(create_product(light_curve))
    assert len(clock.waits) == 5


def test_web_page_is_not_cached(archive: Archive, downloads: Make, light_curve: bytes, settings: MastSettings) -> None:
    page = send_instead(b"<html>Back at noon</html>", Content_Type="text/html; charset=utf-8")
    fetch_and_check(archive, downloads(), light_curve, page)
    archive.faults.extend([page] * 6)
    with pytest.raises(TransientError, match="a web page arrived instead of the file"):
        downloads().fetch(create_product(light_curve, "other_lc.fits", "mast:TESS/product/other_lc.fits"))
    assert list_cached_files(settings) == [FILE, f"{FILE}.json"]


def flip_bit(content: bytes) -> bytes:
    """Flip one bit of the table."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def remove_times(content: bytes) -> bytes:
    """Return a light curve without times."""
    return make_light_curve(table="CADENCENO")


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a flipped bit": (flip_bit, "the checksum of unit 1 is wrong"),
    "truncated at the archive": (lambda content: content[: len(content) // 2], "it is truncated: unit 1 ends at byte"),
    "no FITS": (lambda _: b"nothing" * 1000, "it is not a FITS file: it begins with b'nothingno'"),
    "empty": (lambda _: b"", "it is not a FITS file: it begins with b''"),
    "no times": (remove_times, "it has no table with a column TIME"),
    "header only": (lambda content: content[:2880], "it has no table with a column TIME"),
    "damaged header": (lambda content: content[:9] + b"\xff" * 5000, "it is a damaged FITS file"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_file_is_rejected_after_a_second_download(
    kind: str, archive: Archive, downloads: Make, light_curve: bytes, settings: MastSettings
) -> None:
    damage, words = DAMAGE[kind]
    archive.files[URI] = damage(light_curve)
    with pytest.raises(BadInput, match=r"in two downloads from http.*tell the archive") as caught:
        downloads().fetch(create_product(None))
    assert words in str(caught.value)
    assert len(archive.downloads) == 2
    assert list_cached_files(settings) == []


def test_intact_second_download_is_kept(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetch_and_check(archive, downloads(), light_curve, send_instead(flip_bit(light_curve)))


def test_wrong_content_length_is_detected(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetch_and_check(archive, downloads(), light_curve, send_short_length)


def test_unrequested_compression_is_decoded(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    compressed = send_instead(gzip.compress(light_curve), Content_Encoding="gzip")
    fetch_and_check(archive, downloads(), light_curve, compressed)
    assert archive.downloads[0]["Accept-Encoding"] == "identity"
    assert len(archive.downloads) == 1


def test_download_works_without_content_length(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    def send_without_length(handler: Handler, content: bytes) -> None:
        handler.begin(None, 200, {"Connection": "close"})
        handler.wfile.write(content)
        handler.close_connection = True

    fetch_and_check(archive, downloads(), light_curve, send_without_length)


def test_truncation_without_content_length_is_detected(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    def send_without_length(handler: Handler, content: bytes) -> None:
        handler.begin(None, 200, {"Connection": "close"})
        handler.wfile.write(content[:-2880])
        handler.close_connection = True

    fetch_and_check(archive, downloads(), light_curve, send_without_length)
    assert len(archive.downloads) == 2


def test_unlisted_size_is_accepted_if_it_arrives_twice(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    archive.files[URI] = light_curve
    file = downloads().fetch(dataclasses.replace(create_product(light_curve), listed_bytes=5))
    assert file.size_bytes == len(light_curve)
    assert len(archive.downloads) == 2


def test_two_different_files_of_unlisted_size_are_rejected(
    archive: Archive, downloads: Make, light_curve: bytes
) -> None:
    archive.files[URI] = light_curve
    archive.faults.append(send_instead(make_light_curve(seed=1)))
    with pytest.raises(BadInput, match=f"it has {len(light_curve)} bytes, but the archive lists 5, in two downloads"):
        downloads().fetch(dataclasses.replace(create_product(light_curve), listed_bytes=5))


@pytest.mark.parametrize("status", [404, 410])
def test_missing_file_is_bad_input(
    status: int, archive: Archive, downloads: Make, light_curve: bytes, clock: Clock
) -> None:
    archive.faults.append(send_busy(status))
    with pytest.raises(BadInput, match=f"{FILE}: the archive lists it but does not have it"):
        downloads().fetch(create_product(light_curve))
    assert clock.waits == []


def test_redirects_within_the_archive_are_followed(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    archive.bucket["/elsewhere"] = light_curve
    fetch_and_check(archive, downloads(), light_curve, send_redirect(f"{archive.url}/elsewhere"))


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_redirects_to_another_host_are_rejected(
    scheme: str, archive: Archive, downloads: Make, light_curve: bytes, settings: MastSettings
) -> None:
    other = Archive(bucket={"/secret": light_curve})
    server = other.start()
    address = other.url.replace("http", scheme)
    archive.files[URI] = light_curve
    archive.faults.extend([send_redirect(f"{address}/secret")] * 6)
    with pytest.raises((BadInput, TransientError), match=r"not allowed; allowed: http|No connection adapters"):
        downloads().fetch(create_product(light_curve))
    server.shutdown()
    server.server_close()
    assert other.requests == []
    assert list_cached_files(settings) == []


def test_oversized_file_is_not_downloaded(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    archive.faults.append(lambda handler, _: handler.begin(1 << 40))
    with pytest.raises(BadInput, match="more than the 67108864 bytes"):
        downloads().fetch(create_product(light_curve))


def test_mirror_is_tried_before_mast(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    mirror = f"{archive.url}/bucket"
    archive.bucket[f"/bucket{KEY}"] = light_curve
    assert downloads(mirror=mirror).fetch(create_product(light_curve)).url == f"{mirror}{KEY}"
    assert archive.downloads == []
    uri = "mast:HLSP/qlp/s0001/hlsp_qlp_s0001_llc.fits"
    archive.files[uri] = light_curve
    elsewhere = downloads(mirror=mirror).fetch(create_product(light_curve, "hlsp_qlp_s0001_llc.fits", uri))
    assert elsewhere.url.endswith(uri)
    missing = FILE.replace("25155310", "25155311")
    uri = f"mast:TESS/product/{missing}"
    archive.files[uri] = light_curve
    assert downloads(mirror=mirror).fetch(create_product(light_curve, missing, uri)).url.endswith(uri)


@pytest.mark.parametrize("damage", ["truncated", "changed", "note missing", "note damaged", "file missing"])
def test_file_damaged_in_the_cache_is_downloaded_again(
    damage: str, archive: Archive, downloads: Make, light_curve: bytes
) -> None:
    path = fetch_and_check(archive, downloads(), light_curve).path
    note = path.with_name(f"{FILE}.json")
    path.chmod(0o644)
    if damage == "truncated":
        path.write_bytes(light_curve[:-2880])
    elif damage == "changed":
        path.write_bytes(flip_bit(light_curve))
    elif damage == "note damaged":
        note.write_text("{")
    else:
        (path if damage == "file missing" else note).unlink()
    assert not fetch_and_check(archive, downloads(), light_curve).from_cache
    assert len(archive.downloads) == 2


def test_full_disk_raises_and_leaves_no_files(
    archive: Archive, downloads: Make, light_curve: bytes, settings: MastSettings
) -> None:
    """Imitate a full disk by a file size limit."""
    archive.files[URI] = light_curve
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(light_curve) // 2, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            downloads().fetch(create_product(light_curve))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list_cached_files(settings) == []
    assert len(archive.downloads) == 1


# argv: the server and the cache. Prints "asking" before the request, then the result.
FETCH = f"""
import sys
from pathlib import Path
from tasks.downloads.cache import Pace, SharedCache
from tasks.transits.sources.downloads import Downloads
from tasks.downloads.sessions import open_session
from tasks.transits.sources.products import Product
from tasks.transits.sources.settings import MastSettings

settings = MastSettings(Path(sys.argv[2]), sys.argv[1], sys.argv[1])
cache = SharedCache(settings.folder, settings.connections, Pace())
downloads = Downloads(settings, cache, open_session(settings), Pace())
print("asking", flush=True)
file = downloads.fetch(Product({FILE!r}, {URI!r}, None, "SPOC", 120.0, "TESS", "S1", "25155310", 0.0))
print(file.sha256, file.from_cache, flush=True)
"""


def start_process(settings: MastSettings) -> subprocess.Popen[str]:
    """Start a process that fetches the file, and return it when it is about to send the request."""
    command = [sys.executable, "-c", FETCH, settings.server, str(settings.folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "asking\n"
    return process


def test_two_processes_download_a_file_only_once(archive: Archive, settings: MastSettings, light_curve: bytes) -> None:
    archive.files[URI] = light_curve
    archive.faults.append(send_when_released)
    processes = [start_process(settings) for _ in range(2)]
    assert archive.reached.wait(30)
    archive.released.set()
    flags = sorted(process.communicate(timeout=60)[0].split()[1] for process in processes)
    assert flags == ["False", "True"]
    assert len(archive.downloads) == 1


def test_download_after_a_killed_one_is_correct(
    archive: Archive, settings: MastSettings, downloads: Make, light_curve: bytes
) -> None:
    archive.files[URI] = light_curve
    archive.faults.append(send_stalled)
    process = start_process(settings)
    assert archive.reached.wait(30)
    parts = settings.folder.glob
    wait_until(lambda: any(path.stat().st_size for path in parts("files/*/.*.partial")), "a partial file")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (orphan,) = settings.folder.glob("files/*/.*.partial")
    assert 0 < orphan.stat().st_size < len(light_curve)
    assert list_cached_files(settings) == [orphan.name]
    assert not fetch_and_check(archive, downloads(), light_curve).from_cache
    assert list_cached_files(settings) == [FILE, f"{FILE}.json"]
