"""The stages from a video with overlays to cleaned segments and the joined video."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.media.segments.containers import choose_container
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.plan import Segment
from tasks.media.segments.planes import Plane
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey, save_survey, survey_video
from tasks.overlays.boxes import Box
from tasks.overlays.components import ComponentReader, Shape, get_planar_format, read_shape, reduce_mask
from tasks.overlays.detection.placing import make_box_overlay
from tasks.overlays.join_stage import JoinStage, make_join_item
from tasks.overlays.options import CleaningOptions, PrepareParams
from tasks.overlays.overlay import FrameRange, Overlay, save_overlays
from tasks.overlays.prepare_stage import PrepareStage, make_prepare_items
from tasks.overlays.prepared import Prepared, overlays_path, survey_path
from tasks.overlays.preview_stage import PreviewStage
from tasks.overlays.segment_stage import CleanStage, estimate_segment_bytes, make_segment_items
from tasks.overlays.video_source import VideoSource
from tasks.overlays.work import VIDEO_PAYLOAD, PlannedVideo, plan_video

FRAMES = 18
ALWAYS = (FrameRange(0, FRAMES),)
SIGN = (Box(10, 8, 26, 13), ALWAYS)
FAR = (Box(60, 50, 21, 9), (FrameRange(4, 9), FrameRange(12, 14)))
Marks = Sequence[tuple[Box, tuple[FrameRange, ...]]]
MakeSource = Callable[..., Path]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> MakeSource:
    """Return a function that makes a short video of moving patterns: ``source(pixel_format, size, codec)``."""
    folder = tmp_path_factory.mktemp("sources")

    def make(pixel_format: str = "yuv420p", size: str = "96x72", codec: str = "ffv1") -> Path:
        path = folder / f"{pixel_format}-{size}-{codec}.mkv"
        if not path.exists():
            shown = f"testsrc2=size={size}:rate=25,noise=alls=12:allf=t:all_seed=3"
            options = ["-frames:v", str(FRAMES), "-c:v", codec, "-pix_fmt", pixel_format, "-threads", "1", str(path)]
            program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "lavfi"]
            subprocess.run([*program, "-i", shown, *options], check=True)
        return path

    return make


class Run:
    """An output folder, and the stages of one video in it."""

    def __init__(self, source: Path, folder: Path, marks: Marks = (SIGN,), **options: object) -> None:
        self.source, self.output, self._private = source, folder / "output", folder / "private"
        self.found = survey_video(source, tolerant=True)
        picture = self.found.picture
        self.shape = read_shape(get_planar_format(picture.pixel_format))
        size = picture.width_px, picture.height_px
        self.overlays = tuple(make_box_overlay(box, self.shape, size, ranges, "mask") for box, ranges in marks)
        self._publish(survey_path("video"), lambda path: save_survey(self.found, path))
        self._publish(overlays_path("video"), lambda path: save_overlays(self.overlays, path))
        self.known = self._prepare()
        given = {"segments": 3, "min_segment_frames": 1, "codec": "lossless"} | options
        self.planned = plan_video(self.known, CleaningOptions.model_validate(given), self.output)

    def _publish(self, path: str, save: Callable[[Path], None]) -> None:
        (self.output / path).parent.mkdir(parents=True, exist_ok=True)
        save(self.output / path)

    def _prepare(self) -> Prepared:
        paths = survey_path("video"), overlays_path("video")
        digests = [hashlib.sha256((self.output / path).read_bytes()).hexdigest() for path in paths]
        containers = {codec: choose_container(self.source, codec).suffix for codec in ("x264", "x265", "ffv1")}
        found = len(self.overlays)
        return Prepared("video", self.source, *digests, self.found.picture, containers, found, "given")

    def clean(self, stage: CleanStage | None = None) -> list[StageResult]:
        return [self.run(stage or CleanStage(), item) for item in make_segment_items(self.planned)]

    def join(self) -> StageResult:
        return self.run(JoinStage(), make_join_item(self.planned))

    def run(self, stage: Stage, item: Item) -> StageResult:
        private = self._private / stage.name / item.id
        (private / "scratch").mkdir(parents=True, exist_ok=True)
        workspace = Workspace(private / "outputs", private / "scratch", self.output)
        result = stage.run(item, workspace)
        for path in [path for path in workspace.outputs.rglob("*") if path.is_file()]:  # as the engine publishes them
            target = self.output / path.relative_to(workspace.outputs)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        return result

    @property
    def cleaned(self) -> Path:
        return self.output / self.planned.work.result_path

    def list_changed(self) -> list[tuple[Plane, ...]]:
        """Return the samples that differ between source and cleaned video, for each frame and component."""
        before, after = decode(self.source, self.found), decode(self.cleaned, survey_video(self.cleaned))
        assert len(before) == len(after)
        return [tuple(a != b for a, b in zip(*pair, strict=True)) for pair in zip(before, after, strict=True)]


def decode(path: Path, survey: Survey) -> list[tuple[Plane, ...]]:
    """Return all samples of all frames, as planes."""
    reader = ComponentReader()
    with SegmentReader(path, survey) as frames:
        read = frames.range(0, len(survey.timeline))
        return [
            tuple(plane.copy() for plane in reader.get_components(reader.make_planar(frame.frame))) for frame in read
        ]


def list_touched(overlays: Sequence[Overlay], shape: Shape, survey: Survey, frame: int, component: int) -> Plane:
    """Return the samples of that component under an overlay in that frame."""
    page = np.zeros((survey.picture.height_px, survey.picture.width_px), bool)
    whole = reduce_mask(page, shape, component)
    for overlay in overlays:
        if overlay.is_shown(frame):
            whole[shape.get_part(overlay.box, component)] |= overlay.layers[component].mask
    return whole


@pytest.mark.parametrize(
    ("pixel_format", "size", "codec"),
    [
        ("yuv420p", "96x72", "ffv1"),
        ("yuv420p", "97x73", "ffv1"),
        ("yuv422p10le", "96x72", "ffv1"),
        ("yuv422p10le", "95x71", "ffv1"),
        ("yuv444p16le", "96x72", "ffv1"),
        ("gray", "97x73", "ffv1"),
        ("gray10le", "96x72", "ffv1"),
        ("gbrp", "97x73", "ffv1"),
        ("nv12", "96x72", "rawvideo"),
        ("yuyv422", "96x72", "rawvideo"),
        ("yuvj420p", "97x73", "mjpeg"),
    ],
)
def test_samples_outside_overlays_are_unchanged(
    source: MakeSource, tmp_path: Path, pixel_format: str, size: str, codec: str
) -> None:
    run = Run(source(pixel_format, size, codec), tmp_path, (SIGN, FAR))
    run.clean()
    run.join()
    for frame, components in enumerate(run.list_changed()):
        for number, differs in enumerate(components):
            under = list_touched(run.overlays, run.shape, run.found, frame, number)
            assert not differs[~under].any(), f"frame {frame}, component {number}"
        luma = list_touched(run.overlays, run.shape, run.found, frame, 0)
        assert components[0][luma].mean() > 0.5, "hardly anything was filled"


@pytest.mark.parametrize("method", ["auto", "unblend", "temporal", "spatial"])
def test_cleaned_frames_do_not_depend_on_segment_bounds(source: MakeSource, tmp_path: Path, method: str) -> None:
    results = []
    for count in (1, 4):
        run = Run(source(), tmp_path / str(count), (SIGN, FAR), method=method, segments=count)
        assert len(run.planned.segments) == count
        run.clean()
        run.join()
        results.append(decode(run.cleaned, survey_video(run.cleaned)))
    assert all(np.array_equal(a, b) for pair in zip(*results, strict=True) for a, b in zip(*pair, strict=True))


def test_frames_without_overlay_are_unchanged(source: MakeSource, tmp_path: Path) -> None:
    run = Run(source(), tmp_path, (FAR,))
    run.clean()
    run.join()
    is_changed = [any(part.any() for part in components) for components in run.list_changed()]
    assert is_changed == [frame in FAR[1][0] or frame in FAR[1][1] for frame in range(FRAMES)]


def test_recovered_samples_are_counted_by_source(source: MakeSource, tmp_path: Path) -> None:
    run = Run(source(), tmp_path, (SIGN,))
    results = [result.values for result in run.clean()]
    names = ("samples_unblended", "samples_temporal", "samples_spatial")
    counted = sum(int(str(values[name])) for values in results for name in names)
    assert counted == FRAMES * sum(int(layer.mask.sum()) for layer in run.overlays[0].layers)
    assert all(values["samples_unblended"] == 0 for values in results)  # nobody knows the opacity
    assert [values["segment"] for values in results] == [0, 1, 2]


def test_segments_have_the_same_bytes_in_any_order(source: MakeSource, tmp_path: Path) -> None:
    runs = [Run(source(), tmp_path / name) for name in ("one", "other")]
    for run, items in zip(runs, (list, lambda found: list(reversed(found))), strict=True):
        for item in items(make_segment_items(run.planned)):
            run.run(CleanStage(), item)
        run.join()
    files = [path.relative_to(runs[0].output) for path in runs[0].output.rglob("*.mp4")]
    assert len(files) == 3
    files.append(runs[0].cleaned.relative_to(runs[0].output))
    assert all((runs[0].output / path).read_bytes() == (runs[1].output / path).read_bytes() for path in files)


def test_video_without_overlays_is_copied(source: MakeSource, tmp_path: Path) -> None:
    run = Run(source(), tmp_path, ())
    assert run.planned.segments == ()
    joined = run.join()
    assert (joined.values["copied"], joined.values["reason"], joined.values["frames"]) == (True, "given", FRAMES)
    assert run.cleaned.read_bytes() == run.source.read_bytes()


def test_missing_or_altered_segment_is_an_error(source: MakeSource, tmp_path: Path) -> None:
    run = Run(source(), tmp_path)
    run.clean()
    report = run.output / run.planned.work.report_path(run.planned.segments[2])
    said = report.read_text()
    report.write_text(json.dumps(json.loads(said) | {"first_digest": "0" * 32}))
    with pytest.raises(SegmentError):
        run.join()
    report.unlink()
    with pytest.raises(BadInput, match=r"1 of 3 segments are missing \(2\)"):
        run.join()
    report.write_text(said)
    (run.output / run.planned.work.segment_path(run.planned.segments[1])).unlink()
    with pytest.raises(SegmentError, match=r"0001\.mp4"):
        run.join()


def test_truncated_video_is_cleaned_and_reported(source: MakeSource, tmp_path: Path) -> None:
    data, short = source().read_bytes(), tmp_path / "short.mkv"
    short.write_bytes(data[: len(data) * 6 // 10])
    prepare, values = PrepareStage(PrepareParams(detector="mask", mask="10,8,26x13")), {}
    for path in (source(), short):
        (item,) = make_prepare_items([VideoSource("video", path.name, path)])
        private = tmp_path / "private" / path.stem
        values[path] = prepare.run(item, Workspace(private, private, private)).values
    columns = ("truncated", "missing", "stated_seconds")
    assert [values[source()][name] for name in columns] == [False, None, None]
    assert values[short]["truncated"] is True
    assert str(values[short]["missing"]).startswith("the end of the file is missing: ")
    assert values[short]["stated_seconds"] == pytest.approx(FRAMES / 25, abs=0.1)
    run = Run(short, tmp_path)
    run.clean()
    joined = run.join().values
    assert joined["missing"] == values[short]["missing"]
    assert 6 <= int(str(joined["frames"])) == values[short]["frames"] < FRAMES


def test_work_survives_serialization_in_small_items(source: MakeSource, tmp_path: Path) -> None:
    run = Run(source(), tmp_path)
    payload = json.loads(json.dumps(VIDEO_PAYLOAD.dump(run.planned.work, run.planned.segments)))
    assert VIDEO_PAYLOAD.load(payload) == (run.planned.work, run.planned.segments)
    many = [Segment(number, 10 * number, 10 * number + 10, 0, 0) for number in range(1000)]
    items = make_segment_items(PlannedVideo(run.known, run.planned.work, tuple(many)))
    assert len({item.id for item in items}) == 1000
    assert max(len(json.dumps(item.payload)) for item in items) < 2000


# Paints what is white in the masks grey, and notes which device it was given.
PAINTER = """
import pathlib, sys, cv2
pictures, masks, output, device = sys.argv[1:5]
for file in sorted(pathlib.Path(pictures).glob("*.png")):
    picture, mask = cv2.imread(str(file)), cv2.imread(str(pathlib.Path(masks) / file.name), cv2.IMREAD_GRAYSCALE)
    picture[mask > 0] = 128
    picture[mask == 0] = 255
    cv2.imwrite(str(pathlib.Path(output) / file.name), picture)
