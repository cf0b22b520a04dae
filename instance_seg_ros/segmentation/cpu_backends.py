"""The runtimes that run a model file on a CPU, and which of them is the fastest here."""

from __future__ import annotations

import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from numpy.typing import NDArray

from instance_seg_ros.config import SegmentationSettings
from instance_seg_ros.segmentation.graph_network import GraphNetwork
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import Network

CPU_BACKENDS = ("onnxruntime", "openvino")
"""Values of the setting `backend`, which are the names of the packages, too."""

_SETTLING_CALLS = 3
_COUNTED_CALLS = 10
_SLOW_S = 0.5
_LONG_ENOUGH_S = 1.0
_TRIAL_SIZE_WH = (640, 480)

Key = TypeVar("Key")


def installed_cpu_backends() -> tuple[str, ...]:
    """Those of `CPU_BACKENDS` whose package is there."""
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
            from instance_seg_ros.segmentation.openvino_backend import OpenVinoNetwork

            return OpenVinoNetwork(path, settings.threads, allow_bf16=settings.precision in ("auto", "bf16"))
        from instance_seg_ros.segmentation.onnxruntime_backend import OnnxRuntimeNetwork

        return OnnxRuntimeNetwork(path, settings.threads)
    except ImportError as error:  # such as a shared library that is missing
        raise ModelError(f"the package {backend} cannot be imported: {error}") from error


def fastest_cpu_network(path: Path, settings: SegmentationSettings) -> tuple[GraphNetwork, str]:
    """The network on the backend that takes the least time here, and the times or failures behind the choice.

    Raises:
        ModelError: no backend is installed, or none can run the file.
    """
    networks: dict[str, GraphNetwork] = {}
    failures: dict[str, ModelError] = {}
    for backend in installed_cpu_backends():
        try:
            networks[backend] = load_cpu_network(backend, path, settings)
        except ModelError as error:
            failures[backend] = error
    if not networks:
        if failures:
            raise next(iter(failures.values()))
        raise ModelError(f"no backend for the CPU is installed; pip install {CPU_BACKENDS[0]}")
    told = [f"{backend} failed: {error}" for backend, error in failures.items()]
    if len(networks) == 1:
        return next(iter(networks.values())), "; ".join(told)
    width, height = _TRIAL_SIZE_WH
    inputs = next(iter(networks.values())).sample_inputs((height, width))
    times_ms = median_times_ms(networks, inputs)
    best = min(times_ms, key=lambda backend: times_ms[backend])
    measured = ", ".join(f"{backend} {time_ms:.0f} ms" for backend, time_ms in times_ms.items())
    return networks[best], "; ".join([f"measured: {measured}", *told])


def median_times_ms(
    networks: Mapping[str, Network], inputs: Mapping[str, NDArray], clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """The median time of a few frames by name, see `times_in_turns_ms`.

    Args:
        clock: in seconds.
    """

    def task(network: Network) -> Callable[[int], object]:
        return lambda call: network(inputs)

    tasks = {name: task(network) for name, network in networks.items()}
    times_ms = times_in_turns_ms(tasks, _COUNTED_CALLS, _LONG_ENOUGH_S, clock)
    return {name: statistics.median(values) for name, values in times_ms.items()}


def times_in_turns_ms(
    tasks: Mapping[Key, Callable[[int], object]],
    rounds: int,
    enough_s: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, list[float]]:
    """Times of each task; they take turns, so that what else the machine does strikes all of them.

    A turn is several calls in a row, of which the first few do not count unless they are slow: they warm up, and the
    threads of the runtime before still wait for work then, on the same cores.

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
