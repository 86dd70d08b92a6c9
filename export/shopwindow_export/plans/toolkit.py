"""One interface to the TensorRT modules `tensorrt`, versions 10 and 11, and `tensorrt_rtx`. They share a Python API.

Triton does not load plans of TensorRT for RTX. But that module parses and builds without a GPU. So machines without one
can use it to find what TensorRT would refuse.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from shopwindow.base.progress_bar import progress_bar
from shopwindow_export.errors import PlanError
from shopwindow_export.plans.machine import tensorrt_module

TENSORRT, TENSORRT_RTX = MODULES = ("tensorrt", "tensorrt_rtx")

# A machine without a driver logs this at every call, whatever is wrong.
_NO_DRIVER = "CUDA driver version is insufficient"


class Toolkit:
    """A loaded TensorRT module; made by `load_toolkit`.

    Args:
        name: name of the module.
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

    def builder(self) -> Any:
        """Return a new builder, and forget the errors logged before.

        Raises:
            PlanError: this machine cannot build.
        """
        self._log.messages.clear()
        try:
            return self.module.Builder(self._log)
        except (TypeError, RuntimeError):  # what pybind11 makes of a null pointer
            raise self.error("no builder could be made: it needs an NVIDIA GPU and a driver that fits") from None

    def network(self, builder: Any) -> Any:
        """Return an empty, strongly typed network, which takes all types from the graph.

        In 10.x that is a flag. In 11.x all networks are strongly typed.
        """
        flag = self.module.NetworkDefinitionCreationFlag
        flags = 1 << int(flag.STRONGLY_TYPED) if hasattr(flag, "STRONGLY_TYPED") else 0
        return self._made(builder.create_network(flags), "network")

    def parser(self, network: Any) -> Any:
        """Return an ONNX parser that fills `network`."""
        return self._made(self.module.OnnxParser(network, self._log), "ONNX parser")

    def config(self, builder: Any) -> Any:
        """Return the options of a builder."""
        return self._made(builder.create_builder_config(), "builder config")

    def error(self, message: str, *details: str) -> PlanError:
        """Return an error that includes what TensorRT logged since the builder was made."""
        lines = dict.fromkeys([*details, *self.logged().splitlines()])
        return PlanError("\n".join([f"{self.name} {self.version}: {message}", *(f"  {line}" for line in lines)]))

    def logged(self) -> str:
        """Return the errors that TensorRT logged since the builder was made."""
        return "\n".join([text for text in self._log.messages if _NO_DRIVER not in text] or self._log.messages)

    def _made(self, thing: Any, what: str) -> Any:
        if thing is None:
            raise self.error(f"no {what} could be made")
        return thing


@cache  # one logger per process: TensorRT keeps the first one, even after Python has freed it
def load_toolkit(name: str) -> Toolkit:
    """Load a TensorRT module.

    Args:
        name: one of MODULES.

    Raises:
        ValueError: another name.
        PlanError: the module or its libraries are not installed.
    """
    if name not in MODULES:
        raise ValueError(f"trt-module: must be one of {', '.join(MODULES)}, got {name!r}")
    try:
        installed = tensorrt_module() if name == TENSORRT else None
        return Toolkit(name, importlib.import_module(installed or name))
    except (ImportError, OSError) as error:
        remedy = (
            "build plans on the serving GPU, in the image `exporter` of deploy/Dockerfile, which has TensorRT "
            "installed; on other machines 'shopwindow plans --check' compiles the graphs with TensorRT for RTX"
            if name == TENSORRT
            else "install tensorrt-rtx-cu13"
        )
        raise PlanError(f"{name}: cannot be imported here ({error}); {remedy}") from None


class BuildProgress:
    """A progress bar over one build, as a context manager.

    Args:
        toolkit: the TensorRT module that builds.
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
        """Show the name of the current step."""
        self._bar.set_postfix_str(name)

    def watch(self, config: Any) -> None:
        """Show the phases of a build, if the module reports them."""
        if hasattr(self._toolkit.module, "IProgressMonitor"):
            self._monitor = _monitor(self._toolkit.module, self)  # must outlive the build
            config.progress_monitor = self._monitor

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        """Start a phase of the build. The bar counts the steps of the outermost one."""
        if parent is None:
            self._bar.total = steps
            self._bar.refresh()
        self.step(name.lower())

    def done(self) -> None:
        """Count a finished step of the outermost phase."""
        self._bar.update()


def _logger(module: Any) -> Any:
    class Log(module.ILogger):  # type: ignore[misc]
        """Keeps the errors, because the return values of TensorRT's calls do not carry them."""

        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.messages.append(message.strip())

    return Log()


def _monitor(module: Any, progress: BuildProgress) -> Any:
    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        """TensorRT's threads call this. No exception may leave it, so Ctrl-C makes it cancel the build."""

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
