"""Damaged and malicious inputs, created from intact videos by seeded mutation, so that they are reproducible.

``write_videos`` writes a folder of them and states the allowed results of each:

refused     ``bad_input``, no other result
correct     done, and every frame is one of the base video's
not wrong   refused or correct
bounded     refused or done: a changed bit may change an image unnoticed; never ``error``
contained   the same, or ended by the engine: ``timeout``, ``crash`` or ``out_of_memory``
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imageio_ffmpeg

Expectation = Literal["refused", "correct", "not wrong", "bounded", "contained"]

_SOURCE = "-f lavfi -i testsrc2=s=64x48:r=10:d=1.2,noise=alls=10:allf=t -threads 1 -fflags +bitexact -flags +bitexact"
_H264 = f"{_SOURCE} -c:v libx264 -preset ultrafast -g 6 -bf 1 -pix_fmt yuv420p"
# File name -> ffmpeg's arguments: 12 frames in each container that the readers allow.
_GENERATED = {
    "end.mp4": _H264,
    "front.mp4": f"{_H264} -movflags +faststart",
    "fragments.mp4": f"{_H264} -movflags frag_keyframe+empty_moov",
    "h264.mkv": _H264,
    "h264.ts": _H264,
    "h264.flv": _H264,
    "h264.h264": _H264,
    "vp8.webm": f"{_SOURCE} -c:v libvpx -cpu-used 8 -g 6",
    "vp9.ivf": f"{_SOURCE} -c:v libvpx-vp9 -cpu-used 8 -g 6",
    "mpeg4.avi": f"{_SOURCE} -c:v mpeg4 -g 6",
    "mpeg2.mpg": f"{_SOURCE} -r 25 -c:v mpeg2video -g 6 -bf 1",
    "mpeg2.mxf": f"{_SOURCE} -r 25 -c:v mpeg2video -g 6",
    "wmv2.wmv": f"{_SOURCE} -c:v wmv2 -g 6",
    "mpeg4.nut": f"{_SOURCE} -c:v mpeg4 -g 6 -f nut",
    "raw.y4m": f"{_SOURCE} -pix_fmt yuv420p",
    "whole.gif": f"{_SOURCE} -c:v gif",
}
# The smallest real videos.
_REAL = (
    "av1_video.mkv",
    "discard_first_keyframe.mp4",
    "h265_video.mp4",
    "nasa_13013_rotated.mp4",
    "test_non_zero_start.mp4",
    "testsrc2_odd_height_and_width_mpeg2.mp4",
    "testsrc2_odd_height_and_width_vp9.mp4",
)
# Boxes of ISO/IEC 14496-12 that contain boxes.
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"moof", b"traf", b"mvex"})


@dataclass(frozen=True)
class Case:
    """One hostile video. ``base`` is the intact video that it was created from, if any."""

    name: str
    family: str
    expects: Expectation
    base: str = ""


@dataclass(frozen=True)
class Targets:
    """Forbidden targets of the hostile files: a file outside the input folder, and a port of this host."""

    canary: Path
    port: int

    @property
    def urls(self) -> dict[str, str]:
        """Return all ways to address the two targets."""
        address = f"127.0.0.1:{self.port}"
        return {
            "path": str(self.canary),
            "relative": f"../{self.canary.parent.name}/{self.canary.name}",
            "file": f"file:{self.canary}",
            "file-url": f"file://{self.canary}",
            "concat": f"concat:{self.canary}|{self.canary}",
            "subfile": f"subfile,,start,0,end,100,,:{self.canary}",
            "crypto": f"crypto:{self.canary}",
            "http": f"http://{address}/a.ts",
            "tcp": f"tcp://{address}",
            "udp": f"udp://{address}",
            "rtp": f"rtp://{address}",
            "rtmp": f"rtmp://{address}/a",
            "ftp": f"ftp://{address}/a.ts",
            "data": "data:text/plain;base64,AAAA",
            "pipe": "pipe:0",
        }


def write_bases(folder: Path, real: Path) -> list[Path]:
    """Write the intact videos: those that ffmpeg generates, and the real ones from ``real``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in _GENERATED.items():
        _run_ffmpeg(*arguments.split(), str(folder / name))
    for name in _REAL:
        (folder / name).write_bytes((real / name).read_bytes())
    return sorted(folder.iterdir())


