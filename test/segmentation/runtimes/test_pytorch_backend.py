"""PyTorch as a backend: precisions, and how it drives a GPU, which is stood in for."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from instance_seg_ros.segmentation import ModelError, default_model_path
from instance_seg_ros.segmentation.network import input_shapes, instances_of
from instance_seg_ros.segmentation.postprocessing import Selection
from instance_seg_ros.segmentation.runtimes import compiled_program, pytorch_backend
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork
from instance_seg_ros.segmentation.runtimes.pytorch_backend import PyTorchNetwork, resolved_precision
from instance_seg_ros.segmentation.runtimes.torch_program import TensorType, TorchProgram

SHAPES = input_shapes(("depth_m", "intrinsics"), (160, 120))


def frame(depth_m: float) -> dict[str, np.ndarray]:
    """Inputs with this depth everywhere."""
    intrinsics = np.array([150, 150, 79.5, 59.5], dtype=np.float32)
    return {"depth_m": np.full((120, 160), depth_m, dtype=np.float32), "intrinsics": intrinsics}


@pytest.mark.parametrize("precision", ["auto", "fp32", "tf32", "bf16", "fp16"])
def test_on_the_cpu_it_gives_what_onnx_runtime_gives(precision: str, block_model_path: Path) -> None:
    network = PyTorchNetwork(block_model_path, SHAPES, precision, "cpu")
    expected = OnnxRuntimeNetwork(block_model_path, threads=1)
    assert set(network.input_names) == set(SHAPES)
    outputs = [network(frame(depth_m)) for depth_m in (0.25, 0.75)]
    for output, depth_m in zip(outputs, (0.25, 0.75), strict=True):  # the second frame has not changed the first result
        for name, value in vars(expected(frame(depth_m))).items():
            assert np.array_equal(getattr(output, name), value), name


def test_the_backend_names_version_precision_and_device(block_model_path: Path) -> None:
    network = PyTorchNetwork(block_model_path, SHAPES, "bf16", "cpu")
    assert network.backend == f"PyTorch {torch.__version__} (bf16) on the CPU"


def test_an_image_of_another_size_is_refused(block_model_path: Path) -> None:
    network = PyTorchNetwork(block_model_path, SHAPES, "fp32", "cpu")
    small = {**frame(0.5), "depth_m": np.ones((1, 160), dtype=np.float32)}
    with pytest.raises(ModelError, match=r"depth_m of shape \(120, 160\).*\(1, 160\)"):
        network(small)


class Doubling:
    """A TorchProgram of one operator on memory that is stood in for: doubles the depth when the stream gets there.

    Like a network's weights, its factor lies in the GPU's memory, and is gone when the program is.
    """

    def __init__(self, gpu: SimpleNamespace) -> None:
        self._gpu = gpu
        self._factor = gpu.torch.Tensor(np.full(1, 2, dtype=np.float32), _on_gpu=True)
        float32 = gpu.torch.float32
        self.input_types = {"depth_m": TensorType((2, 3), float32)}
        self.output_types = {"masks": TensorType((2, 3), float32)}

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        stream = self._gpu.torch.cuda._current
        assert stream is not None, "work outside the backend's own stream"
        result = self._gpu.torch.Tensor(np.zeros((2, 3), dtype=np.float32), _on_gpu=True)
        source, factor, product = inputs["depth_m"].numpy(), self._factor.numpy(), result.numpy()
        stream._add(lambda: np.multiply(source, factor, out=product))
        return {"masks": result}


@pytest.fixture
def on_gpu(gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The backend on a GPU that is stood in for."""
    monkeypatch.setattr(pytorch_backend, "torch", gpu.torch)
    monkeypatch.setattr(pytorch_backend, "Buffer", gpu.cuda_graph.Buffer)
    monkeypatch.setattr(pytorch_backend, "GraphedWork", gpu.cuda_graph.GraphedWork)
    return gpu


