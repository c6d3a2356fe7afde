"""Test the engine that runs external programs, with ffmpeg and small scripts."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.media.segments.errors import SegmentError
from tasks.media.segments.source import survey_video
from tasks.restoration.chain import Chain
from tasks.restoration.engines.between import split_at_scaling
from tasks.restoration.engines.command import CommandEngine
from tasks.restoration.engines.ffmpeg import FfmpegEngine
from tasks.restoration.engines.template import PLACEHOLDERS, CommandTemplate, Form, check_command

from ..conftest import BOB, DENOISE, LOSSLESS, QUICK, decode_video, make_chain, make_pipeline, make_step  # noqa: TID252

MakeTape = Callable[[str], Path]

FFMPEG = f"{shlex.quote(imageio_ffmpeg.get_ffmpeg_exe())} -v error -nostdin -i {{input}}"
COPY = f"{FFMPEG} -c copy {{output}}"
TWICE = f"{FFMPEG} -vf scale=iw*2:ih*2:flags=neighbor -c:v ffv1 {{output}}"
SMALL = {"width_px": 96, "height_px": 72}
SHRINK = make_step("scale", width="96", height="72", flags="area")

# Name -> Python code; ``files`` are the input images, ``made`` is the output folder.
SCRIPTS = {
    "copies": "for file in files: shutil.copy(file, made / file.name)",
    "renames": "for file in files: shutil.copy(file, made / f'{file.stem}_restored.png')",
    "drops one": "for file in files[:3] + files[4:]: shutil.copy(file, made / file.name)",
    "adds one": "for file in files: shutil.copy(file, made / file.name)\nshutil.copy(file, made / 'extra.png')",
    "writes nothing": "",
    "makes a folder": "made /= 'restored_imgs'\nfor file in files: shutil.copy(file, made / file.name)",
    "breaks one": "for file in files: shutil.copy(file, made / file.name)\n(made / file.name).write_bytes(b'no PNG')",
    "changes size": "import cv2\nfor n, file in enumerate(files):\n"
    "    cv2.imwrite(str(made / file.name), cv2.resize(cv2.imread(str(file)), (40, 30) if n == 2 else (60, 40)))",
    "fails": "print('no licence for this machine', file=sys.stderr)\nsys.exit(7)",
    "crashes": "import os\nos.abort()",
}
START = "import pathlib, shutil, sys\ngiven, made = map(pathlib.Path, sys.argv[1:3])\nfiles = sorted(given.iterdir())\n"


def write_program(folder: Path, text: str, *arguments: str) -> str:
    """Write a program that runs ``text``, and return its command."""
    path = folder / "a program.py"
    path.write_text(START + text)
    return shlex.join([sys.executable, str(path), "{input}", "{output}", *arguments])


def make_engine(text: str, form: Form = "clip", results: str = "") -> CommandEngine:
    template = CommandTemplate(text, form, results)
    assert check_command(template) == []
    return CommandEngine(template)


@pytest.mark.parametrize("chain", [make_chain(BOB, SHRINK, ratio=2, **SMALL), make_chain(SHRINK, **SMALL)])
def test_identity_program_keeps_all_frames(chain: Chain, make_tape: MakeTape, tmp_path: Path) -> None:
    """Compare with the result without a program: context, trimming and color must be equal."""
    pipeline = make_pipeline(make_tape("noisy-interlaced.mkv"), tmp_path, chain, 2)
    plain, _ = pipeline.join(pipeline.restore(FfmpegEngine()))
    before = decode_video(plain.path)
    joined, report = pipeline.join(pipeline.restore(make_engine(COPY)))
    assert decode_video(joined.path) == before
    assert report.frames == len(pipeline.clock)


def test_output_of_upscaling_program_is_scaled_to_the_chain(make_tape: MakeTape, tmp_path: Path) -> None:
    chain = make_chain(BOB, ratio=2, width_px=160, height_px=120, color_matrix="bt709")
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, chain, 2, QUICK)
    joined, _ = pipeline.join(pipeline.restore(make_engine(TWICE)))
    found = survey_video(joined.path)
    assert (found.picture.width_px, found.picture.height_px, found.picture.matrix) == (160, 120, 1)
    assert len(found.timeline) == len(pipeline.clock)


@pytest.mark.parametrize(("name", "results"), [("copies", ""), ("renames", ""), ("makes a folder", "restored_imgs")])
def test_program_with_images_keeps_the_frames(name: str, results: str, make_tape: MakeTape, tmp_path: Path) -> None:
    """Allow for differences of a code by the conversion to 8-bit RGB and back."""
    chain = make_chain(BOB, SHRINK, ratio=2, **SMALL)
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, chain, 2)
    plain, _ = pipeline.join(pipeline.restore(FfmpegEngine()))
    before = read_luma(plain.path)
    joined, _ = pipeline.join(pipeline.restore(make_engine(write_program(tmp_path, SCRIPTS[name]), "frames", results)))
    after = read_luma(joined.path)
    assert before.shape == after.shape
    differences = np.abs(before - after)
    assert (differences > 1).mean() < 0.005  # RGB clips codes above white and colors out of gamut
    assert differences.mean() < 0.02


@pytest.mark.parametrize("form", ["frames", "clip"])
def test_program_keeps_colors_if_the_chain_sets_the_matrix(form: Form, make_tape: MakeTape, tmp_path: Path) -> None:
    """Use wrong tags in the source: the matrix of the chain applies before and after the program."""
    options = {
        "in_color_matrix": "bt470bg",
        "out_color_matrix": "bt709",
        "flags": "bilinear+accurate_rnd+full_chroma_int",
    }
    chain = make_chain(make_step("scale", width="96", height="72", **options), color_matrix="bt709", **SMALL)
    wrong_tags = (
        make_step("setparams", colorspace="bt709"),
        make_step("hue", s="2"),
        make_step("format", pix_fmts="yuv444p"),
    )
    pipeline = make_pipeline(
        make_tape("interlaced.mkv"), tmp_path, dataclasses.replace(chain, steps=(*wrong_tags, *chain.steps))
    )
    command = (
        write_program(tmp_path, SCRIPTS["copies"])
        if form == "frames"
        else f"{FFMPEG} -pix_fmt gbrp -c:v ffv1 {{output}}"
    )
    videos = []
    for engine in (FfmpegEngine(), make_engine(command, form)):
        engine.restore(pipeline.make_job())
        with av.open(str(pipeline.make_job().output)) as container:
            videos.append(np.stack([frame.to_ndarray().astype(int) for frame in container.decode(video=0)]))
    assert np.abs(videos[0] - videos[1]).mean() < 0.2  # with the wrong matrix 0.7


def read_luma(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([frame.to_ndarray()[: frame.height] for frame in frames]).astype(int)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("drops one", r"got 24 images and wrote none for 1, the first is 00000003\.png"),
        ("adds one", r"wrote too many images: 1 extra, the first is extra\.png"),
        ("writes nothing", r"exited without an error, but wrote no image \(\.png\) into made"),
        ("breaks one", r"the image 00000023\.png written by python[\d.]* cannot be read"),
        ("changes size", r"frame 2 for ffmpeg is 40x30 rgb24, not 60x40 rgb24"),
        ("fails", r"python[\d.]* ended with exit status 7: no licence for this machine"),
        ("crashes", r"python[\d.]* was ended by SIGABRT"),
    ],
)
def test_failures_of_programs_with_images(name: str, words: str, make_tape: MakeTape, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, make_chain(SHRINK, **SMALL))
    with pytest.raises(SegmentError, match=words):
        make_engine(write_program(tmp_path, SCRIPTS[name]), "frames").restore(pipeline.make_job())
    assert list(pipeline.make_job().scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{FFMPEG} -vf \"select='not(eq(n,5))'\" -c:v ffv1 {{output}}", r"got 24 frames and wrote 23: 1 missing"),
        (f"{FFMPEG} -vf fps=30 -c:v ffv1 {{output}}", r"got 24 frames and wrote \d+: \d+ too many"),
        (f"{FFMPEG} -f null {{output}}", r"exited without an error, but wrote no clip: it must write the file"),
        (f"{FFMPEG} -an -frames:v 3 -f rawvideo {{output}}", r"the clip written by \S* cannot be read: made\.mkv: "),
        (f"{FFMPEG} -vf unheard_of {{output}}", r"ended with exit status \d+: Error opening output files: Filter not"),
    ],
)
def test_failures_of_programs_with_clips(text: str, words: str, make_tape: MakeTape, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, make_chain(SHRINK, **SMALL))
    with pytest.raises(SegmentError, match=words):
        make_engine(text).restore(pipeline.make_job())


def test_program_output_is_in_the_item_log(make_tape: MakeTape, tmp_path: Path, capfd) -> None:
    pipeline = make_pipeline(make_tape("full-range.mkv"), tmp_path, make_chain(SHRINK, **SMALL))
    text = "print('model loaded')\n" + SCRIPTS["copies"]
    make_engine(write_program(tmp_path, text), "frames").restore(pipeline.make_job())
    assert "model loaded" in capfd.readouterr().err


def test_placeholders_are_replaced(make_tape: MakeTape, tmp_path: Path) -> None:
    text = SCRIPTS["copies"] + "\npathlib.Path(sys.argv[3]).write_text('|'.join(sys.argv[4:]))"
    note = tmp_path / "it's a note.txt"
    text = write_program(tmp_path, text, str(note), "{width}x{height}", "{fps}", "{{a}}", "$HOME;true")
    pipeline = make_pipeline(make_tape("telecined.mkv"), tmp_path, make_chain(SHRINK, **SMALL))
    make_engine(text, "frames").restore(pipeline.make_job())
    size, fps, *others = note.read_text().split("|")
    assert (size, others) == ("96x72", ["{a}", "$HOME;true"])
    assert float(fps) == pytest.approx(30_000 / 1001, rel=0.001)


def test_program_runs_in_a_new_group_and_our_folder(make_tape: MakeTape, tmp_path: Path) -> None:
    note = tmp_path / "note"
    text = f"import os\npathlib.Path({str(note)!r}).write_text(f'{{os.getpgid(0) == os.getpid()}} {{os.getcwd()}}')\n"
    pipeline = make_pipeline(make_tape("full-range.mkv"), tmp_path, make_chain(SHRINK, **SMALL))
    make_engine(write_program(tmp_path, text + SCRIPTS["copies"]), "frames").restore(pipeline.make_job())
    assert note.read_text() == f"True {Path.cwd()}"


def test_chain_that_keeps_fields_is_refused(make_tape: MakeTape, tmp_path: Path) -> None:
    pipeline = make_pipeline(make_tape("interlaced.mkv"), tmp_path, make_chain(interlaced=True), settings=LOSSLESS)
    with pytest.raises(SegmentError, match="this chain keeps fields: choose a deinterlacer"):
        make_engine(COPY).restore(pipeline.make_job())


def test_program_runs_before_the_scaling() -> None:
    matrix = make_step("scale", out_color_matrix="bt709")
    sharpen = make_step("unsharp", luma_amount="0.5")
    assert split_at_scaling((BOB, matrix, DENOISE, SHRINK, sharpen)) == ((BOB, matrix, DENOISE), (SHRINK, sharpen))
    assert split_at_scaling((BOB, DENOISE)) == ((BOB, DENOISE), ())


def test_form_and_results_folder_are_checked() -> None:
    text = "cat {input} {output}"
    assert check_command(CommandTemplate(text, "frames", "restored_imgs")) == []
    foreign, missing = check_command(CommandTemplate("cat {input} {masks}"))
    assert (foreign.given, foreign.allowed) == (
        "the placeholder {masks}",
        "{input}, {output}, {width}, {height}, {fps}",
    )
    assert missing.allowed == f"a command with {{output}}: {PLACEHOLDERS['output']}"
    unknown, results = check_command(CommandTemplate(text, "film", "../x"), "--command")  # type: ignore[arg-type]
    assert str(unknown) == "--command form: 'film'; allowed: clip or frames"
    assert str(results).startswith("--command results: '../x'; allowed: a folder within {output}")
