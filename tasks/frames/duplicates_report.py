"""The report of near-duplicate videos: a page with images, and its data as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Workspace, get_published_file
from tasks.engine.contract.text import count_noun
from tasks.frames.contact_sheets import render_contact_sheet
from tasks.frames.duplicates import DuplicateGroup

FOLDER = "duplicates"
KIND = "duplicates"
_MAX_SHEETS = 200
_MAX_VIDEOS = 8  # of a group that are shown
_FRAMES_PER_VIDEO = 4


def plan_report(
    groups: Sequence[DuplicateGroup], samples: Iterable[Mapping[str, Any]], split_of: Mapping[str, str]
) -> list[Item]:
    """Return the item that writes the report; none if there are no groups. ``samples``: details of the frames stage."""
    if not groups:
        return []
    by_video: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        by_video.setdefault(sample["video"], []).append(sample)
    described = [_describe_group(group, by_video, split_of) for group in groups]
    payload = {"kind": KIND, "path": FOLDER, "split": "", "rows": [], "groups": described}
    return [Item(id="duplicates-report", payload=payload, cost=float(len(groups)), name="duplicates")]


def describe_leaks(groups: Sequence[DuplicateGroup], splits: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a line about near-duplicates; ``splits`` are those of each video. None if there are no groups."""
    if not groups:
        return []
    videos = sum(len(group.videos) for group in groups)
    leaks = sum(len({split for video in group.videos for split in splits.get(video, ())}) > 1 for group in groups)
    line = f"{count_noun(videos, 'video')} have near-duplicates ({count_noun(len(groups), 'group')})"
    where = f"; see {FOLDER}/index.html"
    if not leaks:
        return [f"{line}, none of them in several splits{where}"]
    return [f"{line}; {count_noun(leaks, 'group')} in several splits: --group-by content keeps each in one{where}"]


def write_report(part: Mapping[str, Any], work: Workspace) -> None:
    """Write ``groups.jsonl``, ``index.html`` and a contact sheet per group."""
    groups = part["groups"]
    with work.output(f"{FOLDER}/groups.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(_strip(group), ensure_ascii=False) + "\n" for group in groups)
    sections = [_write_group(number, group, work) for number, group in enumerate(groups, start=1)]
    page = _PAGE.format(count=count_noun(len(groups), "group"), sections="\n".join(sections))
    work.output(f"{FOLDER}/index.html").write_text(page, encoding="utf-8", newline="\n")


def _describe_group(
    group: DuplicateGroup, by_video: Mapping[str, list[Mapping[str, Any]]], split_of: Mapping[str, str]
) -> dict[str, Any]:
    members = []
    for video in group.videos:
        frames = [frame for sample in by_video[video] for frame in sample["frames"]]
        step = max(1, -(-len(frames) // _FRAMES_PER_VIDEO))
        shown = [{"path": frame["path"], "seconds": frame["actual_seconds"]} for frame in frames[::step]]
        splits = sorted({split_of[sample["id"]] for sample in by_video[video] if sample["id"] in split_of})
        members.append({"video": video, "splits": splits, "frames": shown})
    return {"is_identical": group.is_identical, "videos": members}


def _strip(group: Mapping[str, Any]) -> dict[str, Any]:
    videos = [{"video": member["video"], "splits": member["splits"]} for member in group["videos"]]
    return {"is_identical": group["is_identical"], "videos": videos}


def _write_group(number: int, group: Mapping[str, Any], work: Workspace) -> str:
    """Write the contact sheet of a group, and return its section of the page."""
    videos = group["videos"]
    kind = "identical frames" if group["is_identical"] else "frames that look alike"
    rows = "".join(f"<li>{escape(one['video'])} ({escape(', '.join(one['splits']))})</li>" for one in videos)
    heading = f"<h2>Group {number}: {count_noun(len(videos), 'video')}, {kind}</h2><ul>{rows}</ul>"
    if number > _MAX_SHEETS:
        return heading
    images = [
        (get_published_file(work.output_dir, frame["path"]), f"{row + 1}: {frame['seconds']:.2f} s")
        for row, one in enumerate(videos[:_MAX_VIDEOS])
        for frame in one["frames"]
    ]
    name = f"{number:04d}.jpg"
    work.output(f"{FOLDER}/{name}").write_bytes(render_contact_sheet(images, columns=_FRAMES_PER_VIDEO))
    return f'{heading}<img src="{name}" alt="Frames of group {number}">'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Near-duplicate videos</title>
<style>body{{font-family:sans-serif;max-width:70em;margin:2em auto}}img{{max-width:100%}}</style></head>
<body><h1>Near-duplicate videos: {count}</h1>
<p>Each row of images is one video. Numbers before the times are positions in the list.</p>
{sections}
</body></html>
"""
