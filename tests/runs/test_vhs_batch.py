"""Run vhs_batch on small tapes: outputs, repeated runs, difficult tapes, and invalid options."""

from __future__ import annotations

import csv
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest

from examples.demo_data import find_clip
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import (
    ROOT,
    Bench,
    count_stage_items,
    create_bench,
    hash_files,
    list_files,
    load_records,
    load_values,
    read_frame_times,
)
from tests.test_docs import read_rows

FLOW = "flows.vhs_batch"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()

# 50 frames per second of a clip become interlaced frames of 192x144.
_FIELDS = "scale=192:144,setpts=N/(50*TB),fps=50"
_NOISE = "noise=c0s=18:c0f=t:c1s=25:c1f=t:c2s=25:c2f=t:all_seed=6"
_INTERLACED = f"{_FIELDS},{_NOISE},tinterlace=interleave_top,setsar=12/11"
_MPEG2 = "-c:v mpeg2video -q:v 2 -flags +ildct+ilme -g 12 -bf 2"
_FILM = "scale=192:144,setpts=N*1001/(24000*TB),fps=24000/1001,trim=end_frame=48,telecine=pattern=23,setsar=10/11"
_UNEVEN = "settb=1/1000,setpts=40*(N+5*gte(N\\,10)+3*gte(N\\,30)+eq(N\\,39))"
_PLAIN = "scale=192:144,setsar=1,setpts=N/(25*TB),fps=25"

# File name -> ffmpeg's arguments between the clip and the file.
TAPES = {
    "interlaced.mkv": f"-vf {_INTERLACED} {_MPEG2}",
    "film.mkv": f"-vf {_FILM} {_MPEG2}",
    "mixed.mkv": f"-filter_complex [0]{_FIELDS},split[a][b];[a]trim=end_frame=120,tinterlace=interleave_top[c];"
    "[b]trim=start_frame=120:end_frame=240,setpts=PTS-STARTPTS,fps=25,setfield=prog[d];[c][d]concat -c:v ffv1",
    "uneven.mkv": f"-vf {_INTERLACED},trim=end_frame=40,{_UNEVEN} -fps_mode passthrough -c:v ffv1",
    "odd.mkv": "-vf scale=175:143,setsar=1,trim=end_frame=30 -c:v ffv1",
    "high.mkv": f"-vf {_PLAIN},trim=end_frame=12 -c:v ffv1",
    "kept.mkv": f"-vf {_INTERLACED},trim=end_frame=20 -c:v ffv1",
    "refused.mkv": f"-vf {_INTERLACED},trim=end_frame=20 -c:v ffv1",
    "one-frame.mkv": f"-vf {_INTERLACED} -frames:v 1 -c:v ffv1",
}
CHAPTERS = """;FFMETADATA1
title=Street, summer 1994
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2000
title=taxis
[CHAPTER]
TIMEBASE=1/1000
START=2000
END=5000
title=bicycles
"""
# Settings of single tapes; the year is not an option.
SETTINGS: list[dict[str, object]] = [
    {"tape": "high.mkv", "height": 720, "codec": "x264", "crf": 30, "year": 1994},
    {"tape": "odd.mkv", "preset": "vhs", "year": 1991},
    {"tape": "stream.mpg", "preset": "vhs"},
    {"tape": "kept.mkv", "preset": "vhs_archive"},
    {"tape": "refused.mkv", "deinterlace": "none", "height": 288},
]
HARD = {"sound.mp4": "no video", "picture.mp4": "", "text.mp4": "text file", "empty.avi": "empty"}


