"""The usual loop: OpenCV reads frames and HolisticLandmarker detects, with the public API alone.

    python benchmarks/landmark_extraction/plain_loop.py MODEL image|video CLIP...

prints a line of JSON per clip. Each clip has its own landmarker, whose creation is not measured: even in ``image`` mode
the graph keeps a mask of the previous frame, and fails on another image size.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import cv2
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision


def create_landmarker(model: str, mode: str) -> vision.HolisticLandmarker:
    options = vision.HolisticLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model), running_mode=vision.RunningMode[mode.upper()]
    )
    return vision.HolisticLandmarker.create_from_options(options)


def measure_clip(landmarker: vision.HolisticLandmarker, mode: str, path: str) -> dict[str, object]:
    """Run the landmarker on every frame of one clip; return its cost and the frames with each hand."""
    capture = cv2.VideoCapture(path)
    frames = left = right = 0
    cpu, wall = time.process_time(), time.perf_counter()
    while True:
        has_frame, pixels = capture.read()
        if not has_frame:
            break
        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
        result = landmarker.detect(image) if mode == "image" else landmarker.detect_for_video(image, frames * 40)
        left += bool(result.left_hand_landmarks)
        right += bool(result.right_hand_landmarks)
        frames += 1
    cost = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"path": path, "frames": frames, "left": left, "right": right, **cost, "peak_memory_bytes": peak}


def main(model: str, mode: str, *clips: str) -> None:
    for clip in clips:
        landmarker = create_landmarker(model, mode)
        print(json.dumps(measure_clip(landmarker, mode, clip)), flush=True)
        landmarker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
