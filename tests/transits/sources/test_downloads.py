"""Downloads against a server that does everything wrong: the cache has the right file, or none."""

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
    busy,
    cut,
    hold,
    instead,
    redirect,
    reset,
    short_length,
    stall,
)
from tests.transits.sources.conftest import Clock, make_light_curve

ROOT = Path(__file__).resolve().parents[3]
FILE = "tess2018206045859-s0001-0000000025155310-0120-s_lc.fits"
URI = f"mast:TESS/product/{FILE}"
KEY = f"/tess/public/tid/s0001/0000/0000/2515/5310/{FILE}"
Make = Callable[..., Downloads]


def product(content: bytes | None, file: str = FILE, uri: str = URI) -> Product:
    return Product(file, uri, content and len(content), "SPOC", 120.0, "TESS", "S1", "25155310", 0.0)


def fetched(archive: Archive, downloads: Downloads, content: bytes, *faults: Fault) -> CachedFile:
    """The file, fetched through ``faults``; it is right and nothing else is in the cache."""
    archive.files[URI] = content
    archive.faults.extend(faults)
    file = downloads.fetch(product(content))
    assert file.path.read_bytes() == content
    assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert names(file.path.parent) == sorted([FILE, f"{FILE}.json"])
    assert not archive.faults
    return file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files_in(settings: MastSettings) -> list[str]:
    """The names of all that the cache has of files."""
    return sorted(path.name for path in (settings.folder / "files").rglob("*") if path.is_file())


