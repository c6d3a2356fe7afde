"""Small synthetic videos of many kinds for the conformance table; all frames of a video differ visibly."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg

_SOURCE = "-f lavfi -i testsrc2=s=176x144:r=25:d=2,noise=alls=12:allf=t:all_seed=7"
_INTERLACED = "-f lavfi -i testsrc2=s=352x288:r=50:d=2,noise=alls=12:allf=t:all_seed=7,tinterlace=4"
_DV = "-f lavfi -i testsrc2=s=720x576:r=25:d=1,noise=alls=12:allf=t:all_seed=7 -pix_fmt yuv420p"
_UNEVEN = r"-vf select=not(mod(n\,3))+lt(mod(n\,40)\,9) -fps_mode vfr"
_X264 = "-c:v libx264 -preset veryfast -g 15 -sc_threshold 0 -pix_fmt yuv420p"
_X265 = "-c:v libx265 -preset ultrafast -g 15 -pix_fmt yuv420p -x265-params log-level=error:scenecut=0:bframes=3"
_PALETTE = "-pix_fmt pal8"


@dataclass(frozen=True)
class Video:
    """One file of the corpus.

    path    the file
    intact  the undamaged source of the file; ``path`` itself if it is undamaged. Its full decode is the reference, so
            that a damaged frame returned without an error counts as wrong
    about   kind of file, for the table
    """

    path: Path
    intact: Path
    about: str


# File name -> (kind, ffmpeg's arguments). {name} is replaced by the path of another file of this table.
ENCODED: dict[str, tuple[str, str]] = {
    "h264.mp4": ("H.264, closed GOPs", f"{_SOURCE} {_X264}"),
    "h264-open-gop.mp4": ("H.264, open GOPs", f"{_SOURCE} {_X264} -x264-params open-gop=1:bframes=3"),
    "h264-open-gop.ts": ("H.264, open GOPs, MPEG-TS", f"{_SOURCE} {_X264} -x264-params open-gop=1:bframes=3"),
    "h264-pyramid.mkv": (
        "H.264, B-pyramid of 7",
        f"{_SOURCE} {_X264} -x264-params bframes=7:b-pyramid=normal:b-adapt=0",
    ),
    "h264-no-b.mov": ("H.264 without B-frames", f"{_SOURCE} {_X264} -bf 0"),
    "h264-intra-refresh.mp4": ("H.264, intra refresh", f"{_SOURCE} {_X264} -x264-params intra-refresh=1:bframes=0"),
    "h264-mbaff.ts": ("H.264, interlaced (MBAFF)", f"{_INTERLACED} {_X264} -flags +ildct+ilme"),
    "h264.avi": ("H.264 without presentation times, AVI", f"{_SOURCE} {_X264}"),
    "h264.h264": ("H.264 without container", f"{_SOURCE} {_X264}"),
    "h264.flv": ("H.264, FLV", f"{_SOURCE} {_X264}"),
    "h264-fragmented.mp4": ("fragmented MP4", "-i {h264.mp4} -c copy -movflags frag_keyframe+empty_moov"),
    "h264-vfr.mp4": ("variable frame rate, MP4", f"{_SOURCE} {_UNEVEN} {_X264}"),
    "h264-vfr.mkv": ("variable frame rate, Matroska", f"{_SOURCE} {_UNEVEN} {_X264}"),
    "h264-edit-list.mp4": ("edit list", "-ss 0.9 -i {h264-open-gop.mp4} -c copy"),
    "h264-rotated.mp4": ("rotated by 90 degrees", "-display_rotation 90 -i {h264.mp4} -c copy"),
    "h264-late-start.mkv": ("starts at 7 s", "-itsoffset 7 -i {h264.mp4} -c copy -copyts"),
    "h264-late-start.m2ts": (
        "starts at 600 s, M2TS",
        "-itsoffset 600 -i {h264.mp4} -c copy -copyts -mpegts_m2ts_mode 1",
    ),
    "h264-cut.ts": ("begins within an open GOP", "-ss 0.9 -i {h264-open-gop.ts} -c copy"),
    "h264-10bit-full.mkv": ("10 bit, full range", f"{_SOURCE} {_X264} -pix_fmt yuv420p10le -color_range pc"),
    "h264-444-odd.mp4": ("4:4:4, odd size", f"{_SOURCE} -vf scale=177:145 {_X264} -pix_fmt yuv444p"),
    "hevc.mp4": ("HEVC, closed GOPs", f"{_SOURCE} {_X265}:open-gop=0"),
    "hevc-open-gop.mp4": ("HEVC, open GOPs (CRA)", f"{_SOURCE} {_X265}:open-gop=1"),
    "hevc-open-gop.ts": ("HEVC, open GOPs, MPEG-TS", f"{_SOURCE} {_X265}:open-gop=1"),
    "hevc-layers.mp4": ("HEVC, three temporal layers", f"{_SOURCE} {_X265}:temporal-layers=3"),
    "hevc-10bit.mkv": ("HEVC, 10 bit", f"{_SOURCE} {_X265} -pix_fmt yuv420p10le"),
    "hevc.hevc": ("HEVC without container", f"{_SOURCE} {_X265}:open-gop=0"),
    "mpeg4-b.mp4": ("MPEG-4 part 2, B-frames", f"{_SOURCE} -c:v mpeg4 -q:v 4 -g 15 -bf 2"),
    "mpeg4-b.avi": ("MPEG-4 part 2, B-frames, AVI", f"{_SOURCE} -c:v mpeg4 -q:v 4 -g 15 -bf 2"),
    "h263.3gp": ("H.263", f"{_SOURCE} -c:v h263 -q:v 4 -g 15"),
    "flv1.flv": ("Sorenson H.263", f"{_SOURCE} -c:v flv -q:v 4 -g 15"),
    "wmv1.wmv": ("WMV 7", f"{_SOURCE} -c:v wmv1 -q:v 4 -g 15"),
    "wmv2.wmv": ("WMV 8", f"{_SOURCE} -c:v wmv2 -q:v 4 -g 15"),
    "msmpeg4.avi": ("MS-MPEG-4 v3", f"{_SOURCE} -c:v msmpeg4 -q:v 4 -g 15"),
    "msmpeg4v2.avi": ("MS-MPEG-4 v2", f"{_SOURCE} -c:v msmpeg4v2 -q:v 4 -g 15"),
    "mpeg1.mpg": ("MPEG-1", f"{_SOURCE} -c:v mpeg1video -q:v 4 -g 15 -bf 2"),
    "mpeg2.mpg": ("MPEG-2, open GOPs", f"{_SOURCE} -c:v mpeg2video -q:v 4 -g 15 -bf 2"),
    "mpeg2-interlaced.ts": (
        "MPEG-2, interlaced",
        f"{_INTERLACED} -c:v mpeg2video -q:v 4 -g 15 -bf 2 -flags +ildct+ilme",
    ),
    "mpeg2.mxf": ("MPEG-2, MXF", f"{_SOURCE} -c:v mpeg2video -q:v 4 -g 15 -bf 2"),
    "svq1.mov": ("Sorenson Video 1", f"{_SOURCE} -c:v svq1 -q:v 2 -g 15 -pix_fmt yuv410p"),
    "qtrle.mov": ("QuickTime RLE", f"{_SOURCE} -c:v qtrle -g 15"),
    "qtrle-palette.mov": ("QuickTime RLE, palette", f"{_SOURCE} {_PALETTE} -c:v qtrle -g 15"),
    "msrle.avi": ("MS RLE, palette", f"{_SOURCE} {_PALETTE} -c:v msrle -g 15"),
    "palette-raw.avi": ("raw video, palette", f"{_SOURCE} {_PALETTE} -c:v rawvideo"),
    "palette-raw.mov": ("raw video, palette, QuickTime", f"{_SOURCE} {_PALETTE} -c:v rawvideo"),
    "zmbv.avi": ("ZMBV", f"{_SOURCE} -c:v zmbv -g 15"),
    "zmbv-palette.avi": ("ZMBV, palette", f"{_SOURCE} {_PALETTE} -c:v zmbv -g 15"),
    "cinepak.mov": ("Cinepak", f"{_SOURCE} -c:v cinepak -g 15 -q:v 4"),
    "rpza.mov": ("Apple Video", f"{_SOURCE} -c:v rpza -g 15"),
    "prores.mov": ("ProRes", f"{_SOURCE} -c:v prores_ks"),
    "prores-alpha.mov": ("ProRes 4444 with alpha", f"{_SOURCE} -c:v prores_ks -pix_fmt yuva444p10le"),
    "dnxhr.mxf": ("DNxHR, MXF", f"{_SOURCE} -vf scale=256:144 -c:v dnxhd -profile:v dnxhr_sq -pix_fmt yuv422p"),
    "mjpeg.avi": ("Motion JPEG", f"{_SOURCE} -c:v mjpeg -q:v 4 -pix_fmt yuvj420p"),
    "ffv1.mkv": ("FFV1, GOPs of 15", f"{_SOURCE} -c:v ffv1 -g 15 -context 1"),
    "huffyuv.avi": ("HuffYUV", f"{_SOURCE} -c:v huffyuv -pix_fmt yuv422p"),
    "utvideo.mkv": ("Ut Video", f"{_SOURCE} -c:v utvideo -pix_fmt gbrp"),
    "vp8-hidden.webm": (
        "VP8, hidden frames",
        f"{_SOURCE} -c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -b:v 600k -cpu-used 8",
    ),
    "vp9-hidden.webm": (
        "VP9, hidden frames",
        f"{_SOURCE} -c:v libvpx-vp9 -auto-alt-ref 1 -lag-in-frames 16 -b:v 400k -g 40 -cpu-used 8",
    ),
    "vp9-alpha.webm": ("VP9 with alpha", f"{_SOURCE} -pix_fmt yuva420p -c:v libvpx-vp9 -b:v 400k -g 20 -cpu-used 8"),
    "av1.mkv": ("AV1", f"{_SOURCE} -c:v libsvtav1 -preset 12 -g 15 -crf 35"),
    "av1.mp4": ("AV1, MP4", f"{_SOURCE} -c:v libsvtav1 -preset 12 -g 15 -crf 35"),
    "av1.ivf": ("AV1, IVF", f"{_SOURCE} -c:v libsvtav1 -preset 12 -g 15 -crf 35"),
    "theora.ogv": ("Theora", f"{_SOURCE} -c:v libtheora -q:v 6 -g 15"),
    "vc2.mkv": ("VC-2 (Dirac)", f"{_SOURCE} -c:v vc2 -pix_fmt yuv422p"),
    "dv.dv": ("DV", f"{_DV} -c:v dvvideo"),
    "dv.avi": ("DV, AVI", f"{_DV} -c:v dvvideo"),
    "gif.gif": ("GIF", f"{_SOURCE} -filter_complex split[a][b];[a]palettegen[p];[b][p]paletteuse"),
    "apng.apng": ("animated PNG", f"{_SOURCE} -c:v apng -f apng"),
    "raw.nut": ("raw RGB, NUT", f"{_SOURCE} -c:v rawvideo -pix_fmt rgb24"),
    "raw.y4m": ("YUV4MPEG", f"{_SOURCE} -pix_fmt yuv420p"),
    "flashsv.flv": ("Flash Screen Video", f"{_SOURCE} -vf scale=176:144 -c:v flashsv -g 15 -pix_fmt bgr24"),
}


def flag_all_packets(source: Path, target: Path) -> None:
    """Copy a video and flag every packet as a keyframe."""
    _copy_flagged(source, target, lambda position: True)


def flag_wrong_packets(source: Path, target: Path) -> None:
    """Copy a video and flag every seventh packet as a keyframe, regardless of its content."""
    _copy_flagged(source, target, lambda position: position % 7 == 0)


def remove_sync_table(source: Path, target: Path) -> None:
    """Copy an MP4 file without its table of keyframes (``stss``), so that every frame counts as a keyframe."""
    data = source.read_bytes()
    assert b"stss" in data, source
    target.write_bytes(data.replace(b"stss", b"free"))


def truncate(source: Path, target: Path) -> None:
    """Copy the first 60 % of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: len(data) * 6 // 10])


