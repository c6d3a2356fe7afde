"""A network cable in user space, which delays and loses packets: ``python -m tests.chaos.cable NAMESPACE PORT``.

Kernels often lack the module netem. A cable connects two TAP devices: ``eth0`` in the network namespace in which it is
started, and PORT in the namespace with the path NAMESPACE. Each line of standard input sets the delay of a packet in
seconds and the share of packets that are lost. The cable is ready when it has printed a line. It ends with its input.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import sys
import time
from typing import NamedTuple

DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_CLONE_NEWNET = 0x40000000
_MAX_BYTES = 65_536


class Packet(NamedTuple):
    """A packet that arrives at the time ``due`` at the device ``target``."""

    due: float
    number: int
    target: int
    content: bytes


def main(namespace: str, port: str) -> None:
    """Forward packets until standard input ends."""
    ends = [_open_tap("eth0")]
    _enter_namespace(namespace)
    ends.append(_open_tap(port))
    print("ready", flush=True)
    delay_seconds, loss = 0.0, 0.0
    waiting: list[Packet] = []
    numbers = itertools.count()
    source = random.Random(1)
    while True:
        timeout = max(0.0, waiting[0].due - time.monotonic()) if waiting else None
        ready, _, _ = select.select([sys.stdin, *ends], [], [], timeout)
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            delay_seconds, loss = map(float, line.split())
        for place, end in enumerate(ends):
            if end in ready and (content := _read(end)) and source.random() >= loss:
                due = time.monotonic() + delay_seconds
                heapq.heappush(waiting, Packet(due, next(numbers), ends[1 - place], content))
        while waiting and waiting[0].due <= time.monotonic():
            packet = heapq.heappop(waiting)
            with contextlib.suppress(OSError):  # the device is down: the cable is pulled out
                os.write(packet.target, packet.content)


def _read(end: int) -> bytes:
    try:
        return os.read(end, _MAX_BYTES)
    except OSError:  # the device is down
        return b""


def _open_tap(name: str) -> int:
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return descriptor


def _enter_namespace(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns", path)
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