def test_on_a_gpu_every_frame_is_uploaded_computed_by_the_graph_and_downloaded(on_gpu: SimpleNamespace) -> None:
    session = pytorch_backend._CudaSession(Doubling(on_gpu), allow_tf32=True)
    assert session.where == "Orin"
    assert session.note == ""
    results = [session.run(["masks"], {"depth_m": np.full((2, 3), value, np.float32)})[0] for value in (1.0, 2.5)]
    assert [result.tolist() for result in results] == [[[2.0] * 3] * 2, [[5.0] * 3] * 2]


def test_what_a_graph_reads_lives_as_long_as_the_graph(on_gpu: SimpleNamespace) -> None:
    """The stand-in overwrites a program's weights when nothing keeps the program any more."""
    program = Doubling(on_gpu)
    weights = program._factor.numpy()
    session = pytorch_backend._CudaSession(program, allow_tf32=True)
    del program
    gc.collect()
    (masks,) = session.run(["masks"], {"depth_m": np.ones((2, 3), np.float32)})
    assert masks.tolist() == [[2.0] * 3] * 2
    assert weights.tolist() == [2.0]
    del session
    gc.collect()
    assert np.isnan(weights).all()  # so the test above could have failed


@pytest.mark.parametrize("allow_tf32", [True, False])
def test_the_kernels_of_convolutions_are_searched_in_the_precision_that_was_asked_for(
    allow_tf32: bool, on_gpu: SimpleNamespace
) -> None:
    pytorch_backend._CudaSession(Doubling(on_gpu), allow_tf32)
    assert on_gpu.torch.backends._cudnn_flags_used == {(True, True, allow_tf32)}  # enabled, benchmark, allow_tf32