def damage_packet(source: Path, target: Path) -> None:
    """Copy a file and overwrite the largest packet after its second keyframe with zeros, except its first 24 bytes."""
    with av.open(str(source)) as container:
        packets = [(packet.pos, packet.size, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    second = [number for number, (_, _, is_key) in enumerate(packets) if is_key][1]
    position, size, _ = max(packets[second + 1 : second + 12], key=lambda packet: packet[1])
    data = bytearray(source.read_bytes())
    data[position + 24 : position + size] = bytes(size - 24)
    target.write_bytes(data)


def move_index_to_front(source: Path, target: Path) -> None:
    """Copy an MP4 file with its index before the frames, as for streaming."""
    _run_ffmpeg("-i", str(source), "-c", "copy", "-movflags", "+faststart", str(target))


# File name -> (kind, name of the source file, change, is damaged by the change).
Change = Callable[[Path, Path], None]
CHANGED: dict[str, tuple[str, str, Change, bool]] = {
    "all-sync-h264.mp4": ("H.264 without sync table", "h264.mp4", remove_sync_table, False),
    "all-sync-h264-open.mp4": ("H.264, open GOPs, no sync table", "h264-open-gop.mp4", remove_sync_table, False),
    "all-sync-hevc.mp4": ("HEVC without sync table", "hevc.mp4", remove_sync_table, False),
    "all-sync-mpeg4.mp4": ("MPEG-4 part 2 without sync table", "mpeg4-b.mp4", remove_sync_table, False),
    "all-sync-h263.3gp": ("H.263 without sync table", "h263.3gp", remove_sync_table, False),
    "all-sync-svq1.mov": ("Sorenson Video 1 without sync table", "svq1.mov", remove_sync_table, False),
    "all-sync-qtrle.mov": ("QuickTime RLE without sync table", "qtrle.mov", remove_sync_table, False),
    "all-keyframes-mpeg4.mkv": ("MPEG-4 part 2, every packet flagged", "mpeg4-b.mp4", flag_all_packets, False),
    "all-keyframes-flv1.flv": ("Sorenson H.263, every packet flagged", "flv1.flv", flag_all_packets, False),
    "all-keyframes-wmv2.wmv": ("WMV 8, every packet flagged", "wmv2.wmv", flag_all_packets, False),
    "all-keyframes-msmpeg4.avi": ("MS-MPEG-4, every packet flagged", "msmpeg4.avi", flag_all_packets, False),
    "all-keyframes-zmbv.avi": ("ZMBV, every packet flagged", "zmbv.avi", flag_all_packets, False),
    "wrong-keyframes-mpeg4.mkv": ("MPEG-4 part 2, wrong packets flagged", "mpeg4-b.mp4", flag_wrong_packets, False),
    "wrong-keyframes-h264.mkv": ("H.264, wrong packets flagged", "h264.mp4", flag_wrong_packets, False),
    "front-h264.mp4": ("index at the front", "h264.mp4", move_index_to_front, False),
    "damaged-h264.mp4": ("H.264, one packet damaged", "h264.mp4", damage_packet, True),
    "damaged-hevc.mp4": ("HEVC, one packet damaged", "hevc.mp4", damage_packet, True),
    "damaged-mpeg4.avi": ("MPEG-4 part 2, one packet damaged", "mpeg4-b.avi", damage_packet, True),
    "damaged-vp9.webm": ("VP9, one packet damaged", "vp9-hidden.webm", damage_packet, True),
    "truncated-h264.mp4": ("MP4, 60 % of the file", "front-h264.mp4", truncate, True),
    "truncated-h264-fragmented.mp4": ("fragmented MP4, 60 %", "h264-fragmented.mp4", truncate, True),
    "truncated-h264.mkv": ("Matroska, 60 %", "h264-pyramid.mkv", truncate, True),
    "truncated-vp9.webm": ("WebM, 60 %", "vp9-hidden.webm", truncate, True),
    "truncated-mpeg4.avi": ("AVI, 60 %", "mpeg4-b.avi", truncate, True),
    "truncated-flv1.flv": ("FLV, 60 %", "flv1.flv", truncate, True),
    "truncated-h264.ts": ("MPEG-TS, 60 %", "h264-open-gop.ts", truncate, True),
    "truncated-mpeg2.mpg": ("MPEG-PS, 60 %", "mpeg2.mpg", truncate, True),
    "truncated-theora.ogv": ("Ogg, 60 %", "theora.ogv", truncate, True),
    "truncated-wmv2.wmv": ("ASF, 60 %", "wmv2.wmv", truncate, True),
    "truncated-mpeg2.mxf": ("MXF, 60 %", "mpeg2.mxf", truncate, True),
}


def make_video(name: str, folder: Path) -> Video:
    """Create the corpus file ``name`` in ``folder`` if it is missing. Raises KeyError for unknown names."""
    path = folder / name
    if name in ENCODED:
        about, arguments = ENCODED[name]
        if not path.exists():
            words = (str(make_video(word[1:-1], folder).path) if word[0] == "{" else word for word in arguments.split())
            _run_ffmpeg(*words, str(path))
        return Video(path, path, about)
    about, original, change, is_damaged = CHANGED[name]
    source = make_video(original, folder)
    if not path.exists():
        change(source.path, path)
    return Video(path, source.intact if is_damaged else path, about)


def list_names() -> list[str]:
    """Return the names of all files of the corpus."""
    return [*ENCODED, *CHANGED]


def _copy_flagged(source: Path, target: Path, is_keyframe: Callable[[int], bool]) -> None:
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        packets = (packet for packet in before.demux(stream) if packet.size)
        for position, packet in enumerate(packets):
            packet.is_keyframe = is_keyframe(position)
            packet.stream = copy
            after.mux(packet)


def _run_ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True, capture_output=True)