def write_videos(folder: Path, bases: list[Path], targets: Targets, seed: int) -> list[Case]:
    """Write the corpus into ``folder``; return its cases."""
    folder.mkdir(parents=True, exist_ok=True)
    generators: list[Callable[[], Iterator[tuple[Case, bytes]]]] = [
        lambda: _truncate_videos(bases),
        lambda: _flip_bits(bases, seed),
        lambda: _scramble_pieces(bases, seed),
        lambda: _swap_headers(bases, seed),
        lambda: _falsify_boxes([base for base in bases if base.suffix == ".mp4"]),
        lambda: _falsify_tables([base for base in bases if base.suffix == ".mp4"]),
        lambda: _falsify_elements([base for base in bases if base.suffix in {".mkv", ".webm", ".avi", ".gif", ".y4m"}]),
        lambda: _enlarge_images(bases),
        lambda: _create_playlists(targets),
        lambda: _create_references(bases, targets),
        lambda: _create_names(bases, targets),
        _create_non_videos,
    ]
    cases = []
    for generate in generators:
        for case, data in generate():
            path = folder / case.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            cases.append(case)
    return [
        *cases,
        *_write_bombs(folder),
        *_write_attachments(folder, bases, targets),
        *_create_special_files(folder, targets),
    ]


def _run_ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True, capture_output=True)


# Damage


