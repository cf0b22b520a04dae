"""The runtimes that run a model file on a CPU, and which of them is the fastest here."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from numpy.typing import NDArray

from instance_seg_ros.config import SegmentationSettings
from instance_seg_ros.segmentation.graph_network import GraphNetwork
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import Network

CPU_BACKENDS = ("onnxruntime", "openvino")
"""Values of the setting `backend`, which are the names of the packages, too."""

_ROUNDS = 8
_LONG_ENOUGH_S = 1.0
_TRIAL_SIZE_WH = (640, 480)


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
    """The median time of a few frames by name; the networks take turns, so that other work strikes all of them.

    A round warms up and does not count, unless the networks are so slow that it is the only one.

    Args:
        clock: in seconds.
    """
    times_s: dict[str, list[float]] = {name: [] for name in networks}
    begin = clock()
    for _ in range(_ROUNDS):
        for name, network in networks.items():
            start = clock()
            network(inputs)
            times_s[name].append(clock() - start)
        if clock() - begin > _LONG_ENOUGH_S:
            break
    return {name: 1e3 * statistics.median(values[1:] or values) for name, values in times_s.items()}
