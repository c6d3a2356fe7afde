"""Damaged and malicious inputs, made from sound videos by seeded mutation: the same ones at every time.

``make_videos`` writes a folder of them and tells of each what may become of it:

refused     ``bad_input``, nothing else
right       done, and every frame is one of the sound video that it was made from
not wrong   refused, or right
bounded     refused or done: a changed bit may change a picture unnoticed; never ``error``
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

Expectation = Literal["refused", "right", "not wrong", "bounded", "contained"]

_SOURCE = "-f lavfi -i testsrc2=s=64x48:r=10:d=1.2,noise=alls=10:allf=t -threads 1 -fflags +bitexact -flags +bitexact"
_H264 = f"{_SOURCE} -c:v libx264 -preset ultrafast -g 6 -bf 1 -pix_fmt yuv420p"
# File name -> ffmpeg's arguments: 12 frames in each container that the readers allow.
_MADE = {
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
# The smallest of the real videos.
_REAL = (
    "av1_video.mkv",
    "discard_first_keyframe.mp4",
    "h265_video.mp4",
    "nasa_13013_rotated.mp4",
    "test_non_zero_start.mp4",
    "testsrc2_odd_height_and_width_mpeg2.mp4",
    "testsrc2_odd_height_and_width_vp9.mp4",
)
# Boxes of ISO/IEC 14496-12 that hold boxes.
_HOLDERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"moof", b"traf", b"mvex"})


@dataclass(frozen=True)
class Case:
    """One hostile video. ``base`` is the sound one that it was made from, if any."""

    name: str
    family: str
    expects: Expectation
    base: str = ""


@dataclass(frozen=True)
class Targets:
    """What hostile files point at, and nobody may touch: a file outside the input folder, and a port of this host."""

    canary: Path
    port: int

    @property
    def urls(self) -> dict[str, str]:
        """Ways to name the two."""
        there = f"127.0.0.1:{self.port}"
        return {
            "path": str(self.canary),
            "relative": f"../{self.canary.parent.name}/{self.canary.name}",
            "file": f"file:{self.canary}",
            "file-url": f"file://{self.canary}",
            "concat": f"concat:{self.canary}|{self.canary}",
            "subfile": f"subfile,,start,0,end,100,,:{self.canary}",
            "crypto": f"crypto:{self.canary}",
            "http": f"http://{there}/a.ts",
            "tcp": f"tcp://{there}",
            "udp": f"udp://{there}",
            "rtp": f"rtp://{there}",
            "rtmp": f"rtmp://{there}/a",
            "ftp": f"ftp://{there}/a.ts",
            "data": "data:text/plain;base64,AAAA",
            "pipe": "pipe:0",
        }


def make_bases(folder: Path, real: Path | None) -> list[Path]:
    """The sound videos: those that ffmpeg makes here, and the real ones where there are any."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in _MADE.items():
        _ffmpeg(*arguments.split(), str(folder / name))
    for name in _REAL if real else ():
        (folder / name).write_bytes((Path(real or "") / name).read_bytes())
    return sorted(folder.iterdir())


