"""The loop that everyone writes: OpenCV reads, HolisticLandmarker looks, by the public API alone.

    python benchmarks/landmark_extraction/plain_loop.py MODEL image|video CLIP...

prints a line of JSON a clip. Each clip has a landmarker of its own, which is not counted: in ``image`` mode too the
graph keeps a mask of the frame before, and stops at a picture of another size.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import cv2
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision


def landmarker(model: str, mode: str) -> vision.HolisticLandmarker:
    options = vision.HolisticLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model), running_mode=vision.RunningMode[mode.upper()]
    )
    return vision.HolisticLandmarker.create_from_options(options)


def look(found: vision.HolisticLandmarker, mode: str, path: str) -> dict[str, object]:
    """Look at every frame of one clip; what it cost, and in how many frames each hand was found."""
    capture = cv2.VideoCapture(path)
    frames = left = right = 0
    cpu, wall = time.process_time(), time.perf_counter()
    while True:
        there, picture = capture.read()
        if not there:
            break
        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        result = found.detect(image) if mode == "image" else found.detect_for_video(image, frames * 40)
        left += bool(result.left_hand_landmarks)
        right += bool(result.right_hand_landmarks)
        frames += 1
    cost = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"path": path, "frames": frames, "left": left, "right": right, **cost, "peak_memory_bytes": peak}


def main(model: str, mode: str, *clips: str) -> None:
    for clip in clips:
        found = landmarker(model, mode)
        print(json.dumps(look(found, mode, clip)), flush=True)
        found.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
