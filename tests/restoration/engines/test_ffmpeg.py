"""The engine that is FFmpeg alone: segments are what one run over the whole tape gives, frame for frame."""

from __future__ import annotations

import dataclasses
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

from ..conftest import BOB, DENOISE, QUICK, chain_of, decoded, step, work_on  # noqa: TID252

Tape = Callable[[str], Path]

SCALE = step("scale", width="256", height="192", flags="lanczos")
FULL = chain_of(BOB, SCALE, ratio=2, width_px=256, height_px=192)
FILM = chain_of(
    step("fieldmatch", order="tff", mode="pc_n"),
    step("decimate", cycle="5"),
    ratio=Fraction(4, 5),
    color_matrix="smpte170m",
)


def in_one_go(source: Path, graph: str) -> list[str]:
    """Digests of the frames that one plain ffmpeg makes of all of ``source``."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(source)]
    command = [*program, "-vf", graph, "-fps_mode", "passthrough", "-c:v", "rawvideo", "-f", "nut", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, av.open(process.stdout) as container:
        return [hash_frame(frame) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("name", "chain", "graph"),
    [
        ("interlaced.mkv", FULL, "setfield=tff,bwdif=send_field:tff:all,scale=256:192:flags=lanczos"),
        ("telecined.mkv", FILM, "setfield=tff,fieldmatch=order=tff:mode=pc_n,decimate"),
        ("interlaced.mkv", chain_of(step("bwdif", mode="send_frame", parity="tff")), "bwdif=send_frame:tff"),
    ],
)
def test_segments_equal_one_ffmpeg_run(name: str, chain: Chain, graph: str, tape: Tape, tmp_path: Path) -> None:
    work = work_on(tape(name), tmp_path, chain, 3)
    assert len(work.segments) == 3
    joined, report = work.join(work.restore(FfmpegEngine()))
    frames = decoded(joined.path)
    assert [digest for _, digest in frames] == in_one_go(tape(name), graph)
    assert len(frames) == report.frames == len(work.clock)
    assert [pts for pts, _ in frames] == work.clock.pts.tolist()
    assert report.late_seconds < 1e-9


def test_bobbing_denoising_and_scaling_in_segments(tape: Tape, tmp_path: Path) -> None:
    """A denoiser over time remembers all that came before: what the cuts change of it is less than can be seen."""
    chain = chain_of(BOB, DENOISE, SCALE, ratio=2, width_px=256, height_px=192, context_frames=6)
    whole = work_on(tape("noisy-interlaced.mkv"), tmp_path / "one", chain)
    cut = work_on(tape("noisy-interlaced.mkv"), tmp_path / "three", chain, 3)
    pictures = []
    for work in (whole, cut):
        joined, _ = work.join(work.restore(FfmpegEngine()))
        with av.open(str(joined.path)) as container:
            pictures.append([frame.to_ndarray().astype(int) for frame in container.decode(video=0)])
    assert len(pictures[0]) == len(pictures[1]) == 48
    differences = [np.abs(one - other).max() for one, other in zip(*pictures, strict=True)]
    assert max(differences) <= 3


@pytest.mark.parametrize("frames", [41, 42, 43, 44])
def test_incomplete_last_telecine_cycle(frames: int, tape: Tape, tmp_path: Path) -> None:
    source = tmp_path / f"{frames}.mkv"
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tape("telecined.mkv"))]
    subprocess.run([*program, "-frames:v", str(frames), "-c", "copy", str(source)], check=True)
    work = work_on(source, tmp_path, FILM, 2)
    reports = work.restore(FfmpegEngine())
    assert sum(report.frames for report in reports) == -(-frames * 4 // 5)


def test_headers_match_the_chain(tape: Tape, tmp_path: Path) -> None:
    chain = chain_of(BOB, SCALE, ratio=2, width_px=256, height_px=192, color_matrix="bt709", sample_aspect="4:3")
    work = work_on(tape("noisy-interlaced.mkv"), tmp_path, chain, 2, QUICK)
    joined, _ = work.join(work.restore(FfmpegEngine()))
    found = survey_video(joined.path).picture
    assert found == get_written_format(chain, work.found.picture)
    assert (found.primaries, found.transfer, found.matrix, found.color_range) == (1, 1, 1, 1)
    assert (found.sample_aspect, found.field_order) == (Fraction(4, 3), "progressive")


def test_headers_match_the_last_setparams(tape: Tape, tmp_path: Path) -> None:
    """Colours of a tape in a new matrix keep the tape's primaries, where a chain says so."""
    tags = step("setparams", colorspace="bt709", color_primaries="bt470bg", color_trc="smpte170m")
    work = work_on(tape("full-range.mkv"), tmp_path, chain_of(tags, color_matrix="bt709"), 1, QUICK)
    joined, _ = work.join(work.restore(FfmpegEngine()))
    found = survey_video(joined.path).picture
    assert (found.primaries, found.transfer, found.matrix) == (5, 6, 1)


