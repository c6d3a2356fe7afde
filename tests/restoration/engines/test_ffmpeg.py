"""Test that segments restored by FFmpeg equal one FFmpeg run over the whole tape."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.planes import hash_frame
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import survey_video
from tasks.restoration.chain import Chain
from tasks.restoration.engines.base import get_written_format
from tasks.restoration.engines.ffmpeg import FfmpegEngine

from ..conftest import BOB, DENOISE, QUICK, decode_video, make_chain, make_pipeline, make_step  # noqa: TID252

MakeTape = Callable[[str], Path]

SCALE = make_step("scale", width="256", height="192", flags="lanczos")
FULL = make_chain(BOB, SCALE, ratio=2, width_px=256, height_px=192)
FILM = make_chain(
    make_step("fieldmatch", order="tff", mode="pc_n"),
    make_step("decimate", cycle="5"),
    ratio=Fraction(4, 5),
    color_matrix="smpte170m",
)


def decode_filtered(source: Path, graph: str) -> list[str]:
    """Return the digests of all frames of ``source``, filtered by one ffmpeg process."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(source)]
    command = [*program, "-vf", graph, "-fps_mode", "passthrough", "-c:v", "rawvideo", "-f", "nut", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, av.open(process.stdout) as container:
        return [hash_frame(frame) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("name", "chain", "graph"),
    [
        ("interlaced.mkv", FULL, "setfield=tff,bwdif=send_field:tff:all,scale=256:192:flags=lanczos"),
        ("telecined.mkv", FILM, "setfield=tff,fieldmatch=order=tff:mode=pc_n,decimate"),
        ("interlaced.mkv", make_chain(make_step("bwdif", mode="send_frame", parity="tff")), "bwdif=send_frame:tff"),
    ],
)
def test_segments_equal_one_ffmpeg_run(
    name: str, chain: Chain, graph: str, make_tape: MakeTape, tmp_path: Path
) -> None:
    pipeline = make_pipeline(make_tape(name), tmp_path, chain, 3)
    assert len(pipeline.segments) == 3
    joined, report = pipeline.join(pipeline.restore(FfmpegEngine()))
    frames = decode_video(joined.path)
    assert [digest for _, digest in frames] == decode_filtered(make_tape(name), graph)
    assert len(frames) == report.frames == len(pipeline.clock)
    assert [pts for pts, _ in frames] == pipeline.clock.pts.tolist()
    assert report.late_seconds < 1e-9


def test_bobbing_denoising_and_scaling_in_segments(make_tape: MakeTape, tmp_path: Path) -> None:
    """Use a recursive temporal denoiser: the influence of cuts must be invisible."""
    chain = make_chain(BOB, DENOISE, SCALE, ratio=2, width_px=256, height_px=192, context_frames=6)
    whole = make_pipeline(make_tape("noisy-interlaced.mkv"), tmp_path / "one", chain)
    segmented = make_pipeline(make_tape("noisy-interlaced.mkv"), tmp_path / "three", chain, 3)
    videos = []
    for pipeline in (whole, segmented):
        joined, _ = pipeline.join(pipeline.restore(FfmpegEngine()))
        with av.open(str(joined.path)) as container:
            videos.append([frame.to_ndarray().astype(int) for frame in container.decode(video=0)])
    assert len(videos[0]) == len(videos[1]) == 48
    differences = [np.abs(one - other).max() for one, other in zip(*videos, strict=True)]
    assert max(differences) <= 3


@pytest.mark.parametrize("frames", [41, 42, 43, 44])
def test_incomplete_last_telecine_cycle(frames: int, make_tape: MakeTape, tmp_path: Path) -> None:
    source = tmp_path / f"{frames}.mkv"
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(make_tape("telecined.mkv"))]
    subprocess.run([*program, "-frames:v", str(frames), "-c", "copy", str(source)], check=True)
    pipeline = make_pipeline(source, tmp_path, FILM, 2)
    reports = pipeline.restore(FfmpegEngine())
    assert sum(report.frames for report in reports) == -(-frames * 4 // 5)


def test_headers_match_the_chain(make_tape: MakeTape, tmp_path: Path) -> None:
    chain = make_chain(BOB, SCALE, ratio=2, width_px=256, height_px=192, color_matrix="bt709", sample_aspect="4:3")
    pipeline = make_pipeline(make_tape("noisy-interlaced.mkv"), tmp_path, chain, 2, QUICK)
    joined, _ = pipeline.join(pipeline.restore(FfmpegEngine()))
    picture = survey_video(joined.path).picture
    assert picture == get_written_format(chain, pipeline.survey.picture)
    assert (picture.primaries, picture.transfer, picture.matrix, picture.color_range) == (1, 1, 1, 1)
    assert (picture.sample_aspect, picture.field_order) == (Fraction(4, 3), "progressive")


def test_headers_match_the_last_setparams(make_tape: MakeTape, tmp_path: Path) -> None:
    """Change only the matrix: primaries are those of the chain's last setparams."""
    tags = make_step("setparams", colorspace="bt709", color_primaries="bt470bg", color_trc="smpte170m")
    pipeline = make_pipeline(make_tape("full-range.mkv"), tmp_path, make_chain(tags, color_matrix="bt709"), 1, QUICK)
    joined, _ = pipeline.join(pipeline.restore(FfmpegEngine()))
    picture = survey_video(joined.path).picture
    assert (picture.primaries, picture.transfer, picture.matrix) == (5, 6, 1)


@pytest.mark.parametrize(("name", "order"), [("interlaced.mkv", "tff"), ("bottom-field-first.mkv", "bff")])
def test_kept_fields_keep_their_order(name: str, order: str, make_tape: MakeTape, tmp_path: Path) -> None:
    chain = make_chain(make_step("setfield", mode=order), interlaced=True, sample_aspect="12:11")
    pipeline = make_pipeline(make_tape(name), tmp_path, chain, 2, QUICK)
    joined, _ = pipeline.join(pipeline.restore(FfmpegEngine()))
    assert survey_video(joined.path).picture.field_order == order


def test_colors_are_converted_to_the_matrix_of_the_chain(make_tape: MakeTape, tmp_path: Path) -> None:
    """Compare a chain that only sets the matrix with one that converts to it explicitly."""
    source = make_tape("noisy-interlaced.mkv")
    named = make_pipeline(source, tmp_path / "named", make_chain(color_matrix="bt709"))
    convert = make_step("scale", in_color_matrix="bt470bg", out_color_matrix="bt709")
    converted = make_pipeline(source, tmp_path / "converted", make_chain(convert, color_matrix="bt709"))
    kept = make_pipeline(source, tmp_path / "kept", make_chain())
    first, second, third = (pipeline.restore(FfmpegEngine())[0].first_digest for pipeline in (named, converted, kept))
    assert first == second != third


def test_full_range_is_converted_to_limited(make_tape: MakeTape, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_tape("full-range.mkv"), tmp_path, make_chain())
    assert pipeline.survey.picture.color_range == 2
    pipeline.restore(FfmpegEngine())
    with av.open(str(pipeline.make_job().output)) as container:
        luma = np.stack([frame.to_ndarray()[:144] for frame in container.decode(video=0)])
    assert (luma.min(), luma.max()) >= (16, 200)
    assert luma.max() <= 236


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((make_step("hqdn3d", strength="5"),), "option 'strength' to filter 'hqdn3d': Option not found"),
        ((make_step("unheard_of", strength="5"),), "unheard_of"),
        ((make_step("nnedi", weights="/no such/file"),), "No weights file provided|/no such/file"),
        (
            (make_step("scale", width="320", height="240"),),
            r"wrote frames of 320x240 yuv420p, but the chain plans 192x144",
        ),
        ((make_step("select", expr="mod(n,2)"),), "has 12 frames instead of 24"),
    ],
)
def test_failing_chain_is_reported(steps: tuple, words: str, make_tape: MakeTape, tmp_path: Path, capsys) -> None:
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, make_chain(*steps))
    with pytest.raises(SegmentError, match=words):
        FfmpegEngine().restore(pipeline.make_job())
    log = (pipeline.make_job().scratch / "ffmpeg.log").read_text()
    assert log in capsys.readouterr().err


