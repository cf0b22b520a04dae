"""`instance-seg bench`: the table's arithmetic, and runs of the real pipeline."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from instance_seg_ros.commands import main
from instance_seg_ros.commands.bench import stage_rows
from instance_seg_ros.commands.helpers import runtime_timing
from instance_seg_ros.commands.helpers.runtime_timing import Comparison
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.files.captures import write_capture
from instance_seg_ros.segmentation.model_file import QUANTISED_FROM_KEY, path_in_8_bits, read_model_info
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import CPU_BACKENDS, cpu_forms, installed_cpu_backends


def test_stage_rows_are_medians_percentiles_and_shares_of_the_total() -> None:
    times_s = [{"segment": 0.010, "lift": 0.030}, {"segment": 0.020, "lift": 0.020}, {"segment": 0.030, "lift": 0.030}]
    assert stage_rows(times_s) == [
        ("segment", "20.0", "29.0", "50"),
        ("lift", "30.0", "30.0", "75"),
        ("total", "40.0", "58.0", "100"),
    ]


def test_captures_are_measured_over_and_over_in_every_form_of_the_model(
    tmp_path: Path, make_frame: Callable[..., RgbdFrame], block_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_capture(tmp_path / "capture", make_frame())
    model = tmp_path / "blocks.onnx"
    shutil.copy(block_model_path, model)
    in_8_bits = onnx.load(model)
    in_8_bits.metadata_props.add(key=QUANTISED_FROM_KEY, value=read_model_info(model).digest)
    onnx.save(in_8_bits, path_in_8_bits(model))
    options = ["--capture", str(tmp_path), "--frames", "3", "--warm-up", "1", "--model", str(model)]
    assert main.main(["bench", *options]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[2:7]] == ["segment", "lift", "grasp", "track", "total"]
    assert "3 frames of" in out
    rows = [line for line in out.splitlines() if "frame to instances" in line]
    assert len(rows) == len(cpu_forms(model)) + 1  # the last one is auto's, of its memory alone
    assert sum("in 8 bits" in row for row in rows) == len(installed_cpu_backends())
    assert all(30 < float(row.split()[-1]) < 2000 for row in rows)


def test_simulated_frames_have_the_size_that_was_asked_for(
    block_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(block_model_path)]
    assert main.main(["bench", "--size", "160x120", "--frames", "1", "--warm-up", "0", *model]) == 0
    assert "1 frames of 160x120" in capsys.readouterr().out


def test_other_networks_are_measured_beside_the_model(
    tmp_path: Path, make_frame: Callable[..., RgbdFrame], block_model_path: Path
) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    others = [network(folder, 8) for folder in folders]  # two files of one name
    found = runtime_timing.rows(
        [make_frame()], 2, block_model_path, SegmentationSettings(threads=1), Comparison(others=others), []
    )
    count = len(installed_cpu_backends())
    assert [(row[0], bool(row[2]), bool(row[4])) for row in found] == [
        *[("blocks, frame to instances", True, True)] * count,
        *[(f"{folder / 'other'}, forward pass", True, False) for folder in folders] * count,
        ("blocks, frame to instances", False, True),
    ]


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_network_of_free_input_shapes_cannot_be_measured_beside(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    with pytest.raises(InputError, match="takes image of any shape; export it with the size"):
        runtime_timing.other_network(backend, network(tmp_path, "width"), threads=1)
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match=f"{backend} cannot load"):
        runtime_timing.other_network(backend, tmp_path / "broken.onnx", threads=1)


def network(folder: Path, width: int | str) -> Path:
    """A network that takes an image of four rows."""
    image, positive = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, width]) for name in ("image", "positive")
    )
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["positive"])], "other", [image], [positive])
    folder.mkdir(exist_ok=True)
    path = folder / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "--frames must be at least 1"),
        (["--warm-up", "-1"], "--warm-up at least 0"),
        (["--capture", "absent"], "absent"),
        (["--beside", "absent.onnx"], "--beside absent.onnx: there is no such file"),
        (["--made-up", "--frames", "1", "--model", "absent.onnx"], "absent.onnx"),
    ],
)
def test_options_that_cannot_be_are_named(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_network_that_cannot_be_loaded_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    assert main.main(["bench", "--beside", str(tmp_path / "broken.onnx"), "--model", "absent.onnx"]) == 2
    assert "broken.onnx" in capsys.readouterr().err


def test_pytorch_and_an_imported_network_are_measured_on_request(
    block_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--made-up", "--size", "160x120", "--frames", "2", "--warm-up", "0", "--pytorch"]
    assert main.main(["bench", *options, "--model", str(block_model_path)]) == 0
    out = capsys.readouterr().out
    assert "2 frames of 160x120" in out
    assert f"PyTorch {torch.__version__} (fp32)" in out
    assert f"PyTorch {torch.__version__} (bf16)" in out


def test_a_model_of_another_project_is_measured_in_the_runtimes_of_the_cpu(
    family_model_path: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(family_model_path("yolo-seg"))]
    options = ["bench", "--made-up", "--size", "160x128", "--frames", "1", "--warm-up", "0", *model]
    assert main.main(options) == 0
    assert re.search(r"frame to instances +ONNX Runtime", capsys.readouterr().out)
    assert main.main([*options, "--pytorch"]) == 2
    assert "is not a model of this project" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_its_runtimes_cannot_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", "--made-up", "--device", "cuda"]) == 2
    assert "--device cuda: PyTorch" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--device", "tpu"], ["--made-up", "--capture", "x"]])
def test_options_that_mean_nothing_are_refused(options: list[str]) -> None:
    assert main.main(["bench", *options]) == 2


@pytest.mark.parametrize("size", ["wide", "64x", "0x0"])
def test_a_size_that_is_none_is_named(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", "--size", size]) == 2
    assert f"'{size}' is not a size such as 640x480" in capsys.readouterr().err
