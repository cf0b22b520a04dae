"""ONNX Runtime's GPU providers: what is asked of ONNX Runtime, and what becomes of a provider that does not start.

The session is ONNX Runtime's own, on the CPU: at its edge the providers are recorded and taken away.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from instance_seg_ros.segmentation import ModelError, default_model_path
from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork
from instance_seg_ros.segmentation.runtimes.onnxruntime_gpu_backend import (
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    OnnxRuntimeGpuNetwork,
    obstacle,
)

SHAPES = input_shapes(("depth_m", "intrinsics"), (160, 120))
FRAME = {
    "depth_m": np.full((120, 160), 0.75, dtype=np.float32),
    "intrinsics": np.array([150, 150, 79.5, 59.5], dtype=np.float32),
}
# Of the providers' documentation; what the backend sets has to be among them.
DOCUMENTED = {
    TENSORRT_PROVIDER: {"trt_engine_cache_enable", "trt_engine_cache_path", "trt_timing_cache_enable"},
    CUDA_PROVIDER: {"cudnn_conv_algo_search", "use_tf32"},
    "CPUExecutionProvider": set(),
}

Recorded = list[tuple[bytes, list[tuple[str, dict[str, str]]]]]


class Edge:
    """Stands for onnxruntime.InferenceSession: runs on the CPU and says that it runs on the providers that start."""

    def __init__(self, sessions: Recorded, starting: set[str]) -> None:
        self._session_type = onnxruntime.InferenceSession
        self._sessions = sessions
        self._starting = {*starting, "CPUExecutionProvider"}

    def __call__(self, model: object, options: object = None, **keywords: object) -> object:
        providers = keywords.pop("providers")
        session = self._session_type(model, options, providers=["CPUExecutionProvider"], **keywords)
        if isinstance(model, bytes):
            assert keywords == {"enable_fallback": 0}  # or ONNX Runtime would go on with the CPU alone
            assert isinstance(providers, list)
            self._sessions.append((model, providers))
            session.get_providers = lambda: [name for name, _ in providers if name in self._starting]
        return session


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """What was asked of ONNX Runtime, which has everything."""
    recorded: Recorded = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", Edge(recorded, {TENSORRT_PROVIDER, CUDA_PROVIDER}))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    return recorded


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        (TENSORRT_PROVIDER, [TENSORRT_PROVIDER, CUDA_PROVIDER, "CPUExecutionProvider"]),
        (CUDA_PROVIDER, [CUDA_PROVIDER, "CPUExecutionProvider"]),
    ],
)
def test_asks_for_the_provider_first_with_documented_options_and_runs(
    provider: str, names: list[str], sessions: Recorded, block_model_path: Path, tmp_path: Path
) -> None:
    network = OnnxRuntimeGpuNetwork(block_model_path, SHAPES, provider, "tf32", tmp_path)
    ((_, providers),) = sessions
    assert [name for name, _ in providers] == names
    for name, options in providers:
        assert set(options) <= DOCUMENTED[name]
        assert all(isinstance(value, str) for value in options.values())
    assert network.backend == f"ONNX Runtime {onnxruntime.__version__} on the GPU by {provider}"
    expected = OnnxRuntimeNetwork(block_model_path, threads=1)(FRAME)
    assert np.array_equal(network(FRAME).scores, expected.scores)
    assert np.array_equal(network(FRAME).masks, expected.masks)


def test_every_model_size_and_precision_has_engines_of_its_own_in_the_cache(
    sessions: Recorded, block_model_path: Path, tmp_path: Path
) -> None:
    other = input_shapes(("depth_m", "intrinsics"), (80, 60))
    for shapes, precision in [(SHAPES, "tf32"), (SHAPES, "tf32"), (other, "tf32"), (SHAPES, "fp16")]:
        OnnxRuntimeGpuNetwork(block_model_path, shapes, TENSORRT_PROVIDER, precision, tmp_path)
    folders = [Path(providers[0][1]["trt_engine_cache_path"]) for _, providers in sessions]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 3
    assert all(folder.is_dir() and folder.parent == tmp_path for folder in folders)


@pytest.mark.parametrize(("provider", "bytes_go_to"), [(TENSORRT_PROVIDER, {"Cast"}), (CUDA_PROVIDER, {"Gather"})])
def test_the_tensorrt_provider_gets_the_graph_in_the_form_that_tensorrt_takes(
    provider: str, bytes_go_to: set[str], sessions: Recorded, tmp_path: Path
) -> None:
    shapes = input_shapes(("depth_m", "intrinsics", "color_rgb"), (160, 120))
    OnnxRuntimeGpuNetwork(default_model_path(), shapes, provider, "tf32", tmp_path)
    ((model, _),) = sessions
    nodes = onnx.load_from_string(model).graph.node
    assert {node.op_type for node in nodes if "color_rgb" in node.input} == bytes_go_to


@pytest.mark.parametrize(("precision", "tf32"), [("tf32", "1"), ("fp32", "0"), ("fp16", "1")])
def test_precision_reaches_the_cuda_provider(
    precision: str, tf32: str, sessions: Recorded, block_model_path: Path, tmp_path: Path
) -> None:
    OnnxRuntimeGpuNetwork(block_model_path, SHAPES, CUDA_PROVIDER, precision, tmp_path)
    ((model, providers),) = sessions
    assert providers[0][1]["use_tf32"] == tf32
    for value in onnx.load_from_string(model).graph.input:
        assert all(side.dim_value > 0 for side in value.type.tensor_type.shape.dim)


@pytest.mark.parametrize(
    ("provider", "starting", "missing"),
    [
        (CUDA_PROVIDER, set(), CUDA_PROVIDER),
        (TENSORRT_PROVIDER, {CUDA_PROVIDER}, TENSORRT_PROVIDER),
        (TENSORRT_PROVIDER, set(), f"{TENSORRT_PROVIDER}, {CUDA_PROVIDER}"),
    ],
)
def test_a_provider_that_does_not_start_is_an_error_and_no_silent_run_on_the_cpu(
    provider: str,
    starting: set[str],
    missing: str,
    sessions: Recorded,
    block_model_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edge = onnxruntime.InferenceSession
    monkeypatch.setattr(edge, "_starting", {*starting, "CPUExecutionProvider"})
    with pytest.raises(ModelError, match=f"{missing} did not start"):
        OnnxRuntimeGpuNetwork(block_model_path, SHAPES, provider, "tf32", tmp_path)


def test_a_real_onnx_runtime_for_the_cpu_says_so(block_model_path: Path, tmp_path: Path) -> None:
    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has the CUDA provider")
    message = obstacle(CUDA_PROVIDER)
    assert message is not None
    assert "was built without CUDAExecutionProvider; install onnxruntime-gpu" in message
    # Asked all the same, it must not be a session on the CPU.
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(ModelError, match="did not start"):
        OnnxRuntimeGpuNetwork(block_model_path, SHAPES, CUDA_PROVIDER, "tf32", tmp_path)