def run_ffmpeg(*arguments: object) -> None:
    subprocess.run([FFMPEG, "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def make_tape(folder: Path, name: str, rename: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (rename or name)
    run_ffmpeg("-i", find_clip("bikes.mp4"), *TAPES[name].split(), path)
    return path


def make_home_recording(folder: Path) -> Path:
    """Create a tape with all metadata that is copied: two languages, chapters, a title, a time."""
    picture, chapters = make_tape(folder, "interlaced.mkv", "picture.mkv"), folder / "chapters.txt"
    chapters.write_text(CHAPTERS)
    tones = [part for hz in (330, 440) for part in ("-f", "lavfi", "-i", f"sine=frequency={hz}:duration=5:r=48000")]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "2:a", "-map_metadata", "3", "-map_chapters", "3"]
    log = ["-metadata", "creation_time=1994-07-16T15:30:00Z", "-metadata:s:a:0", "language=deu"]
    path = folder / "home.mkv"
    codecs = ["-c:v", "copy", "-c:a", "pcm_s16le", "-metadata:s:a:1", "language=fra"]
    run_ffmpeg("-i", picture, *tones, "-i", chapters, *maps, *codecs, *log, path)
    picture.unlink()
    chapters.unlink()
    return path


def make_invalid_tapes(folder: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", folder / "sound.mp4")
    run_ffmpeg("-i", find_clip("bikes.mp4"), "-frames:v", 1, "-f", "image2", "-c:v", "png", folder / "picture.mp4")
    (folder / "text.mp4").write_text("Not a video.\n")
    (folder / "empty.avi").touch()


def truncate(path: Path, whole: Path) -> None:
    """Write the first half of ``whole`` in the container of ``path``."""
    stream = path.with_name(f"whole{path.suffix}")
    run_ffmpeg("-i", whole, "-map", "0:v", "-c", "copy", stream)
    path.write_bytes(stream.read_bytes()[: stream.stat().st_size // 2])
    stream.unlink()


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create every tape and all files that are not tapes."""
    folder = tmp_path_factory.mktemp("shelf")
    home = make_home_recording(folder)
    truncate(folder / "truncated.mkv", home)
    truncate(folder / "stream.mpg", home)
    for name in TAPES.keys() - {"interlaced.mkv"}:
        make_tape(folder, name)
    make_invalid_tapes(folder)
    return folder


@pytest.fixture(scope="module")
def whole_run(
    tapes: Path, tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str
) -> Iterator[Bench]:
    """Run the flow on all tapes; one has its own settings."""
    folder = tmp_path_factory.mktemp("whole-run")
    settings = write_settings(folder / "settings.csv", SETTINGS)
    for bench in create_bench(folder, prefect_home, prefect_api):
        build_options = ("--input", tapes, "--output-dir", bench.output, "--segment-seconds", 2, "--settings", settings)
        assert bench.run(*build_options, "--preview", "--priority", "year", flow=FLOW, small=False) == 3
        yield bench


def get_restored(bench: Bench, tape: str) -> Path:
    (path,) = (bench.output / "restored").glob(f"{tape}.*")
    return path


def fill_shelf(bench: Bench, *names: str) -> Path:
    folder = bench.folder / "shelf"
    for name in names:
        make_tape(folder, name)
    return folder


def build_options(bench: Bench, *more: object) -> tuple[object, ...]:
    return ("--input", bench.folder / "shelf", "--output-dir", bench.output, "--segment-seconds", 2, *more)


def test_output_files_of_a_run(whole_run: Bench) -> None:
    names = {"home", "truncated", "stream", "film", "mixed", "uneven", "odd", "high", "kept", "one-frame"}
    output = whole_run.output
    assert {path.stem for path in (output / "restored").iterdir()} == names
    assert {path.stem for path in (output / "surveys").iterdir()} == {*names, "refused"}
    assert {path.name for path in (output / "previews").iterdir()} == {
        f"{name}{suffix}" for name in names for suffix in (".jpg", ".mp4")
    }
    assert not (output / "segments").exists() or not any((output / "segments").rglob("*.*"))
    assert list((output / ".headrace" / "private").iterdir()) == []
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == len(names)
    assert "PARTIAL" in page


def test_every_column_is_documented(whole_run: Bench) -> None:
    columns = set(pq.read_schema(whole_run.output / "items.parquet").names)
    documented = set(read_rows(ROOT / "docs" / "vhs_batch.md")) | set(read_rows(ROOT / "docs" / "outputs.md"))
    assert columns - documented == set()


def test_every_row_names_its_tape(whole_run: Bench) -> None:
    table = pq.read_table(whole_run.output / "items.parquet").to_pylist()
    paths = {row["path"] for row in table}
    assert paths == {path.name for path in Path(whole_run.summary["parameters"]["input"]).iterdir()}
    assert all(row["name"].partition(",")[0] == row["path"] for row in table)
    assert {row["name"] for row in table if row["id"] == "film.0000"} <= {"film.mkv, vhs_standard, segment 0"}


def test_names_in_any_script_are_shown(bench: Bench) -> None:
    folder = fill_shelf(bench, "high.mkv")
    (folder / "한국어").mkdir()
    (folder / "high.mkv").rename(folder / "한국어/中文.mkv")
    assert bench.run(*build_options(bench), flow=FLOW, small=False) == 0
    (row,) = load_values(bench, "tapes").values()
    assert (row["name"], row["path"]) == ("中文.mkv", "한국어/中文.mkv")
    assert [path.stem for path in (bench.output / "restored").iterdir()] == [row["id"]]
    assert "한국어/中文.mkv" in (bench.output / "report.html").read_text(encoding="utf-8")


def test_each_bad_tape_is_one_failure(whole_run: Bench) -> None:
    failures = whole_run.failures
    assert failures.keys() == {"refused", *(Path(name).stem for name in HARD)}
    assert {row["failure_kind"] for row in failures.values()} == {"bad_input"}
    for name, words in HARD.items():
        assert words in failures[Path(name).stem]["message"], failures[Path(name).stem]["message"]


def test_bobbed_tape_keeps_its_audio(whole_run: Bench, tapes: Path) -> None:
    diagnosis, rows = load_values(whole_run, "diagnosis")["home"], load_values(whole_run, "tapes")["home"]
    assert (diagnosis["field_order"], diagnosis["frames"], diagnosis["audio_channels"]) == ("tff", 125, 1)
    assert diagnosis["noise_luma"] > 2
    assert (rows["frames"], rows["segments"], rows["preset"]) == (250, 2, "vhs_standard")
    assert rows["sound_late_seconds"] == 0
    path = get_restored(whole_run, "home")
    assert read_frame_times(path) == [Fraction(number, 50) for number in range(250)]
    assert read_audio(path) == read_audio(tapes / "home.mkv")


def read_audio(path: Path) -> list[list[tuple[int | None, bytes]]]:
    """Return the packets of each audio track with their times in milliseconds."""
    tracks: dict[int, list[tuple[int | None, bytes]]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux(audio=list(range(len(container.streams.audio)))):
            if packet.size:
                tracks.setdefault(packet.stream.index, []).append((packet.pts, bytes(packet)))
    return list(tracks.values())


def test_metadata_of_a_tape_is_carried(whole_run: Bench) -> None:
    with av.open(str(get_restored(whole_run, "home"))) as container:
        log = {name.lower(): text for name, text in container.metadata.items()}
        assert log["title"] == "Street, summer 1994"
        assert log["creation_time"].startswith("1994-07-16T15:30:00")
        assert [stream.language for stream in container.streams.audio] == ["deu", "fra"]
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["taxis", "bicycles"]
    assert load_values(whole_run, "tapes")["home"]["not_carried"] == []


@pytest.mark.parametrize(
    ("tape", "size", "matrix", "primaries"),
    [("home", (210, 144), 5, 5), ("film", (174, 144), 6, 6), ("high", (960, 720), 1, 5), ("odd", (174, 142), 5, 5)],
)
def test_color_matrix_and_square_pixels(
    whole_run: Bench, tape: str, size: tuple[int, int], matrix: int, primaries: int
) -> None:
    with av.open(str(get_restored(whole_run, tape))) as container:
        context = container.streams.video[0].codec_context
        assert abs(context.width - size[0]) <= 2
        assert abs(context.height - size[1]) <= 2
        assert context.width % 2 == context.height % 2 == 0
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)
        assert (context.colorspace, context.color_primaries) == (matrix, primaries)


def test_telecined_tape_gets_its_film_rate_back(whole_run: Bench) -> None:
    diagnosis, rows = load_values(whole_run, "diagnosis")["film"], load_values(whole_run, "tapes")["film"]
    assert (diagnosis["telecine"], diagnosis["frames"]) == ("3:2", 60)
    assert rows["frames"] == 48
    gaps = np.diff([float(time) for time in read_frame_times(get_restored(whole_run, "film"))])
    assert gaps == pytest.approx(1001 / 24000, abs=0.0011)


def test_truncated_tape_is_restored_as_partial(whole_run: Bench) -> None:
    diagnosis, rows = load_values(whole_run, "diagnosis")["truncated"], load_values(whole_run, "tapes")["truncated"]
    assert 30 < diagnosis["frames"] < 80
    assert rows["frames"] == 2 * diagnosis["frames"]
    assert diagnosis["missing"]
    assert rows["missing"] == diagnosis["missing"]
    assert load_values(whole_run, "tapes")["home"]["missing"] is None


def test_truncated_stream_without_duration_keeps_all_frames(whole_run: Bench) -> None:
    """The last frames have unequal durations because some frames between them are lost."""
    diagnosis, rows = load_values(whole_run, "diagnosis")["stream"], load_values(whole_run, "tapes")["stream"]
    assert 30 < diagnosis["frames"] < 80
    assert rows["frames"] == len(read_frame_times(get_restored(whole_run, "stream"))) == 2 * diagnosis["frames"]


def test_variable_frame_times_are_kept(whole_run: Bench, tapes: Path) -> None:
    before, after = read_frame_times(tapes / "uneven.mkv"), read_frame_times(get_restored(whole_run, "uneven"))
    assert len(after) == 2 * len(before)
    assert [float(time) for time in after[::2]] == pytest.approx([float(time) for time in before], abs=0.0011)
    middles = [float(first + second) / 2 for first, second in pairwise(before)]
    assert [float(time) for time in after[1:-1:2]] == pytest.approx(middles, abs=0.0011)


def test_mixed_tape_is_deinterlaced(whole_run: Bench) -> None:
    diagnosis = load_values(whole_run, "diagnosis")["mixed"]
    assert diagnosis["is_mixed"]
    assert 0.3 < diagnosis["interlaced_share"] < 0.7
    assert load_values(whole_run, "tapes")["mixed"]["frames"] == 2 * diagnosis["frames"]


def test_still_tape_is_restored(whole_run: Bench) -> None:
    assert load_values(whole_run, "diagnosis")["one-frame"]["frames"] == 1
    assert len(read_frame_times(get_restored(whole_run, "one-frame"))) in {1, 2}


def test_settings_line_overrides_common_options(whole_run: Bench) -> None:
    rows = load_values(whole_run, "tapes")
    assert (rows["high"]["height_px"], rows["home"]["height_px"]) == (720, 144)


def test_only_changed_tapes_run_again(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    fill_shelf(bench, "high.mkv", "odd.mkv")
    assert bench.run(*build_options(bench), flow=FLOW) == 0
    before = list_files(bench.output / "restored")
    assert bench.run(*build_options(bench), flow=FLOW) == 0
    assert bench.count_items() == (0, 6, 0, 0)
    assert list_files(bench.output / "restored") == before

    everything = list_files(bench.output)
    capsys.readouterr()
    assert bench.run(*build_options(bench, "--override", "sharpen=0.1", "--dry-run"), flow=FLOW) == 0
    log = capsys.readouterr().err
    assert "diagnosis: 2 items, 2 cached, 0 to do" in log
    assert "tapes: 2 items, 0 cached, 2 to do" in log
    assert log.count("to do: its whole runs again") == 1
    assert "previews: predicted from" in log
    assert bench.run(*build_options(bench, "--crf", 25, "--explain", "high.mkv"), flow=FLOW) == 0
    assert "tapes: high.mkv: would run: parameter `crf` changed from" in capsys.readouterr().err
    assert list_files(bench.output) == everything

    assert bench.run(*build_options(bench, "--override", "sharpen=0.1"), flow=FLOW) == 0
    assert count_stage_items(bench, "diagnosis") == (0, 2, 0, 0)
    assert count_stage_items(bench, "segments") == count_stage_items(bench, "tapes") == (2, 0, 0, 0)


def test_killed_run_loses_only_running_segments(bench: Bench) -> None:
    make_home_recording(bench.folder / "shelf")
    run_ffmpeg("-stream_loop", 2, "-i", bench.folder / "shelf" / "home.mkv", "-c", "copy", bench.folder / "long.mkv")
    (bench.folder / "long.mkv").replace(bench.folder / "shelf" / "home.mkv")
    options = ("--preset", "vhs_heavy", "--workers", 2)
    api, bench.api = bench.api, None
    with bench.start_flow(*build_options(bench, *options), flow=FLOW) as flow:
        wait_until(lambda: len(list_segment_records(bench)) >= 2, "two segments are done")
        flow.signal(signal.SIGKILL)
        assert flow.wait() == -signal.SIGKILL
    wait_until_gone(bench.mark)
    done, bench.api = len(list_segment_records(bench)), api
    assert not (bench.output / "restored").exists()
    assert bench.run(*build_options(bench, *options), flow=FLOW) == 0
    assert count_stage_items(bench, "diagnosis") == (0, 1, 0, 0)
    assert count_stage_items(bench, "segments") == (6 - done, done, 0, 0)
    assert len(read_frame_times(get_restored(bench, "home"))) == 750


def list_segment_records(bench: Bench) -> list[str]:
    return [name for name in load_records(bench.output) if name.startswith("segments/")]


def test_limited_scratch_gives_the_same_tapes(bench: Bench) -> None:
    fill_shelf(bench, "high.mkv", "odd.mkv")
    assert bench.run(*build_options(bench, "--workers", 2), flow=FLOW) == 0
    together = hash_files(bench.output / "restored")
    bench.output = bench.folder / "one by one"
    assert bench.run(*build_options(bench, "--scratch", "1B", "--workers", 1), flow=FLOW) == 0
    assert hash_files(bench.output / "restored") == together
    joined = sorted(load_values(bench, "tapes").values(), key=lambda row: row["started_at"])
    cut = sorted(load_values(bench, "segments").values(), key=lambda row: row["started_at"])
    assert joined[0]["started_at"] < cut[-1]["started_at"], "the first tape is joined before the second is restored"


def test_tapes_run_one_at_a_time_with_little_scratch(bench: Bench) -> None:
    fill_shelf(bench, "high.mkv", "odd.mkv")
    for done in (1, 2):
        assert bench.run(*build_options(bench, "--max-items", 1), flow=FLOW) == 0
        assert len(list((bench.output / "restored").iterdir())) == done
        assert count_stage_items(bench, "tapes")[0] == 1


def test_external_program_restores_a_tape(bench: Bench) -> None:
    """Run the command from the docs with FFmpeg as the program."""
    fill_shelf(bench, "film.mkv")
    text = (ROOT / "docs" / "vhs_batch.md").read_text(encoding="utf-8")
    command = text.partition('--command "ffmpeg')[2].partition('"')[0]
    assert "{input}" in command
    options = ("--engine", "command", "--height", 288, "--command", shlex.quote(FFMPEG) + command)
    assert bench.run(*build_options(bench, *options), flow=FLOW) == 0
    assert count_stage_items(bench, "segments") == (1, 0, 0, 0)
    assert len(read_frame_times(get_restored(bench, "film"))) == 48
    assert load_values(bench, "tapes")["film"]["height_px"] == 288


def test_failed_program_is_reported(bench: Bench) -> None:
    fill_shelf(bench, "high.mkv")
    options = ("--engine", "command", "--command", f"{shlex.quote(FFMPEG)} -v error -i {{input}} -vf nosuch {{output}}")
    assert bench.run(*build_options(bench, *options), flow=FLOW) == 3
    assert "nosuch" in (bench.output / bench.failures["high.0000"]["log"]).read_text()
    assert bench.failures["high"]["failure_kind"] == "upstream"
    assert bench.failures["high"]["message"].endswith("segment 0 failed")


def test_unsuitable_options_fail_the_tape(whole_run: Bench) -> None:
    assert "--height: 288 with fields kept" in whole_run.failures["refused"]["message"]
    assert load_values(whole_run, "tapes")["refused"]["outcome"] == "failed"


def test_archive_keeps_fields_and_pixels(whole_run: Bench) -> None:
    with av.open(str(get_restored(whole_run, "kept"))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("ffv1", "yuv422p10le")
        assert stream.sample_aspect_ratio == Fraction(12, 11)
        assert sum(1 for _ in container.decode(stream)) == 20


def test_vhs_preset_is_chosen_by_noise(whole_run: Bench) -> None:
    rows = load_values(whole_run, "tapes")
    assert rows["odd"]["preset"] == "vhs_clean"
    assert rows["odd"]["chosen_because"].endswith("is below 2")
    assert rows["stream"]["preset"] in {"vhs_standard", "vhs_heavy"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--preset", "vhs_light"), ["vhs_light", "vhs_standard"]),
        (("--preset", "vhs", "--no-auto-detect"), ["vhs with --no-auto-detect", "vhs_clean"]),
        (("--engine", "command"), ["--command", "{input}"]),
        (("--engine", "command", "--command", "no-such-program {input}"), ["no-such-program", "no {output}"]),
        (("--codec", "ffv1", "--crf", "20"), ["ffv1 is lossless"]),
        (("--override", "sharpen=9", "--override", "denoise"), ["sharpen", "1.5", "'denoise'", "KEY=VALUE"]),
        (("--priority", "age"), ["age"]),
    ],
)
def test_invalid_options_are_refused(
    bench: Bench, capsys: pytest.CaptureFixture[str], options: Sequence[str], words: Sequence[str]
) -> None:
    fill_shelf(bench, "high.mkv")
    assert bench.run(*build_options(bench, *options), flow=FLOW) == 2
    log = capsys.readouterr().err
    assert [word for word in words if word not in log] == [], log
    assert "Traceback" not in log
    assert not bench.output.exists()


def write_settings(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_all_problems_of_the_settings_are_reported_together(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    fill_shelf(bench, "high.mkv", "odd.mkv")
    rows: list[dict[str, object]] = [
        {"tape": "high", "height": 720},
        {"tape": "odd.mkv", "preset": "vhs_best", "height": 719},
        {"tape": "odd.mkv", "crf": 20},
        {"tape": "../x.mkv", "codec": "x264"},
        {"tape": "high.mkv", "codec": "divx", "segment_seconds": 1},
    ]
    settings = write_settings(bench.folder / "settings.csv", rows)
    assert bench.run(*build_options(bench, "--settings", settings), flow=FLOW) == 2
    log = capsys.readouterr().err
    for words in ("did you mean high.mkv?", "719", "'odd.mkv' again", "'../x.mkv'", "'divx'", "segment_seconds"):
        assert words in log, log
    assert not bench.output.exists()


def test_invalid_settings_table_is_an_error(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    fill_shelf(bench, "high.mkv")
    (bench.folder / "settings.json").write_text('[{"tape": "high.mkv", ')
    assert bench.run(*build_options(bench, "--settings", bench.folder / "settings.json"), flow=FLOW) == 2
    assert bench.run(*build_options(bench, "--settings", bench.folder / "none.csv"), flow=FLOW) == 2
    log = capsys.readouterr().err
    assert "settings.json" in log
    assert "none.csv" in log
    assert "Traceback" not in log


def test_folder_without_tapes_is_an_error(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (bench.folder / "shelf").mkdir()
    assert bench.run(*build_options(bench), flow=FLOW) == 2
    assert "no videos" in capsys.readouterr().err


def test_dry_run_predicts_and_writes_no_files(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    fill_shelf(bench, "high.mkv")
    before = list_files(bench.folder / "shelf")
    assert bench.run(*build_options(bench, "--dry-run"), flow=FLOW) == 0
    log = capsys.readouterr().err
    for stage in ("diagnosis", "segments", "tapes", "previews"):
        assert f"{stage}: predicted from" in log
    assert not bench.output.exists()
    assert list_files(bench.folder / "shelf") == before