@pytest.mark.parametrize(("name", "order"), [("interlaced.mkv", "tff"), ("bottom-field-first.mkv", "bff")])
def test_kept_fields_keep_their_order(name: str, order: str, tape: Tape, tmp_path: Path) -> None:
    chain = chain_of(step("setfield", mode=order), interlaced=True, sample_aspect="12:11")
    work = work_on(tape(name), tmp_path, chain, 2, QUICK)
    joined, _ = work.join(work.restore(FfmpegEngine()))
    assert survey_video(joined.path).picture.field_order == order


def test_colors_are_converted_to_the_matrix_of_the_chain(tape: Tape, tmp_path: Path) -> None:
    """A chain that only names the matrix gets the pixels that one gets that converts to it."""
    source = tape("noisy-interlaced.mkv")
    named = work_on(source, tmp_path / "named", chain_of(color_matrix="bt709"))
    convert = step("scale", in_color_matrix="bt470bg", out_color_matrix="bt709")
    converted = work_on(source, tmp_path / "converted", chain_of(convert, color_matrix="bt709"))
    kept = work_on(source, tmp_path / "kept", chain_of())
    first, second, third = (work.restore(FfmpegEngine())[0].first_digest for work in (named, converted, kept))
    assert first == second != third


def test_full_range_is_converted_to_limited(tape: Tape, tmp_path: Path) -> None:
    work = work_on(tape("full-range.mkv"), tmp_path, chain_of())
    assert work.found.picture.color_range == 2
    work.restore(FfmpegEngine())
    with av.open(str(work.job().output)) as container:
        luma = np.stack([frame.to_ndarray()[:144] for frame in container.decode(video=0)])
    assert (luma.min(), luma.max()) >= (16, 200)
    assert luma.max() <= 236


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((step("hqdn3d", strength="5"),), "option 'strength' to filter 'hqdn3d': Option not found"),
        ((step("unheard_of", strength="5"),), "unheard_of"),
        ((step("nnedi", weights="/no such/file"),), "No weights file provided|/no such/file"),
        ((step("scale", width="320", height="240"),), r"wrote frames of 320x240 yuv420p, but the chain plans 192x144"),
        ((step("select", expr="mod(n,2)"),), "has 12 frames instead of 24"),
    ],
)
def test_failing_chain_is_reported(steps: tuple, words: str, tape: Tape, tmp_path: Path, capsys) -> None:
    work = work_on(tape("interlaced.mkv"), tmp_path, chain_of(*steps))
    with pytest.raises(SegmentError, match=words):
        FfmpegEngine().restore(work.job())
    log = (work.job().scratch / "ffmpeg.log").read_text()
    assert log in capsys.readouterr().err


def test_changed_source_is_an_error(tape: Tape, tmp_path: Path) -> None:
    source = tmp_path / "changed.mkv"
    source.write_bytes(tape("interlaced.mkv").read_bytes())
    work = work_on(source, tmp_path, chain_of())
    with source.open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadInput, match=r"changed\.mkv: has changed"):
        FfmpegEngine().restore(work.job())


def test_source_damaged_in_the_middle_is_an_error(tape: Tape, tmp_path: Path) -> None:
    """What is wrong is the tape, and not the ffmpeg that waits for its frames."""
    source = tmp_path / "damaged.mkv"
    data = bytearray(tape("noisy-interlaced.mkv").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    source.write_bytes(data)
    work = work_on(source, tmp_path, chain_of(BOB, ratio=2))
    with pytest.raises(BadInput, match=r"damaged\.mkv: frame \d+ at [\d.]+ s is damaged"):
        FfmpegEngine().restore(work.job())


def test_tolerated_damage_is_in_the_report(tape: Tape, tmp_path: Path) -> None:
    """Each damaged frame is told by the segment that it belongs to, and by no other that has it as context."""
    source = tmp_path / "damaged.mkv"
    data = bytearray(tape("noisy-interlaced.mkv").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    source.write_bytes(data)
    work = work_on(source, tmp_path, chain_of(BOB, ratio=2, context_frames=24), 2)
    work = dataclasses.replace(work, found=survey_video(source, tolerant=True))
    reports = work.restore(FfmpegEngine())
    with SegmentReader(source, work.found) as reader:
        list(reader.range(0, len(work.found.timeline)))
    assert sum(report.damaged_frames for report in reports) == len(reader.damaged) > 0
    lines = [line for report in reports for line in report.damage]
    assert lines[0].startswith(f"frame {min(reader.damaged)}: ")
