from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.scene_frames import SceneFrames
from instance_seg_ros.learning.datasets.training_samples import Batch, FrameDataset, collate
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import MASK_HEADS, CondInstConfig
from instance_seg_ros.learning.synthetic.store import open_store
from instance_seg_ros.learning.training import objective
from instance_seg_ros.learning.training.objective import batch_losses
from instance_seg_ros.learning.training.processes import Processes
from instance_seg_ros.learning.training.settings import ObjectiveSettings, TrainingSettings
from instance_seg_ros.learning.training.step import CapturedStep, OptimiserStep, WeightAverage

_WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh", "is_nonzero")
"""Operations whose result or size a program has to wait for, or that bring a constant from the CPU's memory."""


class OffTheDevice(TorchDispatchMode):
    """Collects where something leaves a device or comes to it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, (tuple, list)) else [result]
        leaves = any(isinstance(value, torch.Tensor) and value.device.type == "cpu" for value in made)
        if leaves or any(name in str(func) for name in _WAITS):
            own = [frame for frame in traceback.extract_stack() if "instance_seg_ros/learning" in frame.filename]
            self.found.add(f"{func} at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else str(func))
        return result


@pytest.mark.parametrize("mask_head", MASK_HEADS)
def test_a_step_waits_for_no_value_of_the_device(
    mask_head: str, small_config: CondInstConfig, tiny_color_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())  # none for such a device
    data = FrameDataset(SceneFrames(open_store(tiny_color_store)), AugmentationSettings(), (96, 128), 2, 0)
    batch = collate([data[(0, slot)] for slot in range(2)], rows=32).to(torch.device("meta"))
    model = CondInst(replace(small_config, mask_head=mask_head)).train().to("meta")
    with OffTheDevice() as watcher:
        output = model(batch.depth_m, batch.intrinsics, batch.color_rgb)
        seeds = torch.zeros(2, dtype=torch.int64, device="meta")
        terms = batch_losses(model, output, batch, ObjectiveSettings(), seeds)
        torch.stack(list(terms.values())).sum().backward()
        WeightAverage(model.state_dict(), 0.9).update(torch.zeros((), device="meta"))
    assert watcher.found == set()


def waits(run: Callable[[], object]) -> list[str]:
    """What waits for a value, with what it belongs to, by the profiler: gradients that look at values, as that of a
    product does to see whether a factor is 0, do not look on a device without any, nor where a dispatch mode watches.
    The optimiser's kernel for CPUs does not count.
    """
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    found = []
    for event in profiler.events():
        above = list(ancestors(event))
        if any(name in event.name for name in _WAITS) and "aten::_fused_adamw_" not in above:
            found.append(" of ".join((event.name, *above)))
    return found


def ancestors(event: FunctionEvent) -> Iterator[str]:
    while (event := event.cpu_parent) is not None:
        yield event.name


@pytest.mark.parametrize("mask_head", MASK_HEADS)
def test_nor_does_it_where_there_are_values_to_look_at(
    mask_head: str, small_config: CondInstConfig, tiny_color_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "_sums_image_by_image", objective._sums_at_once)  # as on a GPU
    data = FrameDataset(SceneFrames(open_store(tiny_color_store)), AugmentationSettings(), (96, 128), 2, 0)
    batch = collate([data[(0, slot)] for slot in range(2)], rows=32)
    step = make_step(replace(small_config, mask_head=mask_head))
    step.prepare(0, 1e-3)
    assert waits(lambda: step(batch)) == []
    assert waits(lambda: torch.ones(1, 2, requires_grad=True).prod(dim=1).sum().backward()) != []


def make_step(config: CondInstConfig) -> OptimiserStep:
    torch.manual_seed(0)
    model = CondInst(config).train()
    settings = TrainingSettings(steps=10, batch_size=2, bf16=False)
    return OptimiserStep(model, model, settings, ObjectiveSettings(), Processes(), range(2))


def test_a_gradient_that_is_no_number_moves_no_weight(small_config: CondInstConfig, tiny_color_store: Path) -> None:
    data = FrameDataset(SceneFrames(open_store(tiny_color_store)), AugmentationSettings(), (96, 128), 2, 0)
    batch = collate([data[(0, slot)] for slot in range(2)])
    step = make_step(small_config)
    step.prepare(0, 1e-3)
    assert step(batch).isfinite().all()
    before = [parameter.clone() for parameter in step._parameters]
    broken = batch.to(torch.device("cpu"))
    broken.intrinsics[:] = torch.nan
    step.prepare(1, 1e-3)
    assert not step(broken).isfinite().all()
    assert all(torch.equal(now, then) for now, then in zip(step._parameters, before, strict=True))


class Graph:
    """Repeats what was called while it was captured, into the same result."""

    captured: Graph | None = None

    def __init__(self) -> None:
        self.work: Callable[[], None] | None = None

    def replay(self) -> None:
        assert self.work is not None
        self.work()


class Stream:
    def __init__(self, device: object = None) -> None:
        pass

    def wait_stream(self, other: Stream) -> None:
        pass

    def synchronize(self) -> None:
        pass


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Stands in for CUDA's streams and graphs; the list holds what was captured."""
    captured: list[Graph] = []

    @contextlib.contextmanager
    def capturing(graph: Graph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        captured.append(graph)
        Graph.captured = graph
        yield
        Graph.captured = None

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capturing)
    monkeypatch.setattr(Batch, "record_stream", lambda batch, stream: None)
    return captured


