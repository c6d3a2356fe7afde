"""The settings of a cluster file. docs/clusters.md explains them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, StringConstraints, model_validator

_WALLTIME = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d)(?::([0-5]\d))?")
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
# One line without characters that would end a quotation in a job script.
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]
Folder = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./${}~+:@-]+$")]
Address = Annotated[str, StringConstraints(pattern=r"^(tcp|tls)://[^\s/]+:[0-9]{1,5}$")]
DottedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]


def _read_walltime(value: Any) -> Any:
    """Return the seconds of a walltime such as 04:00:00."""
    if not isinstance(value, str) or not (parts := _WALLTIME.fullmatch(value)):
        raise ValueError('a quoted time such as "04:00:00" or "2-12:00:00" (days-hours:minutes:seconds)')
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not total:
        raise ValueError("a walltime longer than zero")
    return total


Walltime = Annotated[int, BeforeValidator(_read_walltime)]


class ClusterSettings(BaseModel):
    """The settings that all types share.

    wait_seconds  after which a run without any worker gives up; None for no limit
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    wait_seconds: Annotated[float, Field(gt=0)] | None = None


class TlsSettings(ClusterSettings):
    """``tls``: folder with certificates, from ``headrace cluster certificates``."""

    tls: Text | None = None


class AddressSettings(TlsSettings):
    """A Dask scheduler that runs already."""

    type: Literal["address"]
    address: Address


class ScalingSettings(ClusterSettings):
    """Settings of workers that the run starts: their number, ``threads`` (slots) of each, and when they are ended.

    idle_seconds  after which a worker without items is ended, if there are more than needed
    """

    minimum: Annotated[int, Field(ge=0)] = 0
    maximum: Annotated[int, Field(ge=1)] = 1
    threads: Annotated[int, Field(ge=1, le=512)] = 1
    idle_seconds: Annotated[float, Field(ge=0)] = 60.0

    @model_validator(mode="after")
    def _check_order(self) -> ScalingSettings:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is larger than maximum {self.maximum}")
        return self


class WorkerSettings(ScalingSettings):
    """Settings of a worker: its memory, its variables, and the folder for its temporary files."""

    memory: ByteSize | None = None
    environment: dict[Name, str] = {}
    scratch: Folder | None = None


class LocalSettings(WorkerSettings, TlsSettings):
    """Worker processes on this machine."""

    type: Literal["local"]


class JobSettings(WorkerSettings, TlsSettings):
    """Settings of workers that are jobs of a batch system.

    walltime    of a job; a worker takes no item that it cannot finish before
    queue       queue or partition
    account     account or project
    directives  further options of the submission, one line each
    prologue    commands in the job script before the worker starts
    python      Python of the workers
    interface   network interface of workers and scheduler
    host        address of this machine for the workers
    logs        folder for the output of jobs
    """

    memory: ByteSize
    walltime: Walltime
    queue: Text | None = None
    account: Text | None = None
    directives: tuple[Text, ...] = ()
    prologue: tuple[Text, ...] = ()
    python: Text | None = None
    interface: Text | None = None
    host: Text | None = None
    logs: Folder | None = None


class SlurmSettings(JobSettings):
    """Jobs of SLURM."""

    type: Literal["slurm"]


class PbsSettings(JobSettings):
    """Jobs of PBS. ``resources``: the selection of resources, for example ``select=1:ncpus=4:mem=16gb``."""

    type: Literal["pbs"]
    resources: Text | None = None


class LsfSettings(JobSettings):
    """Jobs of LSF."""

    type: Literal["lsf"]


class SshSettings(TlsSettings):
    """Machines that are reached by ssh; the first one runs the scheduler.

    hosts       machines with a worker each; name one twice for two workers
    scheduler   machine of the scheduler (default: the first of the hosts)
    user, port, key  for ssh
    known_hosts file with the machines' keys (default: that of ssh)
    """

    type: Literal["ssh"]
    hosts: Annotated[tuple[Text, ...], Field(min_length=1)]
    scheduler: Text | None = None
    user: Text | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    key: Text | None = None
    known_hosts: Text | None = None
    python: Text | None = None
    threads: Annotated[int, Field(ge=1, le=512)] = 1
    memory: ByteSize | None = None
    scratch: Folder | None = None


class KubernetesSettings(WorkerSettings):
    """Pods of Kubernetes, started by Dask's operator.

    image      container image of scheduler and workers
    namespace  namespace of the pods
    name       name of the cluster
    resources  limits and requests, as in a pod
    """

    type: Literal["kubernetes"]
    image: Text
    namespace: Text | None = None
    name: Text | None = None
    resources: dict[Literal["limits", "requests"], dict[str, str]] = {}


class CloudSettings(ScalingSettings):
    """Any cluster class of Dask, for example of dask-cloudprovider.

    class      dotted name of the class
    arguments  its keyword arguments
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    type: Literal["cloud"]
    class_name: Annotated[DottedName, Field(alias="class")]
    arguments: dict[str, Any] = {}


AnySettings = (
    AddressSettings
    | LocalSettings
    | SlurmSettings
    | PbsSettings
    | LsfSettings
    | SshSettings
    | KubernetesSettings
    | CloudSettings
)
TYPES: dict[str, type[ClusterSettings]] = {
    "address": AddressSettings,
    "local": LocalSettings,
    "ssh": SshSettings,
    "slurm": SlurmSettings,
    "pbs": PbsSettings,
    "lsf": LsfSettings,
    "kubernetes": KubernetesSettings,
    "cloud": CloudSettings,
}
