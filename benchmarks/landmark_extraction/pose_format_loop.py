"""pose-format's own extractor on some clips, run by an interpreter that has the old mediapipe which it wants.

    PYTHON benchmarks/landmark_extraction/pose_format_loop.py CLIP...

does what its command ``video_to_pose`` does, and prints a line of JSON a clip. Imports are not counted.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from pose_format.utils.holistic import load_holistic
from simple_video_utils.frames import read_frames_exact
from simple_video_utils.metadata import video_metadata

HANDS = ("LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS")


def look(path: str) -> dict[str, object]:
    """Extract one clip; what it cost, and in how many frames each hand was found."""
    cpu, wall = time.process_time(), time.perf_counter()
    known = video_metadata(path)
    pose = load_holistic(
        read_frames_exact(path),
        fps=known.fps,
        width=known.width,
        height=known.height,
        additional_holistic_config={"model_complexity": 1},
    )
    cost = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    confidence, start = pose.body.confidence[:, 0], 0
    hands = {}
    for component in pose.header.components:
        if component.name in HANDS:
            found = confidence[:, start : start + len(component.points)].max(axis=1) > 0
            hands[component.name] = int(found.sum())
        start += len(component.points)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counts = {"frames": len(confidence), "left": hands[HANDS[0]], "right": hands[HANDS[1]]}
    return {"path": path, **counts, **cost, "peak_memory_bytes": peak}


if __name__ == "__main__":
    for clip in sys.argv[1:]:
        print(json.dumps(look(clip)), flush=True)