def _truncate_videos(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    for base in bases:
        data = base.read_bytes()
        for share in (0.01, 0.3, 0.7, 0.97):
            cut = data[: max(1, int(len(data) * share))]
            expects: Expectation = "bounded" if base.suffix in {".gif", ".h264"} else "not wrong"
            yield Case(f"cut-{share}-{base.name}", "truncated", expects, base.name), cut


def _flip_bits(bases: list[Path], seed: int) -> Iterator[tuple[Case, bytes]]:
    for base in bases:
        for number, flips in enumerate((1, 1, 5, 5, 50, 500)):
            rng = random.Random(f"{seed} {base.name} {number}")
            data = bytearray(base.read_bytes())
            reach = len(data) if number % 2 else min(len(data), 1500)  # headers are more fragile
            for _ in range(flips):
                data[rng.randrange(reach)] ^= 1 << rng.randrange(8)
            yield Case(f"flip-{number}-{base.name}", "bits flipped", "contained", base.name), bytes(data)


def _scramble_pieces(bases: list[Path], seed: int) -> Iterator[tuple[Case, bytes]]:
    """Yield videos with pieces overwritten, duplicated, removed or moved."""
    for base in bases:
        for number in range(4):
            rng = random.Random(f"{seed} {base.name} {number} piece")
            data = base.read_bytes()
            start = rng.randrange(len(data))
            piece = data[start : start + rng.choice([16, 300, 4000])]
            end = start + len(piece)
            damaged = (
                data[:start] + rng.choice([b"\0", b"\xff"]) * len(piece) + data[end:],
                data[:end] + piece + data[end:],
                data[:start] + data[end:],
                piece + data[:start] + data[end:],
            )[number]
            yield Case(f"piece-{number}-{base.name}", "pieces moved", "contained", base.name), damaged


def _swap_headers(bases: list[Path], seed: int) -> Iterator[tuple[Case, bytes]]:
    """Yield videos with the head of one file on the body of another."""
    for number, base in enumerate(bases):
        rng = random.Random(f"{seed} {base.name} swap")
        for step in (1, 5, 11):
            other = bases[(number + step) % len(bases)]
            head = rng.choice([12, 64, 700])
            data = base.read_bytes()[:head] + other.read_bytes()[head:]
            yield Case(f"swap-{step}-{base.stem}-{other.name}", "headers swapped", "contained", other.name), data


def _create_non_videos() -> Iterator[tuple[Case, bytes]]:
    blobs = {
        "empty.mp4": b"",
        "one-byte.mkv": b"\x1a",
        "zeros.mp4": bytes(100_000),
        "ones.ts": b"\xff" * 100_000,
        "sync-bytes.ts": (b"G" + bytes(187)) * 500,
        "noise.mp4": random.Random(0).randbytes(100_000),
        "text.mp4": b"<html>404</html>\n" * 50,
        "zip.mp4": b"PK\3\4" + random.Random(1).randbytes(5000),
        "pickle.mp4": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
        "script.mp4": b"#!/bin/sh\ntouch pwned\n",
        "elf.mp4": Path("/proc/self/exe").read_bytes()[:20_000],
        "only-ftyp.mp4": _create_box(b"ftyp", b"isom\0\0\2\0isomiso2"),
        "nested-moov.mp4": _nest_boxes(b"moov", 5000),
        "nested-trak.mp4": _create_box(b"ftyp", b"isom\0\0\2\0isom") + _nest_boxes(b"trak", 5000),
        "nested-ebml.mkv": b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 3000,
        "nested-list.avi": b"RIFF\xff\xff\xff\xffAVI " + b"LIST\xff\xff\xff\xffmovi" * 3000,
    }
    for name, data in blobs.items():
        yield Case(name, "not a video", "refused"), data


# Boxes


def _create_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def _nest_boxes(kind: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = _create_box(kind, data)
    return data


def iterate_boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, offset and end of each box, containers before their contents."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if not 8 <= size <= end - start:
            return
        yield kind, start, start + size
        if kind in _CONTAINERS:
            yield from iterate_boxes(data, start + 8, start + size)
        start += size


def _find_box(data: bytes, kind: bytes) -> tuple[int, int]:
    return next(((start, end) for box_kind, start, end in iterate_boxes(data) if box_kind == kind), (0, 0))


def _patch(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def _replace_box(data: bytes, kind: bytes, box: bytes) -> bytes:
    """Return ``data`` with the first box of that type replaced, and the sizes of its containers adjusted."""
    start, end = _find_box(data, kind)
    grown = bytearray(data[:start] + box + data[end:])
    for container, offset, stop in iterate_boxes(data):
        if container in _CONTAINERS and offset < start and end <= stop:
            struct.pack_into(">I", grown, offset, stop - offset + len(box) - (end - start))
    return bytes(grown)


def _falsify_boxes(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    """Yield videos whose boxes claim to be huge, endless or smaller than their own header."""
    sizes = {"4g": 0xFFFFFFFF, "endless": 0, "long": 1, "small": 7}
    for base in bases[:5]:
        data = base.read_bytes()
        for kind in (b"ftyp", b"moov", b"mdat", b"trak", b"stbl", b"stsd"):
            start, end = _find_box(data, kind)
            for name, size in sizes.items():
                if end:
                    mutated = _patch(data, start, struct.pack(">I", size))
                    yield (
                        Case(f"box-{kind.decode()}-{name}-{base.name}", "false sizes", "contained", base.name),
                        mutated,
                    )


def _falsify_tables(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    """Yield videos whose tables claim 4 billion rows, samples of 2 GB, or one chunk with all samples."""
    for base in bases:
        data = base.read_bytes()
        for kind in (b"stsz", b"stts", b"stsc", b"stco", b"ctts", b"stss"):
            start, end = _find_box(data, kind)
            if end:
                offset = start + (16 if kind == b"stsz" else 12)
                mutated = _patch(data, offset, b"\xff\xff\xff\xff")
                yield Case(f"rows-{kind.decode()}-{base.name}", "false sizes", "contained", base.name), mutated
        if _find_box(data, b"stsz")[1]:
            start = _find_box(data, b"stsz")[0]
            huge = _patch(data, start + 12, struct.pack(">II", 0x7FFFFFFF, 0x7FFFFFFF))
            yield Case(f"samples-2g-{base.name}", "false sizes", "contained", base.name), huge
            # One byte per sample and one chunk with all samples: FFmpeg allocates 24 bytes of index per sample.
            many = _patch(data, start + 12, struct.pack(">II", 1, 100_000_000))
            many = _replace_box(many, b"stsc", _create_box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 100_000_000, 1)))
            many = _replace_box(many, b"stts", _create_box(b"stts", struct.pack(">IIII", 0, 1, 100_000_000, 1)))
            yield Case(f"samples-100m-{base.name}", "false sizes", "contained", base.name), many


def _falsify_elements(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    """Yield videos with false sizes in EBML elements, RIFF chunks and GIF blocks."""
    marks = {
        "segment": (b"\x18\x53\x80\x67", b"\x01\x00\xff\xff\xff\xff\xff\xfe"),
        "tracks": (b"\x16\x54\xae\x6b", b"\x01\x00\xff\xff\xff\xff\xff\xfe"),
        "cluster": (b"\x1f\x43\xb6\x75", b"\x01\x00\xff\xff\xff\xff\xff\xfe"),
        "private": (b"\x63\xa2", b"\x08\x7f\xff\xff\xff"),
        "block": (b"\xa3", b"\x08\x7f\xff\xff\xff"),
        "riff": (b"RIFF", b"\xff\xff\xff\xff"),
        "movi": (b"LIST", b"\xff\xff\xff\x7f"),
        "chunk": (b"00dc", b"\xff\xff\xff\x7f"),
        "index": (b"idx1", b"\xff\xff\xff\x7f"),
        "strf": (b"strf", b"\xff\xff\xff\x7f"),
    }
    for base in bases:
        data = base.read_bytes()
        for name, (mark, size) in marks.items():
            offset = data.find(mark)
            if offset >= 0:
                mutated = _patch(data, offset + len(mark), size)
                yield Case(f"element-{name}-{base.name}", "false sizes", "contained", base.name), mutated


# Images that are too large


def _enlarge_images(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    """Yield videos with a width and height of 60000 in containers and streams."""
    by_name = {base.name: base.read_bytes() for base in bases}
    for name, data in by_name.items():
        start, end = _find_box(data, b"stsd")
        if end:
            mutated = _patch(data, start + 16 + 32, struct.pack(">HH", 60_000, 60_000))
            yield Case(f"size-stsd-{name}", "huge images", "contained", name), mutated
    huge = [
        ("whole.gif", 6, struct.pack("<HH", 60_000, 60_000)),
        ("vp9.ivf", 12, struct.pack("<HH", 60_000, 60_000)),
        ("mpeg4.avi", by_name["mpeg4.avi"].find(b"strf") + 12, struct.pack("<II", 60_000, 60_000)),
        ("mpeg4.avi", by_name["mpeg4.avi"].find(b"avih") + 40, struct.pack("<II", 60_000, 60_000)),
        ("mpeg2.mpg", by_name["mpeg2.mpg"].find(b"\0\0\1\xb3") + 4, b"\xff\xff\xff"),
    ]
    for number, (name, offset, value) in enumerate(huge):
        yield Case(f"size-{number}-{name}", "huge images", "contained", name), _patch(by_name[name], offset, value)
    rows = by_name["raw.y4m"].partition(b"\n")[2]
    for number, size in enumerate((b"W60000 H60000", b"W9000 H9000", b"W0 H0", b"W-5 H48", b"W99999999999 H1")):
        data = b"YUV4MPEG2 " + size + b" F10:1 Ip C420\n" + rows
        yield Case(f"size-{number}-raw.y4m", "huge images", "refused"), data


def _write_bombs(folder: Path) -> Iterator[Case]:
    """Write small files with huge images: 16000 x 16000 is below FFmpeg's own limit."""
    for width, height in ((9_000, 9_000), (16_000, 16_000), (60_000, 60_000), (65_535, 16), (16, 65_535), (0, 0)):
        name = f"bomb-{width}x{height}.gif"
        (folder / name).write_bytes(create_gif(width, height))
        yield Case(name, "huge images", "refused")
    image = folder.parent / "bomb.png"
    image.write_bytes(create_png(16_000, 16_000))
    for suffix in ("mov", "mkv", "avi"):
        name = f"bomb-png.{suffix}"
        _run_ffmpeg("-f", "png_pipe", "-i", str(image), "-c", "copy", str(folder / name))
        yield Case(name, "huge images", "refused")


def create_gif(width: int, height: int) -> bytes:
    """Return a GIF of one pixel on a canvas of width x height."""
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff"
    return screen + b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\2\2\x44\1\0" + b"\x3b"


def create_png(width: int, height: int, has_pixels: bool = True) -> bytes:
    """Return a black PNG of one bit per pixel, or one that only declares its size."""
    rows = bytes((width // 8 + 1) * height if has_pixels else 100)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# Files that reference other files

_LISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n",
    "m3u8-key": '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI="{}"\n#EXTINF:3,\nh264.ts\n'
    "#EXT-X-ENDLIST\n",
    "m3u8-map": '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-MAP:URI="{}"\n#EXTINF:3,\nfragments.mp4\n#EXT-X-ENDLIST\n',
    "m3u8-master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{}'\n",
    "concat-options": "ffconcat version 1.0\nfile '{}'\noption protocol_whitelist ALL\noption safe 0\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{}\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "mpd": '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{0}">]><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
    'type="static" mediaPresentationDuration="PT3S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{0}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "imf": '<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><Path>{}</Path>'
    "</AssetMap>",
    "ism": '<?xml version="1.0"?><SmoothStreamingMedia MajorVersion="2"><c n="{}"/></SmoothStreamingMedia>',
    "asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "asf-reference": "[Reference]\r\nRef1={}\r\n",
    "rtsp-text": "rtsptext\r\n{}\r\n",
    "vapoursynth": "import vapoursynth as vs\nvs.core.ffms2.Source('{}').set_output()\n",
    "avisynth": 'AVISource("{}")\n',
    "ffmetadata": ";FFMETADATA1\ntitle={}\n",
    "vobsub": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n{}\n",
}


def _create_playlists(targets: Targets) -> Iterator[tuple[Case, bytes]]:
    suffixes = ("mp4", "mkv", "ts", "avi", "mov", "webm")
    number = 0
    for form, text in _LISTS.items():
        for target_name, target in targets.urls.items():
            number += 1
            if number % 3 == 0 and form not in {"m3u8", "ffconcat"}:
                continue  # all targets for the two most important forms, two thirds for the others
            name = f"list-{form}-{target_name}.{suffixes[number % len(suffixes)]}"
            yield Case(name, "playlists", "refused"), text.format(target).encode()


def _create_references(bases: list[Path], targets: Targets) -> Iterator[tuple[Case, bytes]]:
    """Yield MP4 files with samples in another file (dref), and QuickTime movies that only reference one (rmra)."""
    data = next(base for base in bases if base.name == "end.mp4").read_bytes()
    for target_name in ("path", "relative", "file", "http", "tcp"):
        target = targets.urls[target_name]
        for kind, entry in {
            "alis": _create_alias(target),
            "url": _create_box(b"url ", b"\0\0\0\0" + target.encode() + b"\0"),
        }.items():
            dref = _create_box(b"dref", struct.pack(">II", 0, 1) + entry)
            # Whether or not the reference is followed, the intact samples of this file may be shown.
            case = Case(f"dref-{kind}-{target_name}.mp4", "references", "not wrong", "end.mp4")
            yield case, _replace_box(data, b"dref", dref)
        link = _create_box(b"rdrf", b"\0\0\0\0url " + struct.pack(">I", len(target) + 1) + target.encode() + b"\0")
        movie = _create_box(b"ftyp", b"qt  \0\0\2\0qt  ") + _create_box(
            b"moov", _create_box(b"rmra", _create_box(b"rmda", link))
        )
        yield Case(f"rmra-{target_name}.mov", "references", "refused"), movie


def _create_alias(target: str) -> bytes:
    """Return a Macintosh alias record for libavformat/mov.c: an absolute path, or one from the parent folder."""
    path, name = target.encode(), Path(target).name.encode()[:63]
    levels = (1, 1) if target.startswith("..") else (0, 0)
    path += b"\0" * (len(path) % 2)
    record = bytes(10) + b"\0" + bytes(27) + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    record += struct.pack(">HH", *levels) + bytes(16)
    record += struct.pack(">HH", 2, len(path)) + path + struct.pack(">HH", 0xFFFF, 0) + bytes(40)
    return _create_box(b"alis", b"\0\0\0\0" + record)


def _write_attachments(folder: Path, bases: list[Path], targets: Targets) -> Iterator[Case]:
    """Write Matroska files with an attached playlist, and with tags that contain file names."""
    base = next(base for base in bases if base.name == "h264.mkv")
    for target_name in ("path", "http", "concat"):
        text = folder.parent / "attached.m3u8"
        text.write_text(_LISTS["m3u8"].format(targets.urls[target_name]))
        name = f"attached-{target_name}.mkv"
        options = ["-attach", str(text), "-metadata:s:t", "mimetype=application/x-mpegURL"]
        options += ["-metadata", f"SEGMENT_FILENAME={targets.urls[target_name]}", "-metadata", "title=\x1b[31m<script>"]
        _run_ffmpeg("-i", str(base), *options, "-c", "copy", "-bitexact", str(folder / name))
        yield Case(name, "references", "correct", base.name)


# Names


def _create_names(bases: list[Path], targets: Targets) -> Iterator[tuple[Case, bytes]]:
    """Yield an intact video under names with a special meaning for FFmpeg, a shell, a terminal, HTML or printf."""
    base = next(base for base in bases if base.name == "end.mp4")
    address = f"127.0.0.1:{targets.port}"
    names = [
        "-i.mp4",
        "-version.mp4",
        "--help.mp4",
        "concat:end.mp4|front.mp4",
        "file:end.mp4",
        "subfile,,start,0,end,0,,:end.mp4",
        "data:video,AAAA.mp4",
        "pipe:0.mp4",
        "pipe:.mp4",
        "fd:.mp4",
        "cache:end.mp4",
        "crypto:end.mp4",
        "async:end.mp4",
        "async:file:end.mp4",
        "md5:end.mp4",
        f"http:/{address}/a.mp4",
        f"tcp:/{address}.mp4",
        "udp:/127.0.0.1:9.mp4",
        "%03d.mp4",
        "%s%n%x.mp4",
        "*.mp4",
        "[a-z]?.mp4",
        "$(touch pwned).mp4",
        "`touch pwned`;.mp4",
        "a b'c\"d\\e.mp4",
        "<script>alert(1)</script>.mp4",
        "{{7*7}}${7*7}.mp4",
        "back\\slash.mp4",
        "...mp4",
        "..mp4",
        "\u202egpj.mp4",
        "日本語　動画 👩‍👩‍👧.mp4",
        "n" * 250 + ".mp4",
        "con.mp4",
        "end.mp4.",
    ]
    for name in names:
        yield Case(name, "names", "correct", base.name), base.read_bytes()


def _create_special_files(folder: Path, targets: Targets) -> Iterator[Case]:
    """Create special files with a video's name. The readers refuse them too, although no manifest accepts them."""
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "terminal.mp4").symlink_to("/dev/tty")
    (folder / "descriptor.mp4").symlink_to("/dev/stdin")
    (folder / "ring.mp4").symlink_to("ring.mp4")
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    for name in ("pipe", "folder", "device", "terminal", "descriptor", "ring", "dangling"):
        yield Case(f"{name}.mp4", "special files", "refused")


def write_images(folder: Path, seed: int) -> list[str]:
    """Write images that are damaged or declare a huge size, for code that reads images back."""
    folder.mkdir(parents=True)
    images = {
        "bomb.gif": create_gif(30_000, 30_000),
        "declared.png": create_png(60_000, 60_000, has_pixels=False),
        "bomb.png": create_png(30_000, 30_000, has_pixels=False),
        "empty.jpg": b"",
        "text.jpg": b"#EXTM3U\n" * 100,
        "svg.jpg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "huge.ppm": b"P6 60000 60000 255\n",
        "huge.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 1, 1, 0, 0),
        "huge.hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n",
    }
    _run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=1", "-frames:v", "1", "-bitexact", str(folder / "intact.jpg"))
    intact = (folder / "intact.jpg").read_bytes()
    for number in range(20):
        rng = random.Random(f"{seed} picture {number}")
        damaged = bytearray(intact if number % 2 else intact[: rng.randrange(len(intact))])
        for _ in range(10 if number % 2 else 0):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        images[f"{number}.jpg"] = bytes(damaged)
    for name, data in images.items():
        (folder / name).write_bytes(data)
    return ["intact.jpg", *images]
