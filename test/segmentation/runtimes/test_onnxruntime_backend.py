"""ONNX Runtime on the CPU."""

import time

from instance_seg_ros.segmentation.model_location import located
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork

PAUSE_S = 0.05
PAUSES = 10
AT_REST_S = 0.005
"""Threads that wait actively take some 25 ms of a pause."""


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
