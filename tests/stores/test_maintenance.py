"""Inspect and repair an output folder in a store, and plan a run into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine import maintenance
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.run import open_layout, open_output_dir
from tasks.engine.store.records import RecordStore
from tests.engine.test_records import publish_files
from tests.stores.s3_server import S3Server


@pytest.fixture
def folder(prefix: str) -> str:
    """The key of an output folder with two items."""
    layout = open_layout(Path(prefix))
    with open_output_dir(layout, "run-1"):
        store = RecordStore(layout, "stage")
        store.prepare()
        for name in ("a", "b"):
            publish_files(store, name, {f"made/{name}.txt": name, f"made/more/{name}.txt": name * 2})
    return prefix.partition("://")[2].partition("/")[2] + "/"


def test_items_are_listed_verified_and_forgotten(prefix: str, folder: str, s3_server: S3Server) -> None:
    layout = maintenance.open_layout(Path(prefix))
    assert [entry.id for entry in maintenance.read_entries(layout)] == ["a", "b"]
    assert list(maintenance.find_broken_outputs(layout)) == []
    s3_server.put(f"{folder}made/a.txt", b"x")
    s3_server.client.delete_object(Bucket="bucket", Key=f"{folder}made/b.txt")
    layout = maintenance.open_layout(Path(prefix))
    broken = [(each.id, each.state, each.path) for each in maintenance.find_broken_outputs(layout)]
    assert broken == [("a", "altered", "made/a.txt"), ("b", "missing", "made/b.txt")]
    maintenance.apply(layout, maintenance.plan_forget(layout, ["a"], outputs_too=True))
    assert sorted(s3_server.list(folder)) == [".headrace/records/stage/b.json", "made/more/b.txt"]


def test_other_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput, match=f"{prefix}/none: no .headrace in it"):
        maintenance.open_layout(Path(f"{prefix}/none"))
    with pytest.raises(InvalidInput, match="did you mean"):
        maintenance.open_layout(Path("s4://bucket/out"))
