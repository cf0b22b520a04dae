"""`instance-seg build-engine --check`, and what `instance-seg export` says of TensorRT, by its real builder."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from instance_seg_ros.commands import export, main
from instance_seg_ros.segmentation.model_file import graph_digest
from instance_seg_ros.segmentation.runtimes.tensorrt_check import check_obstacle

CHECK = ["build-engine", "--check", "--camera-size", "160x120", "--model"]

needs_builder = pytest.mark.skipif(check_obstacle() is not None, reason=str(check_obstacle()))


@pytest.fixture
def refused(block_model_path: Path, tmp_path: Path) -> Path:
    """A whole model file that runs on CPUs, with an operator that TensorRT lacks."""
    proto = onnx.load(block_model_path)
    graph = proto.graph
    (scores,) = (node for node in graph.node if "scores" in node.output)
    scores.output[0] = "some_scores"
    graph.initializer.append(numpy_helper.from_array(np.array([True, True]), "which"))
    graph.node.append(helper.make_node("Compress", ["some_scores", "which"], ["scores"], name="chosen"))
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    helper.set_model_props(proto, {**facts, "digest": graph_digest(proto.SerializeToString())})
    path = tmp_path / "refused.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@needs_builder
def test_a_model_that_can_be_built_is_said_to(block_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*CHECK, str(block_model_path)]) == 0
    assert "builds it for 160x120, tf32, compute capabilities 8.6, 8.9, 12.0" in capsys.readouterr().out
    assert export._told_of_tensorrt(block_model_path, (640, 480)).startswith("TensorRT for RTX 1.")


@needs_builder
def test_one_that_cannot_be_is_told_of_in_tensorrts_words(refused: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*CHECK, str(refused)]) == 2
    assert "cannot read the model: Compress chosen: " in capsys.readouterr().err
    told = export._told_of_tensorrt(refused, (640, 480))
    assert told.startswith("warning: no TensorRT engine can be built of it: TensorRT for RTX 1.")


def test_where_the_builder_is_missing_the_cure_is_told(
    block_model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "tensorrt_rtx_bindings" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert main.main([*CHECK, str(block_model_path)]) == 2
    cure = "not installed: tensorrt_rtx_bindings; pip install 'instance_seg_ros[rtx]'"
    assert f"cannot check a model here: {cure}" in capsys.readouterr().err
    assert export._told_of_tensorrt(block_model_path, (640, 480)) == f"not tried with TensorRT: {cure}"
