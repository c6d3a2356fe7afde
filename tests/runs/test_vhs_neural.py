"""Run vhs_batch with a network: upscale a tiny tape in slots, and refuse unusable options."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest

from examples.demo_data import find_clip
from tests.runs.bench import Bench

FLOW = "flows.vhs_batch"
FILTERS = "scale=96:72,setpts=N/(50*TB),fps=50,trim=end_frame=50,tinterlace=interleave_top,setsar=1"

needs_ncnn = pytest.mark.skipif(
    importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed: the extra neural"
)


def make_tape(folder: Path) -> Path:
    """Create one second of 96x72 fields."""
    folder.mkdir()
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(find_clip("bikes.mp4"))]
    subprocess.run([*program, "-vf", FILTERS, "-c:v", "ffv1", str(folder / "tiny.mkv")], check=True)
    return folder


def build_options(bench: Bench, *others: object) -> tuple[object, ...]:
    return ("--input", bench.folder / "shelf", "--output-dir", bench.output, "--height", 144, *others)


def read_frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)])


@needs_ncnn
def test_network_upscales_a_tape(bench: Bench) -> None:
    make_tape(bench.folder / "shelf")
    assert bench.run(*build_options(bench, "--engine", "neural", "--workers", 1), flow=FLOW) == 0
    assert bench.count_items() == (4, 0, 0, 0)
    [tape] = [row for row in pq.read_table(bench.output / "items.parquet").to_pylist() if row["stage"] == "tapes"]
    assert (tape["width_px"], tape["height_px"], tape["frames"]) == (192, 144, 50)
    upscaled = read_frames(bench.output / "restored" / "tiny.mkv")
    assert upscaled.shape == (50, 144, 192)
    assert bench.run(*build_options(bench, "--workers", 1), flow=FLOW) == 0
    assert bench.count_items() == (3, 1, 0, 0)  # the measurement is cached
    differences = np.abs(upscaled - read_frames(bench.output / "restored" / "tiny.mkv"))
    assert 0.2 < differences.mean() < 8  # the same frames from another upscaler


def test_unusable_networks_are_refused(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    make_tape(bench.folder / "shelf")
    assert bench.run(*build_options(bench, "--engine", "neural", "--weights", "span-x3"), flow=FLOW) == 2
    log = capsys.readouterr().err
    assert "--weights: 'span-x3'" in log
    assert "Traceback" not in log
    assert not bench.output.exists()