def test_without_a_cuda_graph_it_runs_all_the_same_and_says_so(
    on_gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_FAULT", "capture")
    session = pytorch_backend._CudaSession(Doubling(on_gpu), allow_tf32=True)
    assert session.note == " without a CUDA graph (operation not permitted when stream is capturing)"
    assert on_gpu.torch.cuda._current is None
    (masks,) = session.run(["masks"], {"depth_m": np.ones((2, 3), np.float32)})
    assert masks.tolist() == [[2.0] * 3] * 2


def test_a_full_gpu_is_an_error(on_gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_FAULT", "buffers")
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        pytorch_backend._CudaSession(Doubling(on_gpu), allow_tf32=True)


@pytest.mark.parametrize(("capability", "precision"), [("7.2", "tf32"), ("8.0", "bf16"), ("11.0", "bf16")])
def test_auto_is_bf16_on_gpus_that_have_it(
    capability: str, precision: str, on_gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_CAPABILITY", capability)
    assert resolved_precision("auto", "cuda") == precision
    assert resolved_precision("fp16", "cuda") == "fp16"
    assert resolved_precision("auto", "cpu") == "fp32"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_on_a_real_gpu_it_gives_what_the_cpu_gives_as_a_cuda_graph(precision: str, block_model_path: Path) -> None:
    network = PyTorchNetwork(block_model_path, SHAPES, precision, "cuda")
    assert "without a CUDA graph" not in network.backend
    expected = OnnxRuntimeNetwork(block_model_path, threads=1)
    for depth_m in (0.25, 0.75):
        np.testing.assert_allclose(network(frame(depth_m)).scores, expected(frame(depth_m)).scores, atol=5e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_real_gpu_the_graph_computes_the_same_after_others_have_taken_the_free_memory() -> None:
    path = default_model_path()
    shapes = input_shapes(OnnxRuntimeNetwork(path, threads=1).input_names, (160, 120))
    inputs = {**frame(0.5), "color_rgb": np.full(shapes["color_rgb"], 90, dtype=np.uint8)}
    inputs["depth_m"][40:80, 50:90] = 0.4
    network = PyTorchNetwork(path, shapes, "fp32", "cuda")
    before = network(inputs)
    gc.collect()
    small = [torch.full((1 << 6,), float("nan"), device="cuda") for _ in range(4096)]
    free = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    large = [torch.full((1 << 18,), float("nan"), device="cuda") for _ in range(free >> 20)]
    torch.cuda.synchronize()
    for name, value in vars(network(inputs)).items():
        assert np.array_equal(value, getattr(before, name)), name
    del small, large


@pytest.mark.parametrize("shipped", [False, True])
def test_a_program_never_waits_for_its_device(shipped: bool, block_model_path: Path) -> None:
    """On PyTorch's meta device, which has no values, whatever reads a value on the host raises."""
    path = default_model_path() if shipped else block_model_path
    shapes = input_shapes(tuple(OnnxRuntimeNetwork(path, threads=1).input_names), (160, 120))
    program = TorchProgram(with_fixed_sizes(path, shapes), "meta")
    inputs = {
        name: torch.empty(value.shape, dtype=value.dtype, device="meta") for name, value in program.input_types.items()
    }
    outputs = program(inputs)
    assert {name: (tuple(value.shape), value.dtype) for name, value in outputs.items()} == {
        name: (value.shape, value.dtype) for name, value in program.output_types.items()
    }


@pytest.mark.parametrize(
    ("named", "kept_in"), [(None, "engines"), ("/tmp/torchinductor_me", "engines"), ("/mine", "/mine")]
)
def test_what_is_compiled_is_kept_where_the_user_says_or_beside_the_engines(
    named: str | None, kept_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_program.tempfile, "gettempdir", lambda: "/tmp")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    if named is not None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", named)
    compiled_program._keep_in(Path("engines"))
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == kept_in


def test_without_triton_nothing_is_compiled_for_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiled_program.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="Triton is not installed"):
        compiled_program.CompiledProgram(None, "cuda", tmp_path)


class Compiled:
    """Stands in for the compiler, which takes a minute: the same program, uncompiled."""

    def __init__(self, program: Doubling, device: str, cache: Path) -> None:
        self.input_types, self.output_types = program.input_types, program.output_types
        self._program = program

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self._program(inputs)


def test_compiled_it_settles_the_masks_itself(
    block_model_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stops: list[bool] = []
    monkeypatch.setattr(pytorch_backend, "stop_compilers", lambda: stops.append(True))
    monkeypatch.setattr(pytorch_backend, "CompiledProgram", Compiled)
    monkeypatch.setattr(pytorch_backend, "selected_instances", None)  # nothing is settled on the CPU
    network = PyTorchNetwork(block_model_path, SHAPES, "fp32", "cpu", tmp_path)
    assert "(fp32, compiled)" in network.backend
    assert stops == [True]
    trusted, selection = OnnxRuntimeNetwork(block_model_path, threads=1), Selection(0.1, 0.5, 50, 1)
    for depth_m in (0.25, 0.75):
        inputs = frame(depth_m)
        found, expected = (instances_of(one, inputs, selection, ("object",)) for one in (network, trusted))
        assert len(expected) > 0
        for name in ("masks", "boxes_xyxy", "scores", "class_ids"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name
        assert np.array_equal(network(inputs).masks, trusted(inputs).masks)  # as they are, for who asks


def test_what_cannot_be_compiled_runs_all_the_same_and_says_so(
    block_model_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no C compiler\nmore about it")

    stops: list[bool] = []
    monkeypatch.setattr(pytorch_backend, "stop_compilers", lambda: stops.append(True))
    monkeypatch.setattr(pytorch_backend, "CompiledProgram", fail)
    network = PyTorchNetwork(block_model_path, SHAPES, "fp32", "cpu", tmp_path)
    assert "(fp32, not compiled: no C compiler)" in network.backend
    assert stops == [True]
    assert len(instances_of(network, frame(0.25), Selection(0.1, 0.5, 50, 1), ("object",))) > 0


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles for a CPU by g++")
def test_the_compiler_changes_nothing(block_model_path: Path, tmp_path: Path) -> None:
    network = PyTorchNetwork(block_model_path, SHAPES, "fp32", "cpu", tmp_path)
    assert "(fp32, compiled)" in network.backend
    trusted, selection = OnnxRuntimeNetwork(block_model_path, threads=1), Selection(0.1, 0.5, 50, 1)
    found, expected = (instances_of(one, frame(0.25), selection, ("object",)) for one in (network, trusted))
    assert len(expected) > 0
    assert np.array_equal(found.masks, expected.masks)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