def test_once_downloaded_it_is_taken_from_the_cache(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    first = fetched(archive, downloads(), light_curve)
    assert first.url == f"{archive.url}/api/v0.1/Download/file?uri={URI}"
    assert not first.from_cache
    again = downloads().fetch(product(light_curve))
    assert again == dataclasses.replace(first, from_cache=True)
    assert len(archive.downloads) == 1


def test_a_file_that_was_cut_is_resumed_where_it_ends(
    archive: Archive, downloads: Make, light_curve: bytes, clock: Clock
) -> None:
    fetched(archive, downloads(), light_curve, cut(0.6), cut(0.6))
    first, second, third = archive.downloads
    assert "Range" not in first
    for headers in (second, third):
        assert headers["If-Range"] == archive.etag(light_curve)
    start = int(second["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= len(light_curve) * 0.6
    assert clock.waits == [0.5, 1.0]  # half of 1 s, half of 2 s


def test_without_an_etag_it_is_begun_again(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetched(archive, downloads(), light_curve, cut(0.6, etag=False))
    assert ["Range" in headers for headers in archive.downloads] == [False, False]


def test_a_file_that_changed_meanwhile_is_begun_again(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    other = make_light_curve(seed=1)
    assert len(other) == len(light_curve)

    def cut_other(handler: Handler, _: bytes) -> None:
        cut(0.6)(handler, other)

    fetched(archive, downloads(), light_curve, cut_other)
    assert ["Range" in headers for headers in archive.downloads] == [False, True]


def test_a_server_that_gives_another_part_is_not_believed(
    archive: Archive, downloads: Make, light_curve: bytes
) -> None:
    def wrong_part(handler: Handler, content: bytes) -> None:
        span = {"Content-Range": f"bytes 5-{len(content) - 1}/{len(content)}"}
        handler.whole(content[5:], 206, span)

    fetched(archive, downloads(), light_curve, cut(0.6), wrong_part)
    assert ["Range" in headers for headers in archive.downloads] == [False, True, False]


def test_a_reset_connection_is_tried_again(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetched(archive, downloads(), light_curve, reset, reset)


def test_a_stall_ends_and_is_tried_again(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetched(archive, downloads(stall_seconds=0.3), light_curve, stall)
    assert "Range" in archive.downloads[1]


def test_seconds_of_retry_after_are_waited(archive: Archive, downloads: Make, light_curve: bytes, clock: Clock) -> None:
    fetched(archive, downloads(), light_curve, busy(429, "7"), busy(503, "2"))
    assert clock.waits == [7.5, 3.0]  # what was asked for, and half of 1 s, of 2 s


def test_a_date_of_retry_after_is_waited_for(
    archive: Archive, downloads: Make, light_curve: bytes, clock: Clock
) -> None:
    fetched(archive, downloads(), light_curve, busy(429, email.utils.formatdate(clock.seconds + 30, usegmt=True)))
    assert clock.waits == [30.5]


def test_a_retry_after_without_end_is_capped(
    archive: Archive, downloads: Make, light_curve: bytes, clock: Clock
) -> None:
    fetched(archive, downloads(), light_curve, busy(503, "99999999999"), busy(503, "nonsense"))
    assert clock.waits == [300.5, 1.0]


def test_who_comes_later_heeds_the_wait_too(
    archive: Archive, downloads: Make, light_curve: bytes, clock: Clock
) -> None:
    """A server that is asked too much is left alone by all, not only by the one that it told."""
    archive.faults.append(busy(429, "40"))
    with pytest.raises(TransientError, match="HTTP 429; tried 1 times"):
        downloads(tries=1).fetch(product(light_curve))
    fetched(archive, downloads(), light_curve)
    assert clock.waits == [40.5]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_stays_busy_is_given_up(
    status: int, archive: Archive, downloads: Make, light_curve: bytes, clock: Clock, settings: MastSettings
) -> None:
    archive.faults.extend([busy(status)] * 6)
    with pytest.raises(TransientError, match=rf"download of {FILE}: HTTP {status}; tried 6 times; run the same"):
        downloads().fetch(product(light_curve))
    assert clock.waits == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert files_in(settings) == []


def test_a_server_that_is_not_there_is_given_up(downloads: Make, light_curve: bytes, clock: Clock) -> None:
    with pytest.raises(TransientError, match="ConnectionError"):
        downloads(server="http://127.0.0.1:9").fetch(product(light_curve))
    assert len(clock.waits) == 5


def test_a_web_page_is_no_file(archive: Archive, downloads: Make, light_curve: bytes, settings: MastSettings) -> None:
    page = instead(b"<html>Back at noon</html>", Content_Type="text/html; charset=utf-8")
    fetched(archive, downloads(), light_curve, page)
    archive.faults.extend([page] * 6)
    with pytest.raises(TransientError, match="a web page arrived instead of the file"):
        downloads().fetch(product(light_curve, "other_lc.fits", "mast:TESS/product/other_lc.fits"))
    assert files_in(settings) == [FILE, f"{FILE}.json"]


def flipped(content: bytes) -> bytes:
    """One bit of the table is another."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def renamed(content: bytes) -> bytes:
    """A light curve's table, but without times."""
    return make_light_curve(table="CADENCENO")


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a bit flipped": (flipped, "the checksum of unit 1 is wrong"),
    "cut at the archive": (lambda content: content[: len(content) // 2], "it is truncated: unit 1 ends at byte"),
    "no FITS": (lambda _: b"nothing" * 1000, "it is not a FITS file: it begins with b'nothingno'"),
    "empty": (lambda _: b"", "it is not a FITS file: it begins with b''"),
    "no times": (renamed, "it has no table with a column TIME"),
    "header only": (lambda content: content[:2880], "it has no table with a column TIME"),
    "torn header": (lambda content: content[:9] + b"\xff" * 5000, "it is a damaged FITS file"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_fetched_once_more_and_then_refused(
    kind: str, archive: Archive, downloads: Make, light_curve: bytes, settings: MastSettings
) -> None:
    damage, words = DAMAGE[kind]
    archive.files[URI] = damage(light_curve)
    with pytest.raises(BadInput, match=r"in two downloads from http.*tell the archive") as caught:
        downloads().fetch(product(None))
    assert words in str(caught.value)
    assert len(archive.downloads) == 2
    assert files_in(settings) == []


def test_a_file_that_is_damaged_once_only_is_kept(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetched(archive, downloads(), light_curve, instead(flipped(light_curve)))


def test_a_length_that_is_a_lie_does_not_pass(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    fetched(archive, downloads(), light_curve, short_length)


def test_a_server_that_compresses_unasked_is_understood(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    compressed = instead(gzip.compress(light_curve), Content_Encoding="gzip")
    fetched(archive, downloads(), light_curve, compressed)
    assert archive.downloads[0]["Accept-Encoding"] == "identity"
    assert len(archive.downloads) == 1


def test_a_length_that_nobody_says_is_no_trouble(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    def unsaid(handler: Handler, content: bytes) -> None:
        handler.begin(None, 200, {"Connection": "close"})
        handler.wfile.write(content)
        handler.close_connection = True

    fetched(archive, downloads(), light_curve, unsaid)


def test_a_file_cut_where_nobody_said_its_length_is_noticed(
    archive: Archive, downloads: Make, light_curve: bytes
) -> None:
    def unsaid(handler: Handler, content: bytes) -> None:
        handler.begin(None, 200, {"Connection": "close"})
        handler.wfile.write(content[:-2880])
        handler.close_connection = True

    fetched(archive, downloads(), light_curve, unsaid)
    assert len(archive.downloads) == 2


def test_a_sound_file_of_another_size_than_listed_is_believed_the_second_time(
    archive: Archive, downloads: Make, light_curve: bytes
) -> None:
    archive.files[URI] = light_curve
    file = downloads().fetch(dataclasses.replace(product(light_curve), listed_bytes=5))
    assert file.size_bytes == len(light_curve)
    assert len(archive.downloads) == 2


def test_two_sound_files_of_other_sizes_are_refused(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    archive.files[URI] = light_curve
    archive.faults.append(instead(make_light_curve(seed=1)))
    with pytest.raises(BadInput, match=f"it has {len(light_curve)} bytes, but the archive lists 5, in two downloads"):
        downloads().fetch(dataclasses.replace(product(light_curve), listed_bytes=5))


@pytest.mark.parametrize("status", [404, 410])
def test_what_the_archive_does_not_have_is_bad_input(
    status: int, archive: Archive, downloads: Make, light_curve: bytes, clock: Clock
) -> None:
    archive.faults.append(busy(status))
    with pytest.raises(BadInput, match=f"{FILE}: the archive lists it but does not have it"):
        downloads().fetch(product(light_curve))
    assert clock.waits == []


def test_the_archive_s_own_redirects_are_followed(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    archive.bucket["/elsewhere"] = light_curve
    fetched(archive, downloads(), light_curve, redirect(f"{archive.url}/elsewhere"))


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_redirects_to_another_host_are_refused(
    scheme: str, archive: Archive, downloads: Make, light_curve: bytes, settings: MastSettings
) -> None:
    other = Archive(bucket={"/secret": light_curve})
    server = other.start()
    address = other.url.replace("http", scheme)
    archive.files[URI] = light_curve
    archive.faults.extend([redirect(f"{address}/secret")] * 6)
    with pytest.raises((BadInput, TransientError), match=r"not allowed; allowed: http|No connection adapters"):
        downloads().fetch(product(light_curve))
    server.shutdown()
    server.server_close()
    assert other.requests == []
    assert files_in(settings) == []


def test_a_file_larger_than_any_light_curve_is_not_begun(archive: Archive, downloads: Make, light_curve: bytes) -> None:
    archive.faults.append(lambda handler, _: handler.begin(1 << 40))
    with pytest.raises(BadInput, match="more than the 67108864 bytes"):
        downloads().fetch(product(light_curve))


def test_the_mirror_is_asked_first_and_mast_for_what_it_lacks(
    archive: Archive, downloads: Make, light_curve: bytes
) -> None:
    mirror = f"{archive.url}/bucket"
    archive.bucket[f"/bucket{KEY}"] = light_curve
    assert downloads(mirror=mirror).fetch(product(light_curve)).url == f"{mirror}{KEY}"
    assert archive.downloads == []
    uri = "mast:HLSP/qlp/s0001/hlsp_qlp_s0001_llc.fits"
    archive.files[uri] = light_curve
    elsewhere = downloads(mirror=mirror).fetch(product(light_curve, "hlsp_qlp_s0001_llc.fits", uri))
    assert elsewhere.url.endswith(uri)
    lacking = FILE.replace("25155310", "25155311")
    uri = f"mast:TESS/product/{lacking}"
    archive.files[uri] = light_curve
    assert downloads(mirror=mirror).fetch(product(light_curve, lacking, uri)).url.endswith(uri)


@pytest.mark.parametrize("damage", ["truncated", "altered", "note gone", "note broken", "file gone"])
def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(
    damage: str, archive: Archive, downloads: Make, light_curve: bytes
) -> None:
    path = fetched(archive, downloads(), light_curve).path
    note = path.with_name(f"{FILE}.json")
    path.chmod(0o644)
    if damage == "truncated":
        path.write_bytes(light_curve[:-2880])
    elif damage == "altered":
        path.write_bytes(flipped(light_curve))
    elif damage == "note broken":
        note.write_text("{")
    else:
        (path if damage == "file gone" else note).unlink()
    assert not fetched(archive, downloads(), light_curve).from_cache
    assert len(archive.downloads) == 2


def test_a_full_disk_is_told_and_leaves_nothing(
    archive: Archive, downloads: Make, light_curve: bytes, settings: MastSettings
) -> None:
    """As far as a process can make one: no file may grow beyond a limit."""
    archive.files[URI] = light_curve
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(light_curve) // 2, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            downloads().fetch(product(light_curve))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_in(settings) == []
    assert len(archive.downloads) == 1


# argv: the server and the cache. Says when it is about to ask, then what it got.
FETCH = f"""
import sys
from pathlib import Path
from tasks.downloads.cache import Pace, SharedCache
from tasks.transits.sources.downloads import Downloads
from tasks.downloads.patience import open_session
from tasks.transits.sources.products import Product
from tasks.transits.sources.settings import MastSettings

settings = MastSettings(Path(sys.argv[2]), sys.argv[1], sys.argv[1])
cache = SharedCache(settings.folder, settings.connections, Pace())
downloads = Downloads(settings, cache, open_session(settings), Pace())
print("asking", flush=True)
file = downloads.fetch(Product({FILE!r}, {URI!r}, None, "SPOC", 120.0, "TESS", "S1", "25155310", 0.0))
print(file.sha256, file.from_cache, flush=True)
"""


def another_process(settings: MastSettings) -> subprocess.Popen[str]:
    """A process that fetches the file, once it is about to ask."""
    command = [sys.executable, "-c", FETCH, settings.server, str(settings.folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "asking\n"
    return process


def test_two_processes_download_a_file_once(archive: Archive, settings: MastSettings, light_curve: bytes) -> None:
    archive.files[URI] = light_curve
    archive.faults.append(hold)
    processes = [another_process(settings) for _ in range(2)]
    assert archive.reached.wait(30)
    archive.released.set()
    said = sorted(process.communicate(timeout=60)[0].split()[1] for process in processes)
    assert said == ["False", "True"]
    assert len(archive.downloads) == 1


def test_after_a_kill_in_mid_download_the_right_file_is_fetched(
    archive: Archive, settings: MastSettings, downloads: Make, light_curve: bytes
) -> None:
    archive.files[URI] = light_curve
    archive.faults.append(stall)
    process = another_process(settings)
    assert archive.reached.wait(30)
    parts = settings.folder.glob
    wait_until(lambda: any(path.stat().st_size for path in parts("files/*/.*.partial")), "a part that has come")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (stray,) = settings.folder.glob("files/*/.*.partial")
    assert 0 < stray.stat().st_size < len(light_curve)
    assert files_in(settings) == [stray.name]
    assert not fetched(archive, downloads(), light_curve).from_cache
    assert files_in(settings) == [FILE, f"{FILE}.json"]
