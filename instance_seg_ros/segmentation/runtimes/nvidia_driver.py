"""Whether there is an NVIDIA GPU, according to the driver itself, so that no large library has to be imported."""

from __future__ import annotations

import ctypes

_LIBRARY = "libcuda.so.1"


def obstacle() -> str | None:
    """Why this process sees no NVIDIA GPU; None when it sees one.

    Asks the driver's library, which a desktop, a Jetson and a container that was given a GPU all have
    (https://docs.nvidia.com/cuda/cuda-driver-api).
    """
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"no NVIDIA GPU: its driver's {_LIBRARY} is not here"
    error = driver.cuInit(0)
    if error:
        return f"no NVIDIA GPU: the driver says error {error} (cuInit)"
    count = ctypes.c_int()
    error = driver.cuDeviceGetCount(ctypes.byref(count))
    if error or not count.value:
        return f"no NVIDIA GPU: the driver counts {count.value} (error {error})"
    return None


def pytorch_obstacle() -> str | None:
    """Why PyTorch cannot use a GPU here, with the cure; None when it can.

    Raises:
        ImportError, OSError: it is not installed, or a library that it needs is missing.
    """
    import torch

    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} sees no GPU; is it built for CUDA, and does nvidia-smi show the GPU?"
    return None
