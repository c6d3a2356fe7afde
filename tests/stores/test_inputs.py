"""Test inputs in stores: placeholders, and the copies that items get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.engine.contract.bounded import read_at_most
from tasks.engine.contract.errors import InvalidInput, RunError
from tasks.engine.planning.identity import identify_input
from tasks.engine.running.fetching import FetchedInputs, InputCache
from tasks.engine.running.messages import Failed
from tasks.engine.store.mirrors import Mirror, find_remote_input, forget_mirror, make_mirror, show_locations
from tasks.stores.location import parse_location
from tests.stores.s3_server import S3Server


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    from tasks.engine.running.scratch import get_local_scratch

    return get_local_scratch(tmp_path / "out", "run")


def get_key(url: str) -> str:
    return url.partition("://")[2].partition("/")[2]


@pytest.fixture
def mirror(prefix: str, s3_server: S3Server, tmp_path: Path) -> Iterator[Mirror]:
    for name, size in (("a.mp4", 1000), ("clip/1.png", 10), ("clip/2.png", 20), (".headrace/records/x.json", 5)):
        s3_server.put(f"{get_key(prefix)}/{name}", name[:1].encode() * size)
    mirror, root = make_mirror(tmp_path / "mirror", parse_location(prefix))
    assert root == mirror.root
    yield mirror
    forget_mirror(mirror)


def fetch(cache: InputCache, path: Path) -> FetchedInputs | Failed:
    remote = find_remote_input(str(path))
    assert remote is not None
    return cache.fetch([remote])


def test_placeholders_have_sizes_and_no_content(mirror: Mirror, prefix: str) -> None:
    files = sorted(path.relative_to(mirror.root).as_posix() for path in mirror.root.rglob("*") if path.is_file())
    assert files == ["a.mp4", "clip/1.png", "clip/2.png"]
    assert (mirror.root / ".headrace").is_dir()  # an output folder of a run
    content = (mirror.root / "a.mp4").read_bytes()
    assert len(content) == 1000
    assert content.startswith(b"This file stands for s3://")
    assert read_at_most(mirror.root / "clip/2.png", 100) == b"c" * 20
    assert show_locations(f"--input {mirror.root}/a.mp4") == f"--input {prefix}/a.mp4"


def test_items_get_copies_of_files_and_folders(mirror: Mirror, scratch: Path) -> None:
    cache = InputCache(scratch)
    fetched = fetch(cache, mirror.root / "a.mp4")
    assert isinstance(fetched, FetchedInputs)
    copy = Path(fetched.paths[str(mirror.root / "a.mp4")])
    assert copy.name == "a.mp4"
    assert copy.read_bytes() == b"a" * 1000
    again = fetch(cache, mirror.root / "a.mp4")
    assert isinstance(again, FetchedInputs)
    assert again.paths == fetched.paths
    folder = fetch(cache, mirror.root / "clip")
    assert isinstance(folder, FetchedInputs)
    files = Path(folder.paths[str(mirror.root / "clip")])
    assert {path.name: path.read_bytes() for path in files.iterdir()} == {"1.png": b"c" * 10, "2.png": b"c" * 20}
    cache._max_bytes = 40
    fetched.release()
    with pytest.raises(RunError, match="of local scratch for its inputs"):  # another item uses each copy
        fetch(cache, mirror.root / "clip/1.png")
    again.release()
    assert isinstance(fetch(cache, mirror.root / "clip/1.png"), FetchedInputs)
    assert not copy.exists(), "its room was needed, and no item used it"


@pytest.mark.parametrize("is_removed", [False, True])
def test_changed_input_fails_its_item(
    mirror: Mirror, scratch: Path, prefix: str, s3_server: S3Server, is_removed: bool
) -> None:
    before = identify_input(str(mirror.root / "a.mp4"), "stat")
    if is_removed:
        s3_server.client.delete_object(Bucket="bucket", Key=f"{get_key(prefix)}/a.mp4")
    else:
        s3_server.put(f"{get_key(prefix)}/a.mp4", b"b" * 1000)
    failed = fetch(InputCache(scratch), mirror.root / "a.mp4")
    assert isinstance(failed, Failed)
    assert failed.kind == ("bad_input" if is_removed else "error")
    assert ("has vanished" if is_removed else "changed after the run was planned") in failed.message
    assert (
        identify_input(str(mirror.root / "a.mp4"), "stat")
        == before
        == identify_input(str(mirror.root / "a.mp4"), "content")
    )


@pytest.mark.parametrize("keys", [["a", "a/b"], ["a//b"], ["x/../b"]])
def test_names_that_are_no_paths_are_refused(prefix: str, s3_server: S3Server, tmp_path: Path, keys: list[str]) -> None:
    for key in keys:
        s3_server.put(f"{get_key(prefix)}/{key}", b"x")
    with pytest.raises(InvalidInput, match="names that are paths of files"):
        make_mirror(tmp_path / "mirror", parse_location(prefix))
