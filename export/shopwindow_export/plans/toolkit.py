"""One TensorRT module behind one face: `tensorrt` 10 and 11, and `tensorrt_rtx`, which share their Python API.

Plans of TensorRT for RTX don't load in Triton. It parses and builds without a GPU, and is here to find what TensorRT
would refuse on machines that have none.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from shopwindow.base.progress_bar import progress_bar
from shopwindow_export.errors import PlanError
from shopwindow_export.plans.machine import tensorrt_module

TENSORRT, TENSORRT_RTX = MODULES = ("tensorrt", "tensorrt_rtx")

# What a machine without a driver logs at every call, whatever is wrong.
_NO_DRIVER = "CUDA driver version is insufficient"


class Toolkit:
    """A loaded TensorRT module; made by `load_toolkit`.

    Args:
        name: of the module.
        module: the module.
    """

    def __init__(self, name: str, module: Any) -> None:
        self.name = name
        self.module = module
        self._log = _logger(module)

    @property
    def version(self) -> str:
        """Version of the library, `11.1.0.106`."""
        return str(self.module.__version__)

    @property
    def in_triton(self) -> bool:
        """Whether Triton loads its plans."""
        return self.name == TENSORRT

    def builder(self) -> Any:
        """A new builder; forgets what was logged before.

        Raises:
            PlanError: this machine can't build.
        """
        self._log.messages.clear()
        try:
            return self.module.Builder(self._log)
        except (TypeError, RuntimeError):  # what pybind11 makes of a null pointer
            raise self.error("no builder could be made: it needs an NVIDIA GPU and a driver that fits") from None

    def network(self, builder: Any) -> Any:
        """An empty, strongly typed network: types come from the graph alone.

        In 10.x that is a flag, in 11.x there is nothing else.
        """
        flag = self.module.NetworkDefinitionCreationFlag
        flags = 1 << int(flag.STRONGLY_TYPED) if hasattr(flag, "STRONGLY_TYPED") else 0
        return self._made(builder.create_network(flags), "network")

    def parser(self, network: Any) -> Any:
        """An ONNX parser that fills `network`."""
        return self._made(self.module.OnnxParser(network, self._log), "ONNX parser")

    def config(self, builder: Any) -> Any:
        """A builder's options."""
        return self._made(builder.create_builder_config(), "builder config")

    def error(self, message: str, *details: str) -> PlanError:
        """An error with what TensorRT logged since the builder was made."""
        lines = dict.fromkeys([*details, *self.logged().splitlines()])
        return PlanError("\n".join([f"{self.name} {self.version}: {message}", *(f"  {line}" for line in lines)]))

    def logged(self) -> str:
        """The errors that TensorRT logged since the builder was made."""
        return "\n".join([text for text in self._log.messages if _NO_DRIVER not in text] or self._log.messages)

    def _made(self, thing: Any, what: str) -> Any:
        if thing is None:
            raise self.error(f"no {what} could be made")
        return thing


@cache  # one logger a process: TensorRT keeps the first one it sees, also after Python has let go of it
def load_toolkit(name: str) -> Toolkit:
    """Load a TensorRT module.

    Args:
        name: one of MODULES.

    Raises:
        ValueError: another name.
        PlanError: it is not installed, or its libraries are not.
    """
    if name not in MODULES:
        raise ValueError(f"trt-module: must be one of {', '.join(MODULES)}, got {name!r}")
    try:
        installed = tensorrt_module() if name == TENSORRT else None
        return Toolkit(name, importlib.import_module(installed or name))
    except (ImportError, OSError) as error:
        remedy = (
            "build plans on the serving GPU, in the image `exporter` of deploy/Dockerfile, which installs what is "
            "imported; on other machines 'shopwindow plans --check' compiles the graphs with TensorRT for RTX"
            if name == TENSORRT
            else "install tensorrt-rtx-cu13"
        )
        raise PlanError(f"{name}: can't be imported here ({error}); {remedy}") from None


class BuildProgress:
    """A progress bar over one build, as a context manager.

    Args:
        toolkit: whose build.
        name: what is built.
        enabled: False shows nothing.
    """

    def __init__(self, toolkit: Toolkit, name: str, *, enabled: bool) -> None:
        self.cancelled = False
        self._bar = progress_bar(total=0, desc=name, unit="step", enabled=enabled)
        self._toolkit = toolkit
        self._monitor: Any = None

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def step(self, name: str) -> None:
        """Name what is being done."""
        self._bar.set_postfix_str(name)

    def watch(self, config: Any) -> None:
        """Show the phases of a build, where the module reports them."""
        if hasattr(self._toolkit.module, "IProgressMonitor"):
            self._monitor = _monitor(self._toolkit.module, self)  # must outlive the build
            config.progress_monitor = self._monitor

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of the build starts; those of the outermost one are the bar's."""
        if parent is None:
            self._bar.total = steps
            self._bar.refresh()
        self.step(name.lower())

    def done(self) -> None:
        """A step of the outermost phase is over."""
        self._bar.update()


def _logger(module: Any) -> Any:
    class Log(module.ILogger):  # type: ignore[misc]
        """Keeps errors, which the return values of TensorRT's calls don't carry."""

        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.messages.append(message.strip())

    return Log()


def _monitor(module: Any, progress: BuildProgress) -> Any:
    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        """Called from TensorRT's threads. No exception may pass through it: Ctrl-C makes it cancel instead."""

        def __init__(self) -> None:
            super().__init__()
            self._outermost: str | None = None

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            try:
                if parent is None:
                    self._outermost = name
                progress.phase(name, parent, steps)
            except KeyboardInterrupt:
                progress.cancelled = True

        def phase_finish(self, name: str) -> None:
            pass

        def step_complete(self, name: str, step: int) -> bool:
            try:
                if name == self._outermost:
                    progress.done()
            except KeyboardInterrupt:
                progress.cancelled = True
            return not progress.cancelled

    return Monitor()
