"""ONNX Runtime on the CPU."""

import os
import time

import numpy as np
import onnxruntime
import pytest

from instance_seg_ros.segmentation.model_location import located
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork

PAUSE_S = 0.05
PAUSES = 10
AT_REST_S = 0.005
"""Threads that wait actively take some 25 ms of a pause."""
RUNS = 7
MOST_WASTED = 1.7
"""Twice the CPU time where one thread waits actively for the other, which has no core."""


def test_threads_take_no_cpu_between_two_runs() -> None:
    network = OnnxRuntimeNetwork(located(None), threads=2)
    inputs = network.sample_inputs((480, 640))
    taken_s = []
    for _ in range(PAUSES):
        network(inputs)
        begin_s = time.process_time()
        time.sleep(PAUSE_S)
        taken_s.append(time.process_time() - begin_s)
    assert sorted(taken_s)[PAUSES // 2] < AT_REST_S


@pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 31), reason="this version waits as long as it likes"
)
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no thread is kept to a core on this system")
def test_threads_that_have_one_core_waste_little_of_it_on_waiting_for_each_other() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # which the networks' threads inherit
    try:
        one, two = (cpu_time_s(OnnxRuntimeNetwork(located(None), threads)) for threads in (1, 2))
    finally:
        os.sched_setaffinity(0, cores)
    assert two < MOST_WASTED * one


def cpu_time_s(network: OnnxRuntimeNetwork) -> float:
    inputs, taken_s = network.sample_inputs((480, 640)), []
    for _ in range(RUNS):
        begin_s = time.process_time()
        network(inputs)
        taken_s.append(time.process_time() - begin_s)
    return float(np.median(taken_s))