def make_videos(folder: Path, bases: list[Path], targets: Targets, seed: int) -> list[Case]:
    """Write the corpus into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    makers: list[Callable[[], Iterator[tuple[Case, bytes]]]] = [
        lambda: _truncated(bases),
        lambda: _flipped(bases, seed),
        lambda: _scrambled(bases, seed),
        lambda: _swapped(bases, seed),
        lambda: _lying_boxes([base for base in bases if base.suffix == ".mp4"]),
        lambda: _lying_tables([base for base in bases if base.suffix == ".mp4"]),
        lambda: _lying_elements([base for base in bases if base.suffix in {".mkv", ".webm", ".avi", ".gif", ".y4m"}]),
        lambda: _huge_pictures(bases),
        lambda: _playlists(targets),
        lambda: _references(bases, targets),
        lambda: _names(bases, targets),
        _nothing,
    ]
    cases = []
    for make in makers:
        for case, data in make():
            path = folder / case.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            cases.append(case)
    return [*cases, *_bombs(folder), *_attached(folder, bases, targets), *_special_files(folder, targets)]


def _ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True, capture_output=True)


# Damage


def _truncated(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    for base in bases:
        data = base.read_bytes()
        for share in (0.01, 0.3, 0.7, 0.97):
            cut = data[: max(1, int(len(data) * share))]
            expects: Expectation = "bounded" if base.suffix in {".gif", ".h264"} else "not wrong"
            yield Case(f"cut-{share}-{base.name}", "truncated", expects, base.name), cut


def _flipped(bases: list[Path], seed: int) -> Iterator[tuple[Case, bytes]]:
    for base in bases:
        for number, flips in enumerate((1, 1, 5, 5, 50, 500)):
            rng = random.Random(f"{seed} {base.name} {number}")
            data = bytearray(base.read_bytes())
            reach = len(data) if number % 2 else min(len(data), 1500)  # headers are the more fragile part
            for _ in range(flips):
                data[rng.randrange(reach)] ^= 1 << rng.randrange(8)
            yield Case(f"flip-{number}-{base.name}", "bits flipped", "contained", base.name), bytes(data)


def _scrambled(bases: list[Path], seed: int) -> Iterator[tuple[Case, bytes]]:
    """Pieces overwritten, doubled, removed or put elsewhere."""
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


def _swapped(bases: list[Path], seed: int) -> Iterator[tuple[Case, bytes]]:
    """The head of one file on the body of another, under the name of either."""
    for number, base in enumerate(bases):
        rng = random.Random(f"{seed} {base.name} swap")
        for step in (1, 5, 11):
            other = bases[(number + step) % len(bases)]
            head = rng.choice([12, 64, 700])
            data = base.read_bytes()[:head] + other.read_bytes()[head:]
            yield Case(f"swap-{step}-{base.stem}-{other.name}", "headers swapped", "contained", other.name), data


def _nothing() -> Iterator[tuple[Case, bytes]]:
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
        "only-ftyp.mp4": _box(b"ftyp", b"isom\0\0\2\0isomiso2"),
        "nested-moov.mp4": _nested(b"moov", 5000),
        "nested-trak.mp4": _box(b"ftyp", b"isom\0\0\2\0isom") + _nested(b"trak", 5000),
        "nested-ebml.mkv": b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 3000,
        "nested-list.avi": b"RIFF\xff\xff\xff\xffAVI " + b"LIST\xff\xff\xff\xffmovi" * 3000,
    }
    for name, data in blobs.items():
        yield Case(name, "no video at all", "refused"), data


# Boxes


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def _nested(kind: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = _box(kind, data)
    return data


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Type, offset and end of each box, holders before what they hold."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if not 8 <= size <= end - start:
            return
        yield kind, start, start + size
        if kind in _HOLDERS:
            yield from boxes(data, start + 8, start + size)
        start += size


def _first(data: bytes, kind: bytes) -> tuple[int, int]:
    return next(((start, end) for found, start, end in boxes(data) if found == kind), (0, 0))


def _patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def _replaced(data: bytes, kind: bytes, box: bytes) -> bytes:
    """``data`` with the first box of that type replaced; the sizes of its holders follow."""
    start, end = _first(data, kind)
    grown = bytearray(data[:start] + box + data[end:])
    for holder, at, stop in boxes(data):
        if holder in _HOLDERS and at < start and end <= stop:
            struct.pack_into(">I", grown, at, stop - at + len(box) - (end - start))
    return bytes(grown)


def _lying_boxes(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    """Boxes that say that they are huge, endless or smaller than their own head."""
    sizes = {"4g": 0xFFFFFFFF, "endless": 0, "long": 1, "small": 7}
    for base in bases[:5]:
        data = base.read_bytes()
        for kind in (b"ftyp", b"moov", b"mdat", b"trak", b"stbl", b"stsd"):
            start, end = _first(data, kind)
            for name, size in sizes.items():
                if end:
                    lie = _patched(data, start, struct.pack(">I", size))
                    yield Case(f"box-{kind.decode()}-{name}-{base.name}", "sizes that lie", "contained", base.name), lie


def _lying_tables(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    """Tables that say that they have four thousand million rows; samples of 2 GB; one chunk of all of them."""
    for base in bases:
        data = base.read_bytes()
        for kind in (b"stsz", b"stts", b"stsc", b"stco", b"ctts", b"stss"):
            start, end = _first(data, kind)
            if end:
                at = start + (16 if kind == b"stsz" else 12)
                lie = _patched(data, at, b"\xff\xff\xff\xff")
                yield Case(f"rows-{kind.decode()}-{base.name}", "sizes that lie", "contained", base.name), lie
        if _first(data, b"stsz")[1]:
            start = _first(data, b"stsz")[0]
            huge = _patched(data, start + 12, struct.pack(">II", 0x7FFFFFFF, 0x7FFFFFFF))
            yield Case(f"samples-2g-{base.name}", "sizes that lie", "contained", base.name), huge
            # One byte a sample and one chunk that holds them all: 24 bytes of index for each in FFmpeg.
            many = _patched(data, start + 12, struct.pack(">II", 1, 100_000_000))
            many = _replaced(many, b"stsc", _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 100_000_000, 1)))
            many = _replaced(many, b"stts", _box(b"stts", struct.pack(">IIII", 0, 1, 100_000_000, 1)))
            yield Case(f"samples-100m-{base.name}", "sizes that lie", "contained", base.name), many


def _lying_elements(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    """The same in EBML elements, RIFF chunks and GIF blocks."""
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
            at = data.find(mark)
            if at >= 0:
                lie = _patched(data, at + len(mark), size)
                yield Case(f"element-{name}-{base.name}", "sizes that lie", "contained", base.name), lie


# Pictures that are too large


def _huge_pictures(bases: list[Path]) -> Iterator[tuple[Case, bytes]]:
    """Widths and heights of 60000 where containers and streams state them."""
    by_name = {base.name: base.read_bytes() for base in bases}
    for name, data in by_name.items():
        start, end = _first(data, b"stsd")
        if end:
            lie = _patched(data, start + 16 + 32, struct.pack(">HH", 60_000, 60_000))
            yield Case(f"size-stsd-{name}", "huge pictures", "contained", name), lie
    huge = [
        ("whole.gif", 6, struct.pack("<HH", 60_000, 60_000)),
        ("vp9.ivf", 12, struct.pack("<HH", 60_000, 60_000)),
        ("mpeg4.avi", by_name["mpeg4.avi"].find(b"strf") + 12, struct.pack("<II", 60_000, 60_000)),
        ("mpeg4.avi", by_name["mpeg4.avi"].find(b"avih") + 40, struct.pack("<II", 60_000, 60_000)),
        ("mpeg2.mpg", by_name["mpeg2.mpg"].find(b"\0\0\1\xb3") + 4, b"\xff\xff\xff"),
    ]
    for number, (name, at, value) in enumerate(huge):
        yield Case(f"size-{number}-{name}", "huge pictures", "contained", name), _patched(by_name[name], at, value)
    rows = by_name["raw.y4m"].partition(b"\n")[2]
    for number, size in enumerate((b"W60000 H60000", b"W9000 H9000", b"W0 H0", b"W-5 H48", b"W99999999999 H1")):
        data = b"YUV4MPEG2 " + size + b" F10:1 Ip C420\n" + rows
        yield Case(f"size-{number}-raw.y4m", "huge pictures", "refused"), data


def _bombs(folder: Path) -> Iterator[Case]:
    """Small files of pictures that are really huge: 16000 x 16000 is below FFmpeg's own limit."""
    for width, height in ((9_000, 9_000), (16_000, 16_000), (60_000, 60_000), (65_535, 16), (16, 65_535), (0, 0)):
        name = f"bomb-{width}x{height}.gif"
        (folder / name).write_bytes(gif(width, height))
        yield Case(name, "huge pictures", "refused")
    picture = folder.parent / "bomb.png"
    picture.write_bytes(png(16_000, 16_000))
    for suffix in ("mov", "mkv", "avi"):
        name = f"bomb-png.{suffix}"
        _ffmpeg("-f", "png_pipe", "-i", str(picture), "-c", "copy", str(folder / name))
        yield Case(name, "huge pictures", "refused")


