"""overlay_removal on small videos: outputs, repeated runs, difficult videos, URLs, and invalid options."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest

from examples.demo_data import find_clip
from tests.engine.processes import wait_until, wait_until_gone
from tests.landmarks.models.server import ModelServer, send_endlessly
from tests.overlays.detection.networks import build, count_candidates
from tests.runs.bench import ROOT, Bench, count_stage_items, create_bench, list_files, load_values, read_frame_times
from tests.test_docs import read_rows

FLOW = "flows.overlay_removal"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
BOX = "8,8,40x24"

_SMALL = "scale=160:96,setsar=1,setpts=N/(25*TB),fps=25"
_SIGN = f"drawbox={BOX.replace(',', ':').replace('x', ':')}:t=fill:color=white@0.6"
_X264 = "-c:v libx264 -crf 14 -bf 3 -g 12"
_UNEVEN = "settb=1/1000,setpts=40*(N+5*gte(N\\,10)+3*gte(N\\,20)+eq(N\\,35))"
# File name -> ffmpeg's arguments between a clip and the file.
VIDEOS = {
    "sound.mp4": f"-f lavfi -i sine=frequency=330:duration=2:r=48000 -vf {_SMALL},{_SIGN},trim=end_frame=50 {_X264}",
    "open.mkv": f"-vf {_SMALL},{_SIGN},trim=end_frame=40 {_X264} -x264-params open-gop=1:scenecut=0",
    "uneven.mkv": f"-vf {_SMALL},{_SIGN},trim=end_frame=36,{_UNEVEN} -fps_mode passthrough {_X264}",
    "late.ts": f"-vf {_SMALL},{_SIGN},trim=end_frame=30 {_X264} -output_ts_offset 5",
    "later.mkv": f"-vf {_SMALL},{_SIGN},trim=end_frame=20 {_X264} -output_ts_offset 3.2",
    "short.mp4": f"-vf {_SMALL},{_SIGN},trim=end_frame=5 {_X264}",
    "still.mp4": f"-vf {_SMALL},{_SIGN},trim=end_frame=1 {_X264}",
    "deep.mkv": f"-vf {_SMALL},{_SIGN},format=yuv422p10le,trim=end_frame=20 -c:v ffv1",
    "long.mkv": f"-vf {_SMALL},{_SIGN} {_X264}",
    "planes.mkv": f"-vf {_SMALL},{_SIGN},format=gbrp,trim=end_frame=9 -c:v ffv1",
    "fields.mkv": f"-vf {_SMALL},{_SIGN},tinterlace=interleave_top,trim=end_frame=9 -c:v ffv1 -flags +ildct",
}
GOOD = {name.partition(".")[0] for name in VIDEOS} - {"long", "planes", "fields"}


def make_video(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    program = [FFMPEG, "-v", "error", "-nostdin", "-y", "-i", str(find_clip("bikes.mp4"))]
    subprocess.run([*program, *VIDEOS[name].split(), "-threads", "1", str(path)], check=True)
    return path


def fill_folder(bench: Bench, *names: str) -> Path:
    for name in names:
        make_video(bench.folder / "shelf", name)
    return bench.folder / "shelf"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return difficult videos, a truncated one, and two files that are not videos."""
    folder = tmp_path_factory.mktemp("videos")
    for name in VIDEOS:
        if name.partition(".")[0] in GOOD:
            make_video(folder, name)
    whole = (folder / "open.mkv").read_bytes()
    (folder / "broken.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("Not a video.\n")
    (folder / "empty.mp4").touch()
    return folder


def make_options(folder: Path, bench: Bench, *more: object) -> tuple[object, ...]:
    own = ("--detector", "mask", "--mask", BOX, "--min-segment-frames", 8)
    return ("--input", folder, "--output-dir", bench.output, *own, *more)


@pytest.fixture(scope="module")
def whole_run(
    videos: Path, tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str
) -> Iterator[Bench]:
    """Run the flow on all videos."""
    for bench in create_bench(tmp_path_factory.mktemp("whole-run"), prefect_home, prefect_api):
        assert bench.run(*make_options(videos, bench, "--segments", 3), flow=FLOW, small=False) == 3
        yield bench


def get_cleaned(bench: Bench, video: str) -> Path:
    (path,) = (bench.output / "cleaned").glob(f"{video}.*")
    return path


def read_luma(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(container.streams.video[0])]


def read_audio(path: Path) -> list[tuple[int | None, bytes]]:
    """Return the audio packets and their times."""
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(container.streams.audio[0]) if packet.size]


