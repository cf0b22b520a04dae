"""Where the dense geometry of a frame is computed: NumPy on the CPU, or PyTorch on a GPU, one algorithm for both."""

from instance_seg_ros.compute.arrays import Array, Compute, FrameArrays
from instance_seg_ros.compute.choice import ComputeChoice, choose_compute
from instance_seg_ros.compute.numpy_compute import NumpyCompute

__all__ = ["Array", "Compute", "ComputeChoice", "FrameArrays", "NumpyCompute", "choose_compute"]
