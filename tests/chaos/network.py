"""Emulate machines as network namespaces on one switch; each can be disconnected silently, slowed down or killed.

Packets from and to a disconnected machine are lost, without FIN or RST, as if a cable was pulled out. Needs Linux,
root and iproute2; slow cables need TAP devices too, see :mod:`tests.chaos.cable`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.cable import DEVICE
from tests.engine.processes import ROOT, wait_until

_SUBNET = "10.77.0"


@dataclass(frozen=True)
class Machine:
    """Machine for processes: ``prefix`` goes before a command, ``variables`` into its environment."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def find_slow_obstacle() -> str:
    """Return the reason why no slow cable can be created; empty if it can."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        return f"network namespaces are not permitted: {DEVICE}: {error.strerror}"
    return find_obstacle()


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
        self._cables: dict[str, subprocess.Popen[str]] = {}
        self._switch = self._create_namespace()
        self._run_ip(self._switch, "link add switch type bridge")
        self._run_ip(self._switch, "link set switch up")
        self._plugs: dict[str, str] = {}

    def add_machine(self, variables: Mapping[str, str], has_slow_cable: bool = False) -> Machine:
        """Add a machine to the switch. ``has_slow_cable``: its cable can be slowed down by :meth:`slow_down`."""
        number = len(self._plugs) + 1
        plug, address, holder = f"plug{number}", f"{_SUBNET}.{number}", self._create_namespace()
        if has_slow_cable:
            self._cables[address] = self._lay_cable(holder, plug)
        else:
            self._run_ip(self._switch, f"link add {plug} type veth peer name eth0 netns {holder}")
        self._run_ip(self._switch, f"link set {plug} master switch up")
        self._run_ip(holder, "link set lo up")
        self._run_ip(holder, f"address add {address}/24 dev eth0")
        self._run_ip(holder, "link set eth0 up")
        self._plugs[address] = plug
        return Machine(address, _build_prefix(holder), variables)

    def _lay_cable(self, holder: int, plug: str) -> subprocess.Popen[str]:
        """Connect a machine and the switch by a process that can delay and lose packets."""
        command = [sys.executable, "-m", "tests.chaos.cable", f"/proc/{self._switch}/ns/net", plug]
        cable = subprocess.Popen(
            [*_build_prefix(holder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert cable.stdout is not None
        assert cable.stdout.readline() == "ready\n"
        return cable

    def slow_down(self, machine: Machine, delay_seconds: float, loss: float) -> None:
        """Delay each packet from and to ``machine``, and lose a share of them."""
        cable = self._cables[machine.address]
        assert cable.stdin is not None
        cable.stdin.write(f"{delay_seconds} {loss}\n")
        cable.stdin.flush()

    def disconnect(self, machine: Machine) -> None:
        """Disconnect ``machine``: all packets from and to it are lost."""
        self._run_ip(self._switch, f"link set {self._plugs[machine.address]} down")

    def connect(self, machine: Machine) -> None:
        """Connect ``machine`` again."""
        self._run_ip(self._switch, f"link set {self._plugs[machine.address]} up")

    def kill(self, machine: Machine) -> None:
        """Kill all processes of ``machine`` as a power cut does: its connections are not closed."""
        self.disconnect(machine)
        while pids := [pid for pid in _list_on_machine(machine) if pid not in self._own_pids()]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _wait_for_ends(pids)

    def _own_pids(self) -> set[int]:
        """Return the processes that hold namespaces or are cables."""
        return {process.pid for process in (*self._holders, *self._cables.values())}

    def close(self) -> None:
        """End the processes that hold the namespaces, and the cables."""
        for cable in self._cables.values():
            cable.communicate()
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


def _list_on_machine(machine: Machine) -> list[int]:
    """Return all processes of ``machine`` that have not ended."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in select_on_machine(machine, pids) if _is_alive(pid)]


def _wait_for_ends(pids: Sequence[int]) -> None:
    wait_until(lambda: not any(map(_is_alive, pids)), "the end of killed processes")


def _is_alive(pid: int) -> bool:
    """Return True if a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def create_network() -> Iterator[Network]:
    """Yield a network, and remove it at the end of the block."""
    network = Network()
    try:
        yield network
    finally:
        network.close()