def test_run_writes_all_outputs(whole_run: Bench) -> None:
    output, names = whole_run.output, GOOD | {"broken"}
    for folder, suffix in (("cleaned", ""), ("surveys", ".npz"), ("previews", ".jpg"), ("overlays", ".png")):
        assert {path.stem for path in (output / folder).iterdir() if path.suffix.endswith(suffix)} == names, folder
    assert not (output / "segments").exists() or not any((output / "segments").rglob("*.*"))
    assert list((output / ".headrace" / "private").iterdir()) == []
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == len(names)
    assert "PARTIAL" in page
    mask = cv2.imread(str(output / "overlays" / "sound.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    assert mask.shape == (96, 160)
    assert (mask[8:32, 8:48] == 255).all()
    assert np.count_nonzero(mask) == 40 * 24


def test_documentation_lists_every_column(whole_run: Bench) -> None:
    columns = set(pq.read_schema(whole_run.output / "items.parquet").names)
    page = ROOT / "docs" / "overlay_removal.md"
    assert columns - set(read_rows(page)) - set(read_rows(ROOT / "docs" / "outputs.md")) == set()


def test_every_row_names_its_video(whole_run: Bench) -> None:
    table = pq.read_table(whole_run.output / "items.parquet").to_pylist()
    paths = {row["path"] for row in table}
    assert paths == {path.name for path in Path(whole_run.summary["parameters"]["input"]).iterdir()}
    assert all(row["name"].partition(",")[0] == row["path"] for row in table)


def test_each_invalid_file_is_one_failure(whole_run: Bench) -> None:
    failures = whole_run.failures
    assert failures.keys() == {"text", "empty"}
    assert {row["failure_kind"] for row in failures.values()} == {"bad_input"}


@pytest.mark.parametrize("name", [name for name in VIDEOS if name.partition(".")[0] in GOOD])
def test_every_frame_keeps_its_time(whole_run: Bench, videos: Path, name: str) -> None:
    video = name.partition(".")[0]
    before, after = read_frame_times(videos / name), read_frame_times(get_cleaned(whole_run, video))
    assert len(after) == load_values(whole_run, "videos")[video]["frames"]
    assert [float(time - after[0]) for time in after] == [float(time - before[0]) for time in before]
    assert after[0] == (before[0] if name.endswith(".mkv") else 0)


def test_sign_is_removed_and_the_rest_is_similar(whole_run: Bench, videos: Path) -> None:
    """At its left edge, where a remaining sign would be visible."""
    before, after = read_luma(videos / "sound.mp4"), read_luma(get_cleaned(whole_run, "sound"))
    steps = [np.mean([np.abs(f[10:30, 8].astype(int) - f[10:30, 7]) for f in frames]) for frames in (before, after)]
    assert steps[1] < steps[0] / 4
    away = [np.abs(a[40:, 56:].astype(int) - b[40:, 56:]).mean() for a, b in zip(before, after, strict=True)]
    assert max(away) < 3


def test_audio_packets_are_copied(whole_run: Bench, videos: Path) -> None:
    assert read_audio(get_cleaned(whole_run, "sound")) == read_audio(videos / "sound.mp4")
    assert load_values(whole_run, "videos")["sound"]["sound_late_seconds"] == 0
    with av.open(str(get_cleaned(whole_run, "open"))) as container:
        assert container.streams.audio == ()


def test_short_videos_have_one_segment(whole_run: Bench) -> None:
    rows = load_values(whole_run, "videos")
    assert {name: row["segments"] for name, row in rows.items() if name in ("sound", "later", "short", "still")} == {
        "sound": 3,
        "later": 2,
        "short": 1,
        "still": 1,
    }
    assert rows["still"]["frames"] == 1


def test_truncated_video_is_cleaned_and_partial(whole_run: Bench, videos: Path) -> None:
    row = load_values(whole_run, "videos")["broken"]
    assert row["missing"]
    assert 5 < row["frames"] < 40
    assert read_frame_times(get_cleaned(whole_run, "broken")) == read_frame_times(videos / "open.mkv")[: row["frames"]]
    assert load_values(whole_run, "videos")["open"]["missing"] is None


def test_bit_depth_is_kept(whole_run: Bench) -> None:
    with av.open(str(get_cleaned(whole_run, "deep"))) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv422p10le"


def test_only_changed_inputs_run_again(bench: Bench) -> None:
    folder = fill_folder(bench, "short.mp4", "later.mkv")
    assert bench.run(*make_options(folder, bench), flow=FLOW) == 0
    assert count_stage_items(bench, "segments") == (2, 0, 0, 0)  # both are shorter than an automatic segment
    before = list_files(bench.output / "cleaned")
    assert bench.run(*make_options(folder, bench), flow=FLOW) == 0
    assert bench.count_items() == (0, 6, 0, 0)
    assert list_files(bench.output / "cleaned") == before
    assert bench.run(*make_options(folder, bench, "--method", "spatial"), flow=FLOW) == 0
    assert count_stage_items(bench, "prepare") == (0, 2, 0, 0)
    assert (
        count_stage_items(bench, "segments")
        == count_stage_items(bench, "videos")
        == count_stage_items(bench, "previews")
        == (2, 0, 0, 0)
    )
    (folder / "short.mp4").unlink()
    make_video(folder, "short.mp4")
    assert bench.run(*make_options(folder, bench, "--method", "spatial"), flow=FLOW) == 0
    assert count_stage_items(bench, "videos") == (1, 1, 0, 0)


def test_detected_logo_is_removed_and_clean_video_is_copied(bench: Bench) -> None:
    """Eight scenes of a street, and a single-scene clip."""
    folder = fill_folder(bench, "long.mkv")
    (folder / "clean.mp4").write_bytes(find_clip("carphone_pristine.mp4").read_bytes())
    options = ("--input", folder, "--output-dir", bench.output, "--method", "unblend", "--crf", 30)
    assert bench.run(*options, flow=FLOW) == 0
    prepared, rows = load_values(bench, "prepare"), load_values(bench, "videos")
    assert prepared["long"]["overlays"] >= 1
    assert prepared["clean"]["overlays"] == 0
    assert (rows["long"]["copied"], rows["clean"]["copied"]) == (False, True)
    assert rows["clean"]["reason"] == prepared["clean"]["reason"]
    assert get_cleaned(bench, "clean").read_bytes() == (folder / "clean.mp4").read_bytes()
    assert "copied unchanged" in (bench.output / "report.html").read_text(encoding="utf-8")


def test_model_detects_requested_classes(bench: Bench) -> None:
    """The network detects bright red as a logo and bright green as a stamp."""
    folder = bench.folder / "shelf"
    folder.mkdir()
    marks = "drawbox=8:8:40:24:t=fill:color=red,drawbox=100:60:32:16:t=fill:color=lime:enable=gte(n\\,6)"
    program = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "color=0x202020:size=160x96:rate=25,noise=alls=20:allf=t"]
    subprocess.run(
        [*program, "-vf", f"format=gbrp,{marks}", "-frames:v", "16", "-c:v", "ffv1", str(folder / "a.mkv")], check=True
    )
    model = build(bench.folder / "patches.onnx", "anchors", (160, 96), count_candidates(160, 96))
    detector = ("--detector", "yolo", "--model", model, "--score", 0.7, "--codec", "lossless")
    options = ("--input", folder, "--output-dir", bench.output, *detector)
    assert bench.run(*options, "--classes", "stamp", flow=FLOW) == 0
    row = load_values(bench, "prepare")["a"]
    assert (row["overlays"], row["opacity"]) == (1, None)
    assert row["boxes"][0].startswith("stamp ")
    assert row["frames_with_overlay"] < 16
    assert load_values(bench, "videos")["a"]["frames"] == 16
    assert bench.run(*options, "--classes", "stamps", flow=FLOW) == 2
    assert bench.run(*options, flow=FLOW) == 0
    assert load_values(bench, "prepare")["a"]["overlays"] == 2


def test_killed_run_loses_only_running_segments(bench: Bench) -> None:
    folder = fill_folder(bench, "sound.mp4")
    options = make_options(folder, bench, "--segments", 6, "--workers", 1)
    api, bench.api = bench.api, None
    with bench.start_flow(*options, flow=FLOW) as flow:
        wait_until(lambda: len(list_segment_records(bench)) >= 2, "two segments are done")
        flow.signal(signal.SIGKILL)
        assert flow.wait() == -signal.SIGKILL
    wait_until_gone(bench.mark)
    done, bench.api = len(list_segment_records(bench)), api
    assert 2 <= done < 6
    assert not (bench.output / "cleaned").exists()
    assert bench.run(*options, flow=FLOW) == 0
    assert count_stage_items(bench, "prepare") == (0, 1, 0, 0)
    assert count_stage_items(bench, "segments") == (6 - done, done, 0, 0)
    assert read_frame_times(get_cleaned(bench, "sound")) == read_frame_times(folder / "sound.mp4")


def list_segment_records(bench: Bench) -> list[Path]:
    return list((bench.output / ".headrace" / "records" / "segments").rglob("*.json"))


def test_mask_of_another_size_fails_the_video(bench: Bench) -> None:
    folder = fill_folder(bench, "short.mp4")
    path = folder / "wide.mp4"
    program = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=192x96:rate=25", "-frames:v", "3"]
    subprocess.run([*program, str(path)], check=True)
    page = np.zeros((96, 160), np.uint8)
    page[8:32, 8:48] = 255
    mask = bench.folder / "mask.png"
    cv2.imwrite(str(mask), page)
    options = ("--input", folder, "--output-dir", bench.output, "--detector", "mask", "--mask", mask)
    assert bench.run(*options, "--codec", "lossless", flow=FLOW) == 3
    (failure,) = bench.failures.values()
    assert failure["id"] == "wide"
    assert failure["failure_kind"] == "bad_input"
    assert "mask.png has 160x96 pixels and wide.mp4 192x96" in failure["message"]
    before, after = read_luma(folder / "short.mp4"), read_luma(get_cleaned(bench, "short"))
    assert all((a[page == 0] == b[page == 0]).all() for a, b in zip(before, after, strict=True))


def test_unsupported_codec_is_a_failure_with_the_reason(bench: Bench) -> None:
    folder = fill_folder(bench, "planes.mkv", "fields.mkv", "short.mp4")
    assert bench.run(*make_options(folder, bench, "--codec", "svtav1"), flow=FLOW) == 3
    assert bench.failures.keys() == {"planes", "fields"}
    for failure in bench.failures.values():
        assert failure["failure_kind"] == "bad_input"
        assert "svtav1" in failure["message"]
        assert "use --codec lossless" in failure["message"]
    assert bench.run(*make_options(folder, bench, "--codec", "lossless"), flow=FLOW) == 0
    with av.open(str(get_cleaned(bench, "planes"))) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "gbrp"
    with av.open(str(get_cleaned(bench, "fields"))) as container:
        assert next(container.decode(video=0)).interlaced_frame


def test_external_program_removes_overlays(bench: Bench) -> None:
    folder = fill_folder(bench, "later.mkv")
    script = bench.folder / "paint.py"
    script.write_text(
        "import pathlib, sys, cv2\n"
        "for file in pathlib.Path(sys.argv[1]).glob('*.png'):\n"
        "    assert cv2.imwrite(sys.argv[3] + '/' + file.name, cv2.imread(str(file)) * 0 + 128)\n"
        "open(sys.argv[4] + '.device', 'w')\n",
        encoding="utf-8",
    )
    words = [*map(shlex.quote, (sys.executable, str(script))), "{input} {masks} {output}", f"{bench.folder}/{{device}}"]
    program = ("--method", "command", "--command", " ".join(words), "--segments", 2)
    assert bench.run(*make_options(folder, bench, *program, "--devices", 1), flow=FLOW) == 0
    assert count_stage_items(bench, "segments") == (2, 0, 0, 0)
    assert (bench.folder / "0.device").exists()
    assert not (bench.folder / "1.device").exists()
    assert bench.run(*make_options(folder, bench, *program, "--devices", 2), flow=FLOW) == 0
    assert count_stage_items(bench, "videos") == (0, 1, 0, 0)
    painted = read_luma(get_cleaned(bench, "later"))[7][10:30, 10:46]
    assert abs(int(np.median(painted)) - 126) < 4


@pytest.fixture
def server(videos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    own = ModelServer({"/a%20film.mp4": (videos / "short.mp4").read_bytes()})
    running = own.start()
    yield own
    own.released.set()
    running.shutdown()
    running.server_close()


def test_video_from_a_url_is_downloaded_once(bench: Bench, server: ModelServer) -> None:
    options = make_options(Path(), bench, "--allow-private-hosts")[2:]
    url = ("--input", server.url + "/a%20film.mp4")
    assert bench.run(*url, *options, flow=FLOW) == 0
    (video,) = load_values(bench, "videos")
    assert (bench.output / "downloads" / f"{video}.mp4").read_bytes() == server.files["/a%20film.mp4"]
    assert len(read_frame_times(get_cleaned(bench, video))) == 5
    asked = len(server.requests)
    assert bench.run(*url, *options, flow=FLOW) == 0
    assert bench.count_items() == (0, 4, 0, 0)
    assert len(server.requests) == asked


def test_endless_download_is_refused(bench: Bench, server: ModelServer) -> None:
    server.faults.append(send_endlessly)
    options = make_options(Path(), bench, "--allow-private-hosts", "--max-download", "200kB")[2:]
    assert bench.run("--input", server.url + "/a%20film.mp4", *options, flow=FLOW) == 3
    (failure,) = bench.failures.values()
    assert failure["failure_kind"] == "bad_input"
    assert "--max-download" in failure["message"]
    assert list((bench.output / ".headrace" / "private").iterdir()) == []


def test_private_address_is_refused_without_contact(
    bench: Bench, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run("--input", server.url + "/a%20film.mp4", "--output-dir", bench.output, flow=FLOW) == 2
    assert "--allow-private-hosts" in capsys.readouterr().err
    assert server.requests == []


def test_all_problems_are_reported_together(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--detector", "yolo", "--mask", BOX, "--codec", "lossless", "--crf", 18, "--devices", 2)
    assert bench.run("--input", bench.folder / "none", "--output-dir", bench.output, *options, flow=FLOW) == 2
    message = capsys.readouterr().err
    for part in (
        "does not exist",
        "--model: missing",
        "--mask: given with --detector yolo",
        "--crf",
        "--devices",
    ):
        assert part in message, message
    assert "Traceback" not in message
    assert not bench.output.exists()


def test_dry_run_predicts_and_writes_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill_folder(bench, "short.mp4")
    assert bench.run(*make_options(folder, bench, "--dry-run"), flow=FLOW) == 0
    assert "prepare: " in capsys.readouterr().err
    assert not bench.output.exists()


def test_dry_run_of_a_url_writes_nothing_to_the_output(bench: Bench, server: ModelServer) -> None:
    options = make_options(Path(), bench, "--allow-private-hosts", "--dry-run")[2:]
    assert bench.run("--input", server.url + "/a%20film.mp4", *options, flow=FLOW) == 0
    assert not bench.output.exists()
