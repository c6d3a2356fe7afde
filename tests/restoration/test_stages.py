"""Test the stages of a tape: diagnosis, segments, join and previews."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult, Workspace
from tasks.media.segment_stages.preview_stage import make_preview_item
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.plan import Segment
from tasks.media.segments.source import save_survey, survey_video
from tasks.restoration.diagnosis_stage import DiagnosedTape, DiagnosisParams, DiagnosisStage
from tasks.restoration.join_stage import JoinStage, make_bare_item, make_join_item
from tasks.restoration.options import TapeOptions
from tasks.restoration.planning import PlannedTape
from tasks.restoration.preview_stage import PreviewParams, PreviewStage
from tasks.restoration.segment_stage import SegmentStage, list_segment_items
from tasks.restoration.tapes import Tape
from tasks.restoration.work import TAPE_PAYLOAD, TapeWork, cut_tape
from tests.restoration.conftest import BOB, DENOISE, QUICK, decode_video, make_chain, make_pipeline
from tests.restoration.tapes import FAIR

CHAIN = make_chain(BOB, DENOISE, ratio=2)


class Run:
    """An output folder, and the stages of one tape in it; outputs are published like those of the engine."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source, self.output = source, folder / "output"
        survey = survey_video(source, tolerant=True)
        path = self.output / "surveys" / "tape.npz"
        path.parent.mkdir(parents=True)
        save_survey(survey, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.work = TapeWork(
            tape="tape",
            folder="segments/tape",
            survey="surveys/tape.npz",
            digest=digest,
            chain=CHAIN,
            encoder=QUICK,
            engine="ffmpeg",
            identity="",
            suffix=".mp4",
            preset="vhs_standard",
        )
        self.segments = make_pipeline(source, folder, CHAIN, 3, tolerant=True).segments
        self._folder = folder

    def plan(self, segments: Sequence[Segment] | None = None) -> PlannedTape:
        work = self.work
        diagnosed = DiagnosedTape(
            Tape("tape", "tape.mkv", TapeOptions()), self.source, FAIR, work.survey, work.digest, {}, None
        )
        return PlannedTape(diagnosed, work, tuple(segments or self.segments), "asked for")

    def restore(self) -> list[StageResult]:
        stage = SegmentStage()
        return [self._run(stage, item) for item in list_segment_items(self.plan())]

    def join(self) -> StageResult:
        return self._run(JoinStage(), make_join_item(self.plan()))

    def _run(self, stage, item):
        private = self._folder / "private" / stage.name / item.id
        (private / "scratch").mkdir(parents=True, exist_ok=True)
        workspace = Workspace(private / "outputs", private / "scratch", self.output)
        result = stage.run(item, workspace)
        for path in [path for path in workspace.outputs.rglob("*") if path.is_file()]:  # as the engine publishes them
            target = self.output / path.relative_to(workspace.outputs)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        return result


@pytest.fixture
def run(make_tape: Callable[[str], Path], tmp_path: Path) -> Run:
    return Run(make_tape("noisy-interlaced.mkv"), tmp_path)


def test_restored_segments_are_joined_to_a_tape(run: Run) -> None:
    restored = run.restore()
    assert [result.values["segment"] for result in restored] == [0, 1, 2]
    frames = 2 * len(survey_video(run.source).timeline)
    assert sum(result.values["frames"] for result in restored) == frames
    joined = run.join()
    assert (joined.values["frames"], joined.values["segments"], joined.values["missing"]) == (
        frames,
        3,
        None,
    )
    assert len(decode_video(run.output / "restored" / "tape.mp4")) == frames
    assert joined.values["chain"] == [f"{step.filter}: {step.reason}" for step in CHAIN.steps]


def truncate(path: Path, copy: Path) -> Path:
    """Write a copy without the last 40 % of its bytes."""
    data = path.read_bytes()
    copy.write_bytes(data[: len(data) * 6 // 10])
    return copy


def test_diagnosis_reports_a_truncated_tape(make_tape: Callable[[str], Path], tmp_path: Path) -> None:
    whole = make_tape("noisy-interlaced.mkv")
    stage, columns = DiagnosisStage(DiagnosisParams(auto_detect=False)), ("truncated", "missing", "stated_seconds")

    def diagnose(path: Path) -> StageResult:
        private = tmp_path / path.stem
        return stage.run(Item("tape", {}, (str(path),)), Workspace(private, private, private))

    values = diagnose(whole).values
    assert [values[name] for name in columns] == [False, None, None]
    result = diagnose(truncate(whole, tmp_path / "short.mkv"))
    assert result.values["truncated"] is True
    assert str(result.values["missing"]).startswith("the end of the file is missing: ")
    assert result.values["stated_seconds"] == pytest.approx(24 / 25, abs=0.1)
    assert result.detail["missing"] == result.values["missing"]


def test_truncated_tape_is_restored_and_reported(make_tape: Callable[[str], Path], tmp_path: Path) -> None:
    run = Run(truncate(make_tape("noisy-interlaced.mkv"), tmp_path / "short.mkv"), tmp_path)
    run.restore()
    values = run.join().values
    assert str(values["missing"]).startswith("the end of the file is missing: ")
    assert values["frames"] == 2 * len(survey_video(run.source, tolerant=True).timeline)
    assert 12 <= int(str(values["frames"])) < 48


def test_segment_bytes_do_not_depend_on_earlier_items(
    run: Run, make_tape: Callable[[str], Path], tmp_path: Path
) -> None:
    run.restore()
    other = Run(make_tape("noisy-interlaced.mkv"), tmp_path / "again")
    stage = SegmentStage()
    for item in reversed(list_segment_items(other.plan())):
        other._run(stage, item)
    files = sorted(path.relative_to(run.output) for path in (run.output / "segments").rglob("*.mp4"))
    assert len(files) == 3
    assert [(run.output / path).read_bytes() for path in files] == [
        (other.output / path).read_bytes() for path in files
    ]


def test_missing_segment_is_reported(run: Run) -> None:
    run.restore()
    (run.output / run.work.segment_path(run.segments[1])).unlink()
    with pytest.raises(SegmentError, match=r"0001\.mp4"):
        run.join()
    (run.output / run.work.report_path(run.segments[1])).unlink()
    with pytest.raises(BadInput, match=r"1 of 3 segments are missing \(1\)"):
        run.join()


def test_modified_segment_is_detected(run: Run) -> None:
    run.restore()
    path = run.output / run.work.report_path(run.segments[2])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"first_digest": "0" * 32}))
    with pytest.raises(SegmentError):
        run.join()