with open(__file__ + ".devices", "a") as notes:
    print(device, len(list(pathlib.Path(pictures).glob("*.png"))), file=notes)
"""


@pytest.fixture
def painter(tmp_path: Path) -> Path:
    script = tmp_path / "paint it.py"
    script.write_text(PAINTER, encoding="utf-8")
    return script


def make_command(script: Path) -> str:
    return shlex.join([sys.executable, str(script)]) + " {input} {masks} {output} {device}"


def test_program_changes_only_samples_under_masks(
    source: MakeSource, tmp_path: Path, painter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_SLOT", "3")
    run = Run(source(size="97x73"), tmp_path, (SIGN, FAR), method="command", command=make_command(painter))
    stage = CleanStage(devices=2)
    assert stage.needs().max_slots == 2
    run.clean(stage)
    run.join()
    after = decode(run.cleaned, survey_video(run.cleaned))
    for frame, components in enumerate(run.list_changed()):
        under = list_touched(run.overlays, run.shape, run.found, frame, 0)
        assert not components[0][~under].any()
        assert np.abs(after[frame][0][under].astype(int) - 126).max() <= 1  # 128 of RGB in limited range
    devices = [line.split() for line in painter.with_name("paint it.py.devices").read_text().splitlines()]
    assert {device for device, _ in devices} == {"1"}
    assert {count for _, count in devices} == {"16", "18"}  # six frames, and ten of those before and after


def test_keys_depend_on_the_program_but_not_on_devices(source: MakeSource, tmp_path: Path, painter: Path) -> None:
    text = make_command(painter)
    one, other = (
        Run(source(), tmp_path / name, method="command", command=command)
        for name, command in (("a", text), ("b", text + " --quick"))
    )
    assert one.planned.work != other.planned.work
    assert replace(one.planned.work, command=other.planned.work.command) == other.planned.work
    assert make_segment_items(one.planned)[0].payload != make_segment_items(other.planned)[0].payload


def test_memory_for_programs_includes_the_whole_segment(source: MakeSource, tmp_path: Path, painter: Path) -> None:
    by_program = Run(source(), tmp_path / "a", method="command", command=make_command(painter)).planned
    long = replace(by_program, segments=(Segment(0, 0, 10_000, 0, 10_000),))
    assert estimate_segment_bytes(long) - estimate_segment_bytes(by_program) > 9000 * 96 * 72
    assert {item.memory_bytes for item in make_segment_items(long)} == {estimate_segment_bytes(long)}


@pytest.mark.parametrize("folder", ["surveys", "overlays", "segments"])
def test_stages_refuse_symlinks_out_of_the_output_folder(source: MakeSource, tmp_path: Path, folder: str) -> None:
    run = Run(source(), tmp_path)
    run.clean()
    (run.output / folder).rename(tmp_path / folder)
    (run.output / folder).symlink_to(tmp_path / folder)
    with pytest.raises(PermissionError, match="leads out of the output folder"):
        run.clean() if folder == "overlays" else run.join()


@pytest.mark.parametrize("stage", [JoinStage, PreviewStage, CleanStage])
def test_stages_refuse_a_video_id_that_leads_out_of_the_output_folder(
    source: MakeSource, tmp_path: Path, stage: type[Stage]
) -> None:
    run = Run(source(), tmp_path)
    payload = VIDEO_PAYLOAD.dump(run.planned.work, run.planned.segments[:1]) | {"found": 1, "reason": ""}
    payload["work"]["video"] = "../../elsewhere/video"
    with pytest.raises(PermissionError, match="leads out of the output folder"):
        run.run(stage(), Item("video", payload, (str(run.source),)))
