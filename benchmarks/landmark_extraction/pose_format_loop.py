"""pose-format's extractor on some clips, run by an interpreter with the old mediapipe that it needs.

    PYTHON benchmarks/landmark_extraction/pose_format_loop.py CLIP...

does the same as its command ``video_to_pose``, and prints a line of JSON per clip. Imports are not measured.
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


def measure_clip(path: str) -> dict[str, object]:
    """Extract one clip; return its cost and the frames with each hand."""
    cpu, wall = time.process_time(), time.perf_counter()
    metadata = video_metadata(path)
    pose = load_holistic(
        read_frames_exact(path),
        fps=metadata.fps,
        width=metadata.width,
        height=metadata.height,
        additional_holistic_config={"model_complexity": 1},
    )
    cost = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    confidence, start = pose.body.confidence[:, 0], 0
    hands = {}
    for component in pose.header.components:
        if component.name in HANDS:
            is_detected = confidence[:, start : start + len(component.points)].max(axis=1) > 0
            hands[component.name] = int(is_detected.sum())
        start += len(component.points)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counts = {"frames": len(confidence), "left": hands[HANDS[0]], "right": hands[HANDS[1]]}
    return {"path": path, **counts, **cost, "peak_memory_bytes": peak}


if __name__ == "__main__":
    for clip in sys.argv[1:]:
        print(json.dumps(measure_clip(clip)), flush=True)