def test_changed_tape_is_detected(run: Run, tmp_path: Path) -> None:
    run.restore()
    copy = tmp_path / "changed.mkv"
    copy.write_bytes(run.source.read_bytes() + b"more")
    run.source = copy
    with pytest.raises((SegmentError, BadInput)):
        run.join()


def test_work_round_trips_through_a_payload(run: Run) -> None:
    payload = json.loads(json.dumps(TAPE_PAYLOAD.dump(run.work, run.segments)))
    assert TAPE_PAYLOAD.load(payload) == (run.work, run.segments)


def test_items_of_a_long_tape_are_small(run: Run) -> None:
    """Plan a thousand segments: no item contains the others."""
    many = [Segment(number, 10 * number, 10 * number + 10, 0, 0) for number in range(1000)]
    items = list_segment_items(run.plan(many))
    assert len({item.id for item in items}) == 1000
    assert max(len(json.dumps(item.payload)) for item in items) < 2000


def test_segments_start_at_telecine_cycles(make_tape: Callable[[str], Path]) -> None:
    survey = survey_video(make_tape("telecined.mkv"))
    segments = cut_tape(survey, make_chain(ratio=make_chain().ratio * 4 / 5), 2.0)
    assert all(segment.start_frame % 5 == 0 for segment in segments)


@pytest.mark.parametrize("field", ["survey", "folder"])
def test_join_refuses_a_work_that_names_files_outside_the_output_folder(run: Run, field: str) -> None:
    run.restore()
    shutil.copytree(run.output / "segments", run.output.parent / "segments")
    shutil.copytree(run.output / "surveys", run.output.parent / "surveys")
    item = make_join_item(run.plan())
    item.payload["work"][field] = f"../{item.payload['work'][field]}"
    with pytest.raises(PermissionError, match="leads out of the output folder"):
        run._run(JoinStage(), item)


@pytest.mark.parametrize("folder", ["surveys", "segments"])
def test_join_does_not_follow_a_symlink_out_of_the_output_folder(run: Run, folder: str) -> None:
    run.restore()
    (run.output / folder).rename(run.output.parent / folder)
    (run.output / folder).symlink_to(run.output.parent / folder)
    with pytest.raises(PermissionError, match="leads out of the output folder"):
        run.join()


def test_segments_and_previews_refuse_a_work_that_names_files_outside(run: Run) -> None:
    run.restore()
    run.join()
    shutil.copytree(run.output / "restored", run.output.parent / "restored")
    shutil.copytree(run.output / "surveys", run.output.parent / "surveys")
    work = TAPE_PAYLOAD.dump(run.work, run.segments)["work"]
    forged = make_preview_item(make_bare_item(run.plan().diagnosed), work | {"tape": "../../restored/tape"}, [])
    with pytest.raises(PermissionError, match="leads out of the output folder"):
        run._run(PreviewStage(PreviewParams()), forged)
    segment = list_segment_items(run.plan())[0]
    segment.payload["work"]["survey"] = "../surveys/tape.npz"
    with pytest.raises(PermissionError, match="leads out of the output folder"):
        run._run(SegmentStage(), segment)
