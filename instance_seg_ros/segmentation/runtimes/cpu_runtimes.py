"""The runtimes that run a model file on a CPU, and which of them is the fastest here."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from numpy.typing import NDArray

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.contract import read_info
from instance_seg_ros.segmentation.model_file import ModelError, path_in_8_bits
from instance_seg_ros.segmentation.network import Network
from instance_seg_ros.segmentation.runtimes.graph_network import GraphNetwork

CPU_BACKENDS = ("onnxruntime", "openvino")
"""Values of the setting `backend`, which are also the names of the packages."""

_SETTLING_CALLS = 3
_COUNTED_CALLS = 10
_SLOW_S = 0.5
_LONG_ENOUGH_S = 1.0
_TRIAL_SIZE_WH = (640, 480)

Key = TypeVar("Key")


def installed_cpu_backends() -> tuple[str, ...]:
    """The `CPU_BACKENDS` whose package is installed."""
    return tuple(name for name in CPU_BACKENDS if importlib.util.find_spec(name) is not None)


def load_cpu_network(backend: str, path: Path, settings: SegmentationSettings) -> GraphNetwork:
    """A model file on one of `CPU_BACKENDS`, whatever the settings say of the backend.

    Raises:
        ModelError: the package is missing or broken, or the file does not run.
    """
    if importlib.util.find_spec(backend) is None:
        raise ModelError(f"backend is {backend}, but that package is not installed; pip install {backend}, or auto")
    try:
        if backend == "openvino":
            from instance_seg_ros.segmentation.runtimes.openvino_backend import OpenVinoNetwork

            return OpenVinoNetwork(path, settings.threads, allow_bf16=settings.precision in ("auto", "bf16"))
        from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork

        return OnnxRuntimeNetwork(path, settings.threads)
    except ImportError as error:  # such as a shared library that is missing
        raise ModelError(f"the package {backend} cannot be imported: {error}") from error


@dataclass(frozen=True)
class CpuForm:
    """One way to run a network on the CPU: a backend, and the float model file or the 8-bit one beside it."""

    backend: str
    path: Path
    in_8_bits: bool = False

    def __str__(self) -> str:
        return f"{self.backend} in 8 bits" if self.in_8_bits else self.backend


def float_forms(path: Path) -> list[CpuForm]:
    """Every way to run a model file itself on the CPU with the backends that are installed."""
    return [CpuForm(backend, path) for backend in installed_cpu_backends()]


def cpu_forms(path: Path) -> list[CpuForm]:
    """Every way to run a model file, or the 8-bit one beside it, on the CPU with the backends that are installed.

    Raises:
        ModelError: the 8-bit file beside it cannot be used, was made from another network, or publishes other scores.
    """
    forms, other = float_forms(path), path_in_8_bits(path)
    if not other.is_file():
        return forms
    own, of_other = read_info(path), read_info(other)
    if of_other.quantised_from != own.digest:
        fault = "was not made from"
    elif (of_other.calibration, of_other.score_threshold) != (own.calibration, own.score_threshold):
        fault = "is older than the scores of"  # calibrating a file leaves its digest as it is
    else:
        return forms + [CpuForm(form.backend, other, in_8_bits=True) for form in forms]
    raise ModelError(
        f"{other} {fault} {path.name}; make it again with `instance-seg export --model {path.name} --int8 FRAMES`, or "
        "remove it"
    )


def fastest_cpu_network(forms: Sequence[CpuForm], settings: SegmentationSettings) -> tuple[GraphNetwork, CpuForm, str]:
    """The network in the form that is fastest on this machine, that form, and the times or failures behind the choice.

    The forms are measured one after the other, and each is released before the next one is loaded: two of them at once
    would take twice the memory.

    Args:
        forms: some of `cpu_forms`.

    Raises:
        ModelError: there is no form, because no backend is installed, or none can run the file.
    """
    if not forms:
        raise ModelError(f"no backend for the CPU is installed; pip install {CPU_BACKENDS[0]}")
    if len(forms) == 1:
        return _load(forms[0], settings), forms[0], ""
    times_ms: dict[CpuForm, float] = {}
    failures: dict[CpuForm, ModelError] = {}
    for form in forms:
        try:
            times_ms[form] = _time_ms(form, settings)
        except ModelError as error:
            failures[form] = error
    told = [f"{form} failed: {error}" for form, error in failures.items()]
    if not times_ms:
        raise ModelError("; ".join(told)) from next(iter(failures.values()))
    if len(times_ms) > 1:
        told.insert(0, "measured: " + ", ".join(f"{form} {time_ms:.0f} ms" for form, time_ms in times_ms.items()))
    fastest = min(times_ms, key=times_ms.__getitem__)
    return _load(fastest, settings), fastest, "; ".join(told)


def _load(form: CpuForm, settings: SegmentationSettings) -> GraphNetwork:
    return load_cpu_network(form.backend, form.path, settings)


def _time_ms(form: CpuForm, settings: SegmentationSettings) -> float:
    """The time of a frame."""
    network = _load(form, settings)
    width, height = _TRIAL_SIZE_WH
    return shortest_time_ms(network, network.sample_inputs((height, width)))


def shortest_time_ms(
    network: Network, inputs: Mapping[str, NDArray], clock: Callable[[], float] = time.perf_counter
) -> float:
    """The shortest time of a few frames, see `times_in_turns_ms`: other work of the machine makes none shorter.

    Args:
        clock: in seconds.
    """
    times_ms = times_in_turns_ms({"": lambda call: network(inputs)}, _COUNTED_CALLS, _LONG_ENOUGH_S, clock)
    return min(times_ms[""])


def times_in_turns_ms(
    tasks: Mapping[Key, Callable[[int], object]],
    rounds: int,
    enough_s: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, list[float]]:
    """Times of each task; the tasks take turns, so that other work of the machine affects all of them.

    A turn is several calls in a row, of which the first few do not count unless they are slow: they warm up, while the
    threads of the previous runtime still wait for work on the same cores.

    Args:
        tasks: called with the number of the call.
        rounds: calls that count, at least.
        enough_s: when this much time has passed, a slow task is not called again.
        clock: in seconds.
    """
    times_ms: dict[Key, list[float]] = {key: [] for key in tasks}
    begin = clock()
    for turn in range(-(-rounds // _COUNTED_CALLS)):
        for key, task in tasks.items():
            for call in range(_SETTLING_CALLS + _COUNTED_CALLS):
                start = clock()
                task(turn * _COUNTED_CALLS + call)
                took_s = clock() - start
                slow = took_s > _SLOW_S
                if slow or call >= _SETTLING_CALLS:
                    times_ms[key].append(1e3 * took_s)
                if slow and clock() - begin > enough_s:
                    break
    return times_ms
