"""Machines as network namespaces on one switch: each can be cut off from the others without a word.

What a cut machine sends is lost, and so is what is sent to it: no FIN, no RST, as when a cable is pulled out. Needs
Linux, root and iproute2.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.engine.processes import wait_until

_SUBNET = "10.77.0"


@dataclass(frozen=True)
class Machine:
    """Where a process runs: ``prefix`` goes before its command, ``variables`` into its environment."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def forbidden() -> str:
    """Why there can be no network; empty where there can."""
    command = ["unshare", "--net", "ip", "link", "add", "left", "type", "veth", "peer", "name", "right"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return f"{error.filename} is missing: apt-get install iproute2 util-linux"
    return f"network namespaces are not permitted: {tried.stderr.strip()}" if "not permitted" in tried.stderr else ""


class Network:
    """A switch and what is plugged into it. Everything goes with the processes that hold the namespaces."""

    def __init__(self) -> None:
        self._holders: list[subprocess.Popen[bytes]] = []
        self._switch = self._namespace()
        self._ip(self._switch, "link add switch type bridge")
        self._ip(self._switch, "link set switch up")
        self._plugs: dict[str, str] = {}

    def machine(self, variables: Mapping[str, str]) -> Machine:
        """Another machine on the switch."""
        number = len(self._plugs) + 1
        plug, address, holder = f"plug{number}", f"{_SUBNET}.{number}", self._namespace()
        self._ip(self._switch, f"link add {plug} type veth peer name eth0 netns {holder}")
        self._ip(self._switch, f"link set {plug} master switch up")
        self._ip(holder, "link set lo up")
        self._ip(holder, f"address add {address}/24 dev eth0")
        self._ip(holder, "link set eth0 up")
        self._plugs[address] = plug
        return Machine(address, _within(holder), variables)

    def cut(self, machine: Machine) -> None:
        """From now on nothing gets through to ``machine`` or from it."""
        self._ip(self._switch, f"link set {self._plugs[machine.address]} down")

    def close(self) -> None:
        """Let the namespaces go."""
        for holder in self._holders:
            with contextlib.suppress(OSError):
                holder.communicate()

    def _namespace(self) -> int:
        """A process that holds a namespace of its own as long as this process lives."""
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, start_new_session=True)
        self._holders.append(holder)
        wait_until(lambda: namespace(holder.pid) != namespace(os.getpid()), "a network namespace")
        return holder.pid

    def _ip(self, holder: int, words: str) -> None:
        subprocess.run([*_within(holder), "ip", *words.split()], check=True)


def _within(holder: int) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{holder}/ns/net")


def namespace(pid: int) -> str:
    """Which network namespace a process is in; empty where there is no such process."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def on(machine: Machine, pids: Sequence[int]) -> list[int]:
    """Those of ``pids`` that run on ``machine``."""
    where = str(Path(machine.prefix[1].removeprefix("--net=")).readlink())
    return [pid for pid in pids if namespace(pid) == where]


@contextmanager
def network() -> Iterator[Network]:
    """A network that is gone afterwards."""
    made = Network()
    try:
        yield made
    finally:
        made.close()
