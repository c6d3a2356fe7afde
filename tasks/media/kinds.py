"""Recognizing videos, images and light curves by their suffixes, else by their first bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".avc", ".avi", ".divx", ".dv", ".dvr-ms", ".f4v", ".flv", ".gif",
    ".gxf", ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg",
    ".mjpg", ".mk3d", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogm",
    ".ogv", ".qt", ".rm", ".rmvb", ".swf", ".tod", ".tp", ".trp", ".ts", ".vob", ".vro", ".webm", ".wm", ".wmv", ".wtv",
    ".xvid", ".y4m",
})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
FITS_SUFFIXES = frozenset({".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz"})
TEXT_TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".csv.gz", ".tsv.gz"})
# Files with these suffixes are of other kinds, or incomplete, whatever their first bytes are.
_OTHER_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg", ".psd", ".ico",
    ".thm", ".dng", ".cr2", ".nef", ".exr", ".dpx", ".aae", ".xmp", ".lrv",
    ".mp3", ".m4a", ".m4b", ".aac", ".wav", ".flac", ".oga", ".opus", ".wma", ".ac3", ".mka", ".aif", ".aiff", ".mid",
    ".part", ".partial", ".crdownload", ".download", ".filepart", ".aria2", ".tmp", ".bak", ".swp", ".lock",
    ".md", ".json", ".jsonl", ".ndjson", ".xml", ".html", ".htm", ".srt", ".ass", ".vtt", ".sub", ".idx", ".nfo",
    ".log", ".yaml", ".yml", ".toml", ".ini", ".py", ".sh", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".url", ".lnk",
    ".m3u", ".m3u8", ".ram", ".pls", ".xspf", ".edl", ".avs", ".vpy", ".zip", ".tar", ".7z", ".rar", ".tar.gz",
    ".parquet", ".npz", ".npy", ".h5", ".pkl", ".db", ".sqlite",
})
# fmt: on
HEAD_BYTES = 2048
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"pnot")  # of QuickTime and MP4
_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska
    b"FLV\x01",
    bytes.fromhex("3026b2758e66cf11"),  # ASF
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"GIF87a",
    b"GIF89a",
    b"YUV4MPEG2",
    b".RMF",
    b"DKIF",
    b"nut/multimedia container",
    bytes.fromhex("060e2b34020501010d010201"),  # MXF
    bytes.fromhex("b7d800203749da11"),  # WTV
    b"\x1f\x07\x00",  # DV
    b"\x00\x00\x00\x01\x67",  # H.264
    b"\x00\x00\x00\x01\x40\x01",  # HEVC
)
_PACKET_BYTES = 188  # of an MPEG transport stream; 192 with a time in front of each
_SYNC = 0x47
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class InputKind:
    """The kind of files that a flow reads.

    name           for messages, such as ``videos``
    suffixes       files with these suffixes are always read; a damaged one fails
    is_readable    decides from the first bytes if a file with another suffix is read
    counts_images  images are counted too
    """

    name: str
    suffixes: frozenset[str]
    is_readable: Callable[[bytes], bool]
    counts_images: bool = False


def get_suffix(name: str) -> str:
    """Return the suffix of a file name in lower case with its dot; with ``.gz``, also the suffix before it."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return ""
    suffix = f".{suffix.lower()}"
    return get_suffix(stem) + suffix if suffix == ".gz" else suffix


def is_ambiguous(suffix: str) -> bool:
    """Return True if the kind of a file with this suffix depends on its content."""
    return suffix not in _OTHER_SUFFIXES


def is_video(head: bytes) -> bool:
    """Return True if a file that begins with ``head`` (up to HEAD_BYTES) is a video in a known container."""
    if head.startswith(_STARTS) or head[4:8] in _BOXES:
        return True
    if head.startswith(b"RIFF"):
        return head[8:12] in (b"AVI ", b"CDXA")
    if head.startswith(b"OggS"):
        return b"theora" in head or b"video" in head
    return _is_transport_stream(head, 0, _PACKET_BYTES) or _is_transport_stream(head, 4, _PACKET_BYTES + 4)


def _is_transport_stream(head: bytes, offset: int, packet_bytes: int) -> bool:
    sync_bytes = head[offset::packet_bytes]
    return len(sync_bytes) >= 4 and set(sync_bytes) == {_SYNC}


def is_light_curve(head: bytes) -> bool:
    """Return True if a file that begins with ``head`` is FITS, or text with at least two columns of numbers."""
    if head.startswith(_GZIP):
        return _is_packed_light_curve(head)
    if head.startswith(b"SIMPLE  ="):
        return True
    lines = head.split(b"\n")
    complete = lines if len(head) < HEAD_BYTES else lines[:-1]
    try:
        rows = [
            line.decode().strip() for line in complete if line.strip() and line.lstrip()[:1] not in (b"#", b"\\", b"|")
        ]
    except UnicodeDecodeError:
        return False
    return bool(rows) and sum(map(_is_row, rows)) * 2 > len(rows)


def _is_packed_light_curve(head: bytes) -> bool:
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return False
    return not unpacked.startswith(_GZIP) and is_light_curve(unpacked)


def _is_row(line: str) -> bool:
    """Return True if the first two cells of a line are numbers."""
    cells = line.replace(",", " ").replace(";", " ").split()[:2]
    try:
        return len([float(cell) for cell in cells]) == 2
    except ValueError:
        return False


VIDEOS = InputKind("videos", VIDEO_SUFFIXES, is_video)
IMAGES_AND_VIDEOS = InputKind("images or videos", VIDEO_SUFFIXES, is_video, counts_images=True)
LIGHT_CURVES = InputKind("light curves", FITS_SUFFIXES | TEXT_TABLE_SUFFIXES, is_light_curve)
