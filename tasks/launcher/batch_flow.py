"""Declare a flow by one function, whose signature is the command line, Prefect's form and the parameters in YAML.

The function reads and checks the inputs and returns the steps of a run. Prefect, Dask and the libraries of the stages
are imported when the steps run, so that help and usage errors take little time.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import inspect
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tasks.engine.contract.errors import InvalidInput, RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import Stage
from tasks.launcher.extras import Extra, check_extra
from tasks.launcher.form import get_annotations, title_fields

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun
    from tasks.engine.inputs import InputMirrors


class Steps(Protocol):
    """The steps of a flow after its inputs are read: run its stages and return the final state."""

    def __call__(self, run: BatchRun) -> State[Any]:
        """Run the stages by ``run``."""
        ...


class _MirroredSteps:
    """Steps with the placeholders of inputs in stores, which are removed when the run is over."""

    def __init__(self, steps: Steps, mirrors: InputMirrors) -> None:
        self._steps = steps
        self._mirrors = mirrors
        mirrors.keep_until_exit()

    def __call__(self, run: BatchRun) -> State[Any]:
        """Run the stages by ``run``."""
        try:
            return self._steps(run)
        finally:
            self._mirrors.close()


class BatchFlow:
    """A flow that is declared without importing Prefect, and behaves like a Prefect flow when it is used.

    ``name`` is the flow's name in Prefect, ``extra`` is the required extra, ``function`` reads the inputs and
    returns the steps.
    """

    def __init__(self, name: str, extra: Extra | None, function: Callable[..., Steps]) -> None:
        self.name = name
        self.extra = extra
        self.function = function
        functools.update_wrapper(self, function)

    @property
    def signature(self) -> inspect.Signature:
        """The signature of the declared function, annotations evaluated."""
        return inspect.signature(self.function, eval_str=True)

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature from which Prefect makes its form."""
        return title_fields(self.signature)

    @property
    def title(self) -> str:
        """The first line of the flow's documentation."""
        return (self.function.__doc__ or "").partition("\n")[0]

    def read_inputs(self, parameters: Mapping[str, Any]) -> Steps:
        """Read and check the inputs; return the steps.

        Raises InvalidInput with everything that is wrong, and RunError if the flow's extra is not installed.
        """
        if self.extra:
            check_extra(self.name, self.extra)
        from tasks.engine.inputs import InputMirrors, show_problems

        mirrors = InputMirrors()
        try:
            steps = self.function(**mirrors.localize(parameters))
        except InvalidInput as error:
            shown = show_problems(error)
            mirrors.close()
            raise shown from error
        except BaseException:
            mirrors.close()
            raise
        return _MirroredSteps(steps, mirrors)

    def run(self, parameters: Mapping[str, Any], steps: Steps | None = None) -> State[Any]:
        """Run the flow without Prefect's engine. ``steps``: the inputs are read already."""
        from tasks.batch import batch_run

        bound = self.signature.bind(**parameters)
        bound.apply_defaults()
        given = bound.arguments
        steps = steps or self.read_inputs(given)
        with batch_run(self.name, given["output_dir"], given.get("execution", Execution()), given) as run:
            return steps(run)

    def as_prefect_flow(self, steps: Steps | None = None) -> Flow[..., Any]:
        """Return a Prefect flow with the declared signature. ``steps``: the inputs are read already."""
        from prefect import flow

        key = f"{self.function.__module__}.{self.function.__qualname__} {uuid.uuid4().hex}"
        _RUNS[key] = self, steps

        def run(*arguments: Any, **options: Any) -> State[Any]:
            return _run_by_key(key, *arguments, **options)

        functools.update_wrapper(run, self.function)
        del run.__wrapped__  # type: ignore[attr-defined]
        # Prefect evaluates annotations where this function is defined, so it gets them evaluated.
        run.__signature__ = self.__signature__  # type: ignore[attr-defined]
        run.__annotations__ = dict(get_annotations(self.__signature__))
        decorate = flow(name=self.name, flow_run_name=f"{self.name} {{output_dir}}", persist_result=False)
        return decorate(run)

    def load(self) -> None:
        """Import Prefect, Dask and, if it exists, ``steps/MODULE.py`` next to the flow's module."""
        package, _, module = self.function.__module__.rpartition(".")
        names = ["tasks.batch", f"{package}.steps.{module}" if package else f"steps.{module}"]
        gc.disable()  # nearly everything that imports create stays
        try:
            for name in filter(_exists, names):
                importlib.import_module(name)
        finally:
            gc.freeze()
            gc.enable()

    @functools.cached_property
    def _prefect_flow(self) -> Flow[..., Any]:
        return self.as_prefect_flow()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run the flow in Prefect. Raises RunError if its stages cannot run in child processes."""
        self._check_stages()
        return self._prefect_flow(*arguments, **options)

    def _check_stages(self) -> None:
        """Raise RunError if the flow is in ``__main__`` with a stage class, which no child process could import."""
        if self.function.__module__ == "__main__" and (names := _find_stages_in_main()):
            file = Path(getattr(sys.modules["__main__"], "__file__", None) or "<stdin>")
            module = file.stem if file.suffix == ".py" else self.function.__name__
            raise RunError(
                f"the stage class {names[0]} is in __main__, which child processes cannot import; start the flow by"
                f" tasks.launcher.command.main({module!r}), or move {names[0]} to a module and import it"
            )

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the Prefect flow."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._prefect_flow, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the Prefect flow instead: Prefect sends the flow of a run to its tasks."""
        return _return, (self._prefect_flow,)

    # Prefect loads a flow by the name of a module's attribute and accepts only instances of its class Flow. A subclass
    # of Flow would import Prefect, which takes seconds, for each --help: this class imports it when it is asked.
    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """The class of Prefect flows, for ``isinstance``."""
        return type(self._prefect_flow)


# Flows and steps by the key in a Prefect flow: Prefect pickles the flow with each task run, but not its inputs.
_RUNS: dict[str, tuple[BatchFlow, Steps | None]] = {}


def _find_stages_in_main() -> list[str]:
    """Return the names of the stage classes that are defined in ``__main__``."""
    return [stage.__name__ for stage in Stage.__subclasses__() if stage.__module__ == "__main__"]


def _return(flow: Flow[..., Any]) -> Flow[..., Any]:
    return flow


def _run_by_key(key: str, *arguments: Any, **options: Any) -> State[Any]:
    if key not in _RUNS:  # this process has unpickled the Prefect flow
        module, _, name = key.partition(" ")[0].rpartition(".")
        _RUNS[key] = getattr(importlib.import_module(module), name), None
    flow, steps = _RUNS[key]
    return flow.run(flow.signature.bind(*arguments, **options).arguments, steps)


def batch_flow(name: str, extra: Extra | None = None) -> Callable[[Callable[..., Steps]], BatchFlow]:
    """Return a decorator that declares a flow with this name. ``extra``: the required extra."""
    return functools.partial(BatchFlow, name, extra)


def pick(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``values`` called ``names``: a flow's ``locals()`` hold the fields of the models that it fills."""
    return {name: values[name] for name in names}


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of its package
        return False
