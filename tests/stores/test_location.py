"""Test URLs of stores: what they name, and what is said of those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.contract.paths import find_path_problems
from tasks.stores.location import Location, LocationError, get_local_path, is_location, parse_location


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("s3://bucket/a/b", Location("s3", "bucket", "a/b")),
        ("s3://bucket", Location("s3", "bucket")),
        ("s3://bucket/a/", Location("s3", "bucket", "a")),
        ("S3://bucket/a", Location("s3", "bucket", "a")),
        ("s3:/bucket/a", Location("s3", "bucket", "a")),
        ("https://host:8443/x.mp4", Location("https", "host:8443", "x.mp4")),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_locations(text: str, location: Location, kind: type) -> None:
    assert parse_location(kind(text)) == location


@pytest.mark.parametrize(
    ("text", "path"),
    [("file:///a/b", "/a/b"), ("file://localhost/a/b", "/a/b"), ("FILE:/a", "/a"), ("s3://a", None), ("/a", None)],
)
def test_local_paths(text: str, path: str | None) -> None:
    assert get_local_path(text) == path


@pytest.mark.parametrize("text", ["C:/videos", "a:b", "videos", "/a/b:c/d", "./s3:/x"])
def test_plain_paths_are_no_locations(text: str) -> None:
    assert not is_location(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("s3://", "write s3://BUCKET/PATH"),
        ("S3:", "write 's3://BUCKET/PATH'"),
        ("s3:///a", "write s3://BUCKET/PATH"),
        ("s3:bucket/a", "write 's3://bucket/a'"),
        ("s4://bucket/a", "did you mean 's3://bucket/a'?"),
        ("s3a://bucket/a", "did you mean 's3://bucket/a'?"),
        ("gs://bucket/a", "mounted folder"),
        ("az:/container/a", "mounted folder"),
        ("htps://host/a", "did you mean 'https://host/a'?"),
        ("hdfs://host/a", "mounted folder"),
        ("s3://bucket/a/../b", "without them"),
        ("s3://bucket/a\x1b", "without them"),
        ("https://host/a?sig=secret-word", "queries hold signatures"),
        ("https://user:secret-word@host/a", "credentials come from"),
        ("s3://key:secret-word@bucket/a", "credentials come from"),
        ("sftp://user:secret-word@host/a", "credentials come from"),
    ],
)
def test_unusable_urls_are_explained_without_secrets(text: str, advice: str) -> None:
    assert is_location(text)
    with pytest.raises(LocationError) as caught:
        parse_location(text)
    assert advice in str(caught.value)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("name", ["output_dir", "input", "manifest", "light_curves", "videos_dir", "preset_file"])
@pytest.mark.parametrize("url", ["s4://bucket/a", "s3://", "hdfs:/x", "s3:bucket/a"])
def test_no_parameter_takes_a_wrong_url_for_a_local_path(name: str, url: str) -> None:
    problems = find_path_problems({name: Path(url)})
    assert len(problems) == 1
    assert problems[0].where == f"--{name.replace('_', '-')}"
    assert "\n" not in str(problems[0])


def test_outputs_cannot_go_to_web_servers() -> None:
    (problem,) = find_path_problems({"output_dir": Path("https://host/out")})
    assert "can only be read" in str(problem)
    assert find_path_problems({"input": Path("https://host/x.mp4")}) == []


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.stores.location.importlib.util.find_spec", lambda _: None)
    with pytest.raises(LocationError, match=r"pip install 'headrace\[s3\]'"):
        parse_location("s3://bucket/a")


def test_output_folder_may_not_be_the_input_folder() -> None:
    problems = find_path_problems({"output_dir": Path("s3://bucket/a/"), "input": Path("S3://bucket/a")})
    assert len(problems) == 1
    assert "the folder of --input" in str(problems[0])
