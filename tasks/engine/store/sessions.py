"""Open an output folder in a store: lease it, list it once, and leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.engine.contract.errors import LockLost
from tasks.engine.store.layout import STATE_FOLDER, Layout
from tasks.engine.store.lease import CLAIMS_FOLDER, Lease, hold_lease
from tasks.engine.store.lock import Owner
from tasks.engine.store.object_folder import CACHE_FOLDER, forget_object_folder
from tasks.stores.published import is_copy, write_marker

_KEPT = frozenset({"lock", "private", Path(CACHE_FOLDER).name})  # of the state folder, between runs


@contextmanager
def lease_output_dir(layout: Layout, run_id: str, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of an output folder in a store and list its objects; clear the local work folder afterwards.

    Raises RunError if another run is at work there, or if the store cannot be used.
    """
    clear_work_folder(layout)
    write_marker(layout.output_dir, layout.store)
    objects = layout.objects
    try:
        with hold_lease(objects.store, Owner.mine(run_id), say) as lease:
            objects.guard = lease.check
            objects.store.abort_uploads()
            objects.list_once()
            _remove_claims(layout)
            yield lease
            with suppress(LockLost):
                objects.flush()
            objects.sweep_cache()
    finally:
        forget_object_folder(layout.store, layout.output_dir)
        clear_work_folder(layout)


_joined: dict[str, Layout] = {}


def join_output_dir(layout: Layout, run_id: str, check: Callable[[], None]) -> None:
    """Prepare a worker to publish to a store. ``check`` raises LockLost if the run has lost its lease."""
    if run_id not in _joined:
        write_marker(layout.output_dir, layout.store)
        layout.objects.guard = check
        _joined[run_id] = layout


def leave_output_dir(run_id: str) -> None:
    """Clear the work folder of a run that this worker has joined, unless the run's flow uses the same folder."""
    layout = _joined.pop(run_id, None)
    if layout is None:
        return
    forget_object_folder(layout.store, layout.output_dir)
    layout.local.tree.remove(f"{layout.relative(layout.private)}/{run_id}")
    if not layout.lock.exists():
        clear_work_folder(layout)


def list_output_dir(layout: Layout) -> None:
    """List the objects of an output folder in a store once, to read them only."""
    write_marker(layout.output_dir, layout.store)
    layout.objects.list_once()


def _remove_claims(layout: Layout) -> None:
    """Remove the claims of workers of dead runs."""
    layout.objects.remove([info.key for info in layout.objects.list(CLAIMS_FOLDER)])


def clear_work_folder(layout: Layout) -> None:
    """Remove local copies of outputs, and everything else but the cache of records."""
    tree = layout.local.tree
    for name in tree.names():
        if name != STATE_FOLDER:
            tree.remove(name)
    for name in tree.names(STATE_FOLDER):
        if name not in _KEPT:
            tree.remove(f"{STATE_FOLDER}/{name}")


def upload_remaining(layout: Layout) -> None:
    """Upload files that a flow wrote itself after its stages: those in the work folder that were not published.

    Raises StoreError if the store cannot be used.
    """
    objects = layout.objects
    for folder, folders, names in os.walk(layout.output_dir):
        if Path(folder) == layout.output_dir:
            folders[:] = [name for name in folders if name != STATE_FOLDER]
        for name in sorted(names):
            path = Path(folder, name)
            key = layout.relative(path)
            if path.is_file() and not path.is_symlink() and not is_copy(path):
                objects.put_back(key, path)