def test_changed_source_is_an_error(make_tape: MakeTape, tmp_path: Path) -> None:
    source = tmp_path / "changed.mkv"
    source.write_bytes(make_tape("interlaced.mkv").read_bytes())
    pipeline = make_pipeline(source, tmp_path, make_chain())
    with source.open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadInput, match=r"changed\.mkv: has changed"):
        FfmpegEngine().restore(pipeline.make_job())


def test_source_damaged_in_the_middle_is_an_error(make_tape: MakeTape, tmp_path: Path) -> None:
    """Attribute the error to the tape, not to the ffmpeg process that waits for frames."""
    source = tmp_path / "damaged.mkv"
    data = bytearray(make_tape("noisy-interlaced.mkv").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    source.write_bytes(data)
    pipeline = make_pipeline(source, tmp_path, make_chain(BOB, ratio=2))
    with pytest.raises(BadInput, match=r"damaged\.mkv: frame \d+ at [\d.]+ s is damaged"):
        FfmpegEngine().restore(pipeline.make_job())


def test_tolerated_damage_is_in_the_report(make_tape: MakeTape, tmp_path: Path) -> None:
    """Report each damaged frame in its own segment only, not in those that read it as context."""
    source = tmp_path / "damaged.mkv"
    data = bytearray(make_tape("noisy-interlaced.mkv").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    source.write_bytes(data)
    pipeline = make_pipeline(source, tmp_path, make_chain(BOB, ratio=2, context_frames=24), 2, tolerant=True)
    reports = pipeline.restore(FfmpegEngine())
    with SegmentReader(source, pipeline.survey) as reader:
        list(reader.range(0, len(pipeline.survey.timeline)))
    assert sum(report.damaged_frames for report in reports) == len(reader.damaged) > 0
    lines = [line for report in reports for line in report.damage]
    assert lines[0].startswith(f"frame {min(reader.damaged)}: ")
