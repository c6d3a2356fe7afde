"""Which files are videos, images or light curves: by their suffixes, else by their first bytes."""

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
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
FITS_SUFFIXES = frozenset({".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz"})
TEXT_TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".csv.gz", ".tsv.gz"})
# Files with these suffixes are other things, or not whole yet, whatever their first bytes are.
_OTHERS = frozenset({
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
class Reads:
    """The files that a flow reads.

    what        their name for people, such as ``videos``
    suffixes    of files that are read, whatever they hold: a damaged one fails
    is_readable tells by the first bytes whether a file with another suffix is read
    pictures    whether images are counted too
    """

    what: str
    suffixes: frozenset[str]
    is_readable: Callable[[bytes], bool]
    pictures: bool = False


def suffix_of(name: str) -> str:
    """Return the suffix of a file name in lower case with its dot, before ``.gz`` the one in front of it too."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return ""
    suffix = f".{suffix.lower()}"
    return suffix_of(stem) + suffix if suffix == ".gz" else suffix


def may_be_anything(suffix: str) -> bool:
    """Return True if only the content can tell what a file with this suffix is."""
    return suffix not in _OTHERS


def is_video(head: bytes) -> bool:
    """Return True if a file that begins with ``head`` (HEAD_BYTES, or all of it) is a video of a known container."""
    if head.startswith(_STARTS) or head[4:8] in _BOXES:
        return True
    if head.startswith(b"RIFF"):
        return head[8:12] in (b"AVI ", b"CDXA")
    if head.startswith(b"OggS"):
        return b"theora" in head or b"video" in head
    return _is_transport_stream(head, 0, _PACKET_BYTES) or _is_transport_stream(head, 4, _PACKET_BYTES + 4)


def _is_transport_stream(head: bytes, offset: int, packet_bytes: int) -> bool:
    signs = head[offset::packet_bytes]
    return len(signs) >= 4 and set(signs) == {_SYNC}


def is_light_curve(head: bytes) -> bool:
    """Return True if a file that begins with ``head`` is FITS, or text with at least two columns of numbers."""
    if head.startswith(_GZIP):
        return _is_packed_light_curve(head)
    if head.startswith(b"SIMPLE  ="):
        return True
    lines = head.split(b"\n")
    whole = lines if len(head) < HEAD_BYTES else lines[:-1]
    try:
        rows = [
            line.decode().strip() for line in whole if line.strip() and line.lstrip()[:1] not in (b"#", b"\\", b"|")
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


VIDEOS = Reads("videos", VIDEO_SUFFIXES, is_video)
PICTURES_AND_VIDEOS = Reads("images or videos", VIDEO_SUFFIXES, is_video, pictures=True)
LIGHT_CURVES = Reads("light curves", FITS_SUFFIXES | TEXT_TABLE_SUFFIXES, is_light_curve)