def gif(width: int, height: int) -> bytes:
    """A GIF of one pixel on a canvas of width x height."""
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff"
    return screen + b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\2\2\x44\1\0" + b"\x3b"


def png(width: int, height: int, has_pixels: bool = True) -> bytes:
    """A black PNG of one bit a pixel, or one that only says how large it is."""
    rows = bytes((width // 8 + 1) * height if has_pixels else 100)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# Files that point at others

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


def _playlists(targets: Targets) -> Iterator[tuple[Case, bytes]]:
    suffixes = ("mp4", "mkv", "ts", "avi", "mov", "webm")
    number = 0
    for form, text in _LISTS.items():
        for way, target in targets.urls.items():
            number += 1
            if number % 3 == 0 and form not in {"m3u8", "ffconcat"}:
                continue  # all ways in the two that matter most, two thirds of them elsewhere
            name = f"list-{form}-{way}.{suffixes[number % len(suffixes)]}"
            yield Case(name, "playlists", "refused"), text.format(target).encode()


def _references(bases: list[Path], targets: Targets) -> Iterator[tuple[Case, bytes]]:
    """MP4 files whose samples lie in another file (dref), and QuickTime movies that only name one (rmra)."""
    data = next(base for base in bases if base.name == "end.mp4").read_bytes()
    for way in ("path", "relative", "file", "http", "tcp"):
        target = targets.urls[way]
        for kind, entry in {
            "alis": _alias(target),
            "url": _box(b"url ", b"\0\0\0\0" + target.encode() + b"\0"),
        }.items():
            dref = _box(b"dref", struct.pack(">II", 0, 1) + entry)
            # Whether or not it is heeded, the sound samples of this very file may be shown.
            case = Case(f"dref-{kind}-{way}.mp4", "references", "not wrong", "end.mp4")
            yield case, _replaced(data, b"dref", dref)
        link = _box(b"rdrf", b"\0\0\0\0url " + struct.pack(">I", len(target) + 1) + target.encode() + b"\0")
        movie = _box(b"ftyp", b"qt  \0\0\2\0qt  ") + _box(b"moov", _box(b"rmra", _box(b"rmda", link)))
        yield Case(f"rmra-{way}.mov", "references", "refused"), movie


def _alias(target: str) -> bytes:
    """A Macintosh alias record as libavformat/mov.c reads it: a path from the root, or from one folder up."""
    path, name = target.encode(), Path(target).name.encode()[:63]
    levels = (1, 1) if target.startswith("..") else (0, 0)
    path += b"\0" * (len(path) % 2)
    record = bytes(10) + b"\0" + bytes(27) + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    record += struct.pack(">HH", *levels) + bytes(16)
    record += struct.pack(">HH", 2, len(path)) + path + struct.pack(">HH", 0xFFFF, 0) + bytes(40)
    return _box(b"alis", b"\0\0\0\0" + record)


def _attached(folder: Path, bases: list[Path], targets: Targets) -> Iterator[Case]:
    """Matroska files with a playlist attached, and with tags that name files."""
    base = next(base for base in bases if base.name == "h264.mkv")
    for way in ("path", "http", "concat"):
        text = folder.parent / "attached.m3u8"
        text.write_text(_LISTS["m3u8"].format(targets.urls[way]))
        name = f"attached-{way}.mkv"
        words = ["-attach", str(text), "-metadata:s:t", "mimetype=application/x-mpegURL"]
        words += ["-metadata", f"SEGMENT_FILENAME={targets.urls[way]}", "-metadata", "title=\x1b[31m<script>"]
        _ffmpeg("-i", str(base), *words, "-c", "copy", "-bitexact", str(folder / name))
        yield Case(name, "references", "right", base.name)


# Names


def _names(bases: list[Path], targets: Targets) -> Iterator[tuple[Case, bytes]]:
    """A sound video under names that FFmpeg, a shell, a terminal, HTML or printf would take for something else."""
    base = next(base for base in bases if base.name == "end.mp4")
    there = f"127.0.0.1:{targets.port}"
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
        f"http:/{there}/a.mp4",
        f"tcp:/{there}.mp4",
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
        yield Case(name, "names", "right", base.name), base.read_bytes()


def _special_files(folder: Path, targets: Targets) -> Iterator[Case]:
    """What bears a video's name and is no plain file. The readers refuse it too, though no manifest lets it pass."""
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "terminal.mp4").symlink_to("/dev/tty")
    (folder / "descriptor.mp4").symlink_to("/dev/stdin")
    (folder / "ring.mp4").symlink_to("ring.mp4")
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    for name in ("pipe", "folder", "device", "terminal", "descriptor", "ring", "dangling"):
        yield Case(f"{name}.mp4", "no plain file", "refused")


def make_pictures(folder: Path, seed: int) -> list[str]:
    """Pictures that are damaged or say that they are huge, for what reads pictures back."""
    folder.mkdir(parents=True)
    made = {
        "bomb.gif": gif(30_000, 30_000),
        "declared.png": png(60_000, 60_000, has_pixels=False),
        "bomb.png": png(30_000, 30_000, has_pixels=False),
        "empty.jpg": b"",
        "text.jpg": b"#EXTM3U\n" * 100,
        "svg.jpg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "huge.ppm": b"P6 60000 60000 255\n",
        "huge.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 1, 1, 0, 0),
        "huge.hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n",
    }
    _ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=1", "-frames:v", "1", "-bitexact", str(folder / "sound.jpg"))
    sound = (folder / "sound.jpg").read_bytes()
    for number in range(20):
        rng = random.Random(f"{seed} picture {number}")
        damaged = bytearray(sound if number % 2 else sound[: rng.randrange(len(sound))])
        for _ in range(10 if number % 2 else 0):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        made[f"{number}.jpg"] = bytes(damaged)
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return ["sound.jpg", *made]
