"""Receive uploads by the core of tus 1.0: create, ask for the offset, send bytes from there."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from collections.abc import AsyncIterator
from io import FileIO

from deployments.web.core import Core
from deployments.web.errors import WebError, make_full_disk, make_not_found
from deployments.web.presets import check_preset
from deployments.web.uploads import FlowKey, Upload

_MAX_UPLOADS = 200  # per user
_MAX_NAME = 200
_BUFFER_BYTES = 1 << 18
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def create_upload(core: Core, owner: str, name: str, size_bytes: int, flow: FlowKey, preset: str) -> Upload:
    """Create an upload. Raises WebError if its name, size or preset is not allowed, or there is no space."""
    _check_name(name)
    check_preset(flow, preset)
    _check_size(core, owner, size_bytes)
    try:
        return core.store.create(owner, name, size_bytes, flow, preset)
    except OSError as error:
        raise _explain(error) from error


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise WebError(422, f"A file name has 1 to {_MAX_NAME} printable characters.")
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise WebError(422, "The name contains a folder: send only the name of the file, without / and \\.")


def _check_size(core: Core, owner: str, size_bytes: int) -> None:
    settings, store = core.settings, core.store
    if not 0 < size_bytes <= settings.max_size:
        allowed = settings.max_size.human_readable()
        raise WebError(413, f"The file has {size_bytes:,} bytes; this service accepts 1 byte to {allowed}.")
    uploads = list(store.list_all())
    if sum(upload.owner == owner for upload in uploads) >= _MAX_UPLOADS:
        raise WebError(413, f"You have {_MAX_UPLOADS} uploads, the maximum: delete one first.")
    if store.measure(owner) + size_bytes > settings.quota:
        quota = settings.quota.human_readable()
        raise WebError(413, f"The file does not fit into your quota of {quota}: delete an upload first.")
    expected = sum(store.count_missing_bytes(upload) for upload in uploads)
    if shutil.disk_usage(settings.folder).free - expected - settings.reserve < size_bytes:
        raise WebError(507, "The disk of the server has no space for this file: try again later.")


async def receive_bytes(core: Core, upload: Upload, offset: int, stream: AsyncIterator[bytes]) -> int:
    """Append the bytes of ``stream`` to an upload; return the new offset.

    What arrived stays if the connection breaks, the disk is full, or this process is killed. Raises WebError 409 if
    ``offset`` is not the number of bytes so far, 423 if another request sends bytes, 413 if there are too many.
    """
    if upload.id in core.receiving:
        raise WebError(423, "Another request is sending this file: wait until it ends.")
    folder = core.locate(upload)
    if upload.video is not None or upload.refusal or folder.received_bytes != offset:
        raise WebError(409, f"The upload continues at {get_offset(core, upload)}, not at {offset}.")
    core.receiving.add(upload.id)
    try:
        with FileIO(folder.part, "ab") as file:  # unbuffered: after an error, nothing is written later
            await _append(core, upload, file, stream)
    except OSError as error:
        raise _explain(error) from error
    finally:
        core.receiving.discard(upload.id)
    core.store.update(upload, changed_at=time.time())
    return folder.received_bytes


def get_offset(core: Core, upload: Upload) -> int:
    """Return the number of bytes that have arrived."""
    return upload.size_bytes if upload.video or upload.refusal else core.locate(upload).received_bytes


async def _append(core: Core, upload: Upload, file: FileIO, stream: AsyncIterator[bytes]) -> None:
    start, buffer = file.tell(), bytearray()
    chunks = aiter(stream)
    try:
        while (chunk := await _read_chunk(chunks, core.settings.stall_seconds)) is not None:
            buffer += chunk
            if file.tell() + len(buffer) > upload.size_bytes:
                file.truncate(start)
                buffer.clear()
                raise WebError(413, f"More bytes arrived than the {upload.size_bytes:,} that were announced.")
            if len(buffer) >= _BUFFER_BYTES:
                await _write(core, upload, file, buffer)
    finally:
        if buffer:
            await _write(core, upload, file, buffer)
        await asyncio.to_thread(os.fsync, file.fileno())


async def _write(core: Core, upload: Upload, file: FileIO, buffer: bytearray) -> None:
    """Write ``buffer`` and clear it; after a full disk, as much of it as fits stays. Raises WebError 404 if deleted."""
    if not core.locate(upload).record.exists():
        buffer.clear()
        raise make_not_found()
    data = bytes(buffer)
    buffer.clear()
    await asyncio.to_thread(_write_all, file, data)


def _write_all(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


async def _read_chunk(chunks: AsyncIterator[bytes], seconds: float) -> bytes | None:
    try:
        return await asyncio.wait_for(anext(chunks), seconds)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        raise WebError(408, f"Nothing arrived for {seconds:g} s. What was uploaded is kept: continue.") from None


def _explain(error: OSError) -> WebError:
    if error.errno in FULL_DISK:
        return make_full_disk()
    return WebError(503, f"The server cannot write the file ({error.strerror}). What was uploaded is kept.")