def numbered(value: float, rows: int = 32) -> Batch:
    return Batch(
        depth_m=torch.full((1, 1, 2, 2), float(value)),
        intrinsics=torch.ones(1, 4),
        ids=torch.zeros(1, 2, 2, dtype=torch.uint8),
        boxes_xyxy=torch.zeros(1, rows, 4),
        anchors_xy=torch.zeros(1, rows, 2),
        class_ids=torch.zeros(1, rows, dtype=torch.int64),
        color_rgb=torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
    )


def summing(batch: Batch) -> torch.Tensor:
    result = batch.depth_m.sum().view(1)
    if Graph.captured is not None:
        Graph.captured.work = lambda: result.copy_(batch.depth_m.sum().view(1))
        result.fill_(torch.nan)  # a capture computes nothing
    return result


def test_steps_of_a_shape_become_a_graph_that_takes_each_batch(graphs: list[Graph]) -> None:
    step = CapturedStep(summing, torch.device("cuda"))
    results = []
    for value in range(11):
        results.append(step(numbered(value)).item())
        assert len(graphs) == (value >= 8)
    assert results == [4 * value for value in range(11)]


def test_each_shape_has_its_own_graph(graphs: list[Graph]) -> None:
    step = CapturedStep(summing, torch.device("cuda"))
    rows = [32] * 10 + [64] * 10 + [32, 64]
    assert [step(numbered(index, count)).item() for index, count in enumerate(rows)] == [4 * i for i in range(22)]
    assert len(graphs) == 2


def test_the_first_error_of_a_capture_is_told_and_not_what_comes_of_it(
    graphs: list[Graph], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextlib.contextmanager
    def capturing(graph: Graph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    def waiting(batch: Batch) -> torch.Tensor:
        if len(results) == 8:
            raise RuntimeError("operation not permitted when stream is capturing")
        return batch.depth_m.sum().view(1)

    monkeypatch.setattr(torch.cuda, "graph", capturing)
    step, results = CapturedStep(waiting, torch.device("cuda")), []
    for value in range(8):
        results.append(step(numbered(value)).item())
    with pytest.raises(RuntimeError, match="not permitted"):
        step(numbered(8))
    told = capsys.readouterr().out
    assert "no CUDA graph of a training step (operation not permitted when stream is capturing; test_step.py:" in told
    assert "previous error" not in told


def test_where_no_graph_can_be_captured_steps_go_on_without(
    graphs: list[Graph], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object, **kwargs: object) -> contextlib.AbstractContextManager[None]:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    step = CapturedStep(summing, torch.device("cuda"))
    assert [step(numbered(value)).item() for value in range(11)] == [4 * value for value in range(11)]
    told = capsys.readouterr().out
    assert told.count("no CUDA graph of a training step (operation not permitted when stream is capturing; ") == 1
    assert "test_step.py:" in told  # where it failed
