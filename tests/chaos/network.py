"""Emulate machines as network namespaces on one switch; each can be disconnected silently.

Packets from and to a disconnected machine are lost, without FIN or RST, as if a cable was pulled out. Needs Linux,
root and iproute2.
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
    """Machine for processes: ``prefix`` goes before a command, ``variables`` into its environment."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def find_obstacle() -> str:
    """Return the reason why no network can be created; empty if it can."""
    command = ["unshare", "--net", "ip", "link", "add", "left", "type", "veth", "peer", "name", "right"]
    try:
        attempt = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return f"{error.filename} is missing: apt-get install iproute2 util-linux"
    return (
        f"network namespaces are not permitted: {attempt.stderr.strip()}" if "not permitted" in attempt.stderr else ""
    )


class Network:
    """Switch with its machines. It vanishes with the processes that hold the namespaces."""

    def __init__(self) -> None:
        self._holders: list[subprocess.Popen[bytes]] = []
        self._switch = self._create_namespace()
        self._run_ip(self._switch, "link add switch type bridge")
        self._run_ip(self._switch, "link set switch up")
        self._plugs: dict[str, str] = {}

    def add_machine(self, variables: Mapping[str, str]) -> Machine:
        """Add a machine to the switch."""
        number = len(self._plugs) + 1
        plug, address, holder = f"plug{number}", f"{_SUBNET}.{number}", self._create_namespace()
        self._run_ip(self._switch, f"link add {plug} type veth peer name eth0 netns {holder}")
        self._run_ip(self._switch, f"link set {plug} master switch up")
        self._run_ip(holder, "link set lo up")
        self._run_ip(holder, f"address add {address}/24 dev eth0")
        self._run_ip(holder, "link set eth0 up")
        self._plugs[address] = plug
        return Machine(address, _build_prefix(holder), variables)

    def disconnect(self, machine: Machine) -> None:
        """Disconnect ``machine``: all packets from and to it are lost."""
        self._run_ip(self._switch, f"link set {self._plugs[machine.address]} down")

    def close(self) -> None:
        """End the processes that hold the namespaces."""
        for holder in self._holders:
            with contextlib.suppress(OSError):
                holder.communicate()

    def _create_namespace(self) -> int:
        """Start a process that holds a new namespace as long as this process lives; return its pid."""
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, start_new_session=True)
        self._holders.append(holder)
        wait_until(lambda: read_namespace(holder.pid) != read_namespace(os.getpid()), "a network namespace")
        return holder.pid

    def _run_ip(self, holder: int, arguments: str) -> None:
        subprocess.run([*_build_prefix(holder), "ip", *arguments.split()], check=True)


def _build_prefix(holder: int) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{holder}/ns/net")


def read_namespace(pid: int) -> str:
    """Return the network namespace of a process; empty if the process has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def select_on_machine(machine: Machine, pids: Sequence[int]) -> list[int]:
    """Return those of ``pids`` that run on ``machine``."""
    namespace = str(Path(machine.prefix[1].removeprefix("--net=")).readlink())
    return [pid for pid in pids if read_namespace(pid) == namespace]


@contextmanager
def create_network() -> Iterator[Network]:
    """Yield a network, and remove it at the end of the block."""
    network = Network()
    try:
        yield network
    finally:
        network.close()
