"""The devices (graphics cards) that this process may use, and the variables that give a slot exactly one of them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.engine.contract.stage import Stage

LIST_VARIABLE = "HEADRACE_DEVICES"  # names the devices of this process: overrides what is found
# In the child of a slot: the position of its device in the list of the process, and its index for Vulkan.
NUMBER_VARIABLE = "HEADRACE_DEVICE"
VULKAN_VARIABLE = "HEADRACE_VULKAN_DEVICE"
CUDA_VARIABLE = "CUDA_VISIBLE_DEVICES"
_LIST_SECONDS = 20.0
_CARD = re.compile(r"^GPU \d+: .*\(UUID: ([\w-]+)\)", re.MULTILINE)
_PART = re.compile(r"^\s+MIG .*\(UUID: ([\w-]+)\)", re.MULTILINE)


@dataclass(frozen=True)
class Device:
    """One device of a process.

    identity  the same for all processes that see this device, and different for all other devices
    name      its name for CUDA_VISIBLE_DEVICES; empty if CUDA does not know it
    number    its position in the list of the process
    vulkan    its index for Vulkan
    """

    identity: str
    name: str
    number: int
    vulkan: int

    def build_variables(self, hides_others: bool) -> dict[str, str]:
        """Return the variables of a child that uses this device. ``hides_others``: CUDA shows it no other device."""
        cuda = {CUDA_VARIABLE: self.name} if self.name and hides_others else {}
        return {NUMBER_VARIABLE: str(self.number), VULKAN_VARIABLE: str(self.vulkan), **cuda}


def read_machine() -> str:
    """Return a name that differs between machines, and between containers of one machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}".strip()


def list_devices(environment: Mapping[str, str] = os.environ) -> tuple[Device, ...]:
    """Return the devices that this process may use: those in HEADRACE_DEVICES, else NVIDIA's.

    CUDA_VISIBLE_DEVICES restricts NVIDIA's devices, as batch systems do for a job.
    """
    given = environment.get(LIST_VARIABLE)
    if given is not None:
        return _make_devices(split_names(given), {})
    cards, parts = _list_cards()
    visible = environment.get(CUDA_VARIABLE)
    if visible is None and parts:
        return _make_devices(parts, {})
    names = split_names(visible) if visible is not None else [str(number) for number in range(len(cards))]
    return _make_devices(names, {} if parts else {str(number): uuid for number, uuid in enumerate(cards)})


def split_names(text: str) -> list[str]:
    """Return the names in a list for CUDA, which ends at the first invalid one, such as ``-1``."""
    names: list[str] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name.startswith("-"):
            break
        if name not in names:
            names.append(name)
    return names


def _make_devices(names: Sequence[str], uuids: Mapping[str, str]) -> tuple[Device, ...]:
    machine = read_machine()
    return tuple(
        Device(
            identity=uuids.get(name) or (name if not name.isdecimal() else f"{machine} {name}"),
            name=name,
            number=number,
            vulkan=int(name) if name.isdecimal() else _find_number(name, uuids, number),
        )
        for number, name in enumerate(names)
    )


def _find_number(name: str, uuids: Mapping[str, str], default: int) -> int:
    return next((int(number) for number, uuid in uuids.items() if uuid == name), default)


def _list_cards() -> tuple[list[str], list[str]]:
    """Return the UUIDs of NVIDIA's cards, in the order of their PCI addresses, and of the parts of divided ones."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], []
    try:
        ran = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_LIST_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return [], []
    return _CARD.findall(ran.stdout), _PART.findall(ran.stdout)


def list_stage_devices(stage: Stage, devices: Sequence[Device]) -> tuple[Device, ...]:
    """Return those of the process's ``devices`` that items of ``stage`` can use.

    A stage that counts its devices itself may use fewer, or some that are no NVIDIA devices.
    """
    count = stage.count_devices()
    if count is None or devices:
        return tuple(devices[:count])
    machine = read_machine()
    return tuple(Device(f"{machine} device {number}", "", number, number) for number in range(count))
