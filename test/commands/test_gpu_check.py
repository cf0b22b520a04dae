"""`make gpu-check`: what it compares and reports, on the CPU; and on a GPU, where there is one, all of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.commands import gpu_check
from instance_seg_ros.commands.gpu_check import CHECKED, Report, Row, check_model, checked, made_up_tabletop, rate
from instance_seg_ros.commands.helpers.gpu_stages import GpuEvent, stages_of
from instance_seg_ros.commands.helpers.instance_agreement import InstanceAgreement, instance_agreement
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import default_model_path, load_segmenter
from instance_seg_ros.segmentation.runtimes import nvidia_driver
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import load_cpu_network

pytestmark = pytest.mark.slow


def instances(*rows: tuple[int, int, float, int]) -> Instances:
    """One a row of an image 10 high and 12 wide: (first column, past the last, score, class), ten columns at most."""
    masks = np.zeros((len(rows), 10, 12), dtype=bool)
    for mask, (first, last, _, _) in zip(masks, rows, strict=True):
        mask[:, first:last] = True
    boxes_xyxy = np.array([(first, 0, last, 10) for first, last, _, _ in rows], dtype=np.float32).reshape(-1, 4)
    scores, classes = ([row[index] for row in rows] for index in (2, 3))
    names = ("cup", "can")
    return Instances(masks, boxes_xyxy, np.array(scores, np.float32), np.array(classes, np.int64), names)


ONE = (0, 10, 0.875, 0)


@pytest.mark.parametrize(
    ("trusted", "other", "agreement"),
    [
        ([ONE], [ONE], InstanceAgreement(1, 1, 1, 0, 0, 1.0, 0.0)),
        ([ONE], [(0, 8, 0.75, 0)], InstanceAgreement(1, 1, 1, 0, 0, 0.8, 0.125)),
        ([ONE], [(0, 4, 0.75, 0)], InstanceAgreement(1, 1, 1, 1, 1, 1.0, 0.0, (0.875, 0.75))),  # less than half of it
        ([ONE], [(0, 10, 0.875, 1)], InstanceAgreement(1, 1, 1, 1, 1, 1.0, 0.0, (0.875, 0.875))),  # of another class
        ([ONE], [], InstanceAgreement(1, 1, 0, 1, 0, 1.0, 0.0, (0.875,))),
        ([], [ONE], InstanceAgreement(1, 0, 1, 0, 1, 1.0, 0.0, (0.875,))),
        (
            [ONE],
            [(0, 9, 0.875, 0), ONE],
            InstanceAgreement(1, 1, 2, 0, 1, 1.0, 0.0, (0.875,)),
        ),  # one partner, the better
        ([], [], InstanceAgreement(1, 0, 0, 0, 0, 1.0, 0.0)),
    ],
)
def test_each_instance_has_one_partner_or_is_missing_or_extra(
    trusted: list, other: list, agreement: InstanceAgreement
) -> None:
    assert instance_agreement([(instances(*trusted), instances(*other))]) == agreement


@pytest.mark.parametrize(
    ("missing", "extra", "worst_iou", "fault"),
    [
        (0, 0, 0.98, None),
        (0, 0, 0.96, "a mask has an IoU of 0.9600"),
        (1, 0, 1.0, "1 instances missing, 0 extra (scores 0.4199)"),
        (0, 2, 1.0, "0 instances missing, 2 extra (scores 0.4199)"),
    ],
)
def test_a_fault_is_an_instance_more_or_less_or_a_mask_that_differs(
    missing: int, extra: int, worst_iou: float, fault: str | None
) -> None:
    assert InstanceAgreement(1, 3, 3, missing, extra, worst_iou, 0.0, (0.41988,)).fault(0.97) == fault


def test_a_backend_is_held_against_the_cpu_and_timed_on_frames_of_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(gpu_check, "_TIMED_FRAMES", 2)
    path, frames = default_model_path(), [made_up_tabletop(640, 480), made_up_tabletop(320, 240)]
    segmenter = load_segmenter(path, SegmentationSettings(backend="onnxruntime"))
    expected = [segmenter.segment(frame) for frame in frames]
    assert len(expected[0]) == 12

    def make(shapes: object, report: object) -> object:
        return load_cpu_network("openvino", path, SegmentationSettings(precision="fp32"))

    names = ("depth_m", "intrinsics", "color_rgb")
    row = checked(Row(path.name, "openvino", "fp32"), path, make, names, frames, expected)
    assert row.fault == ""
    assert row.agreement is not None
    assert (row.agreement.frames, row.agreement.missing, row.agreement.extra) == (2, 0, 0)
    assert row.agreement.worst_iou > 0.99
    assert row.network_ms is not None and row.frame_ms is not None
    assert "OpenVINO" in row.runs
    wrong = checked(row, path, make, names, frames, [expected[0][:11], expected[1]])
    assert wrong.fault.startswith("0 instances missing, 1 extra (scores 0.")


def test_a_backend_that_fails_is_a_fault_and_one_that_is_not_here_is_none(
    block_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(shapes: object, report: object) -> object:
        raise RuntimeError("no kernel image is available")

    row = checked(Row("blocks.onnx", "pytorch", "fp32"), block_model_path, fail, (), [], [])
    assert row.agreement is not None and row.agreement.frames == 0  # of no frames nothing fails
    frames = [made_up_tabletop(160, 120)]
    row = checked(row, block_model_path, fail, ("depth_m",), frames, [instances()])
    assert row.fault == "failed: no kernel image is available"
    rows = list(check_model(block_model_path, frames, deadline_s=0.0))
    assert len(rows) == 4 * len(CHECKED)
    assert not any(row.fault for row in rows)
    assert all(row.obstacle for row in rows)


def test_the_report_is_a_table_and_all_numbers_and_is_there_after_every_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = stages_of(frame_at(0))
    agreement = InstanceAgreement(3, 7, 7, 0, 0, 0.998, 0.004)
    rows = [
        Row("a.onnx", "pytorch", "tf32", "PyTorch", agreement, 1.234, 2.5, 31.4, stages),
        Row("a.onnx", "pytorch", "fp16", "PyTorch", fault="failed: not finite"),
        Row("a.onnx", "tensorrt", "tf32", obstacle="not installed: tensorrt"),
    ]
    report = Report(tmp_path, "H200")
    for count, row in enumerate(rows, start=1):
        report.add(row)
        assert len(json.loads((tmp_path / "table.json").read_text())["rows"]) == count
    report.finish("1200 images/s")
    text = (tmp_path / "table.md").read_text()
    cells = [cell.strip() for cell in text.splitlines()[4].strip("|").split("|")]
    assert cells[:10] == ["a.onnx", "pytorch", "tf32", "3", "7", "7", "0.9980", "0.0040", "1.23", "2.50"]
    assert cells[10:] == ["0.07", "4", "31", "ok"]
    for line in ("GPU: H200", "Training: 1200 images/s", "- tensorrt, tf32: not installed: tensorrt"):
        assert line in text.splitlines()
    assert "failed: not finite" in text
    facts = json.loads((tmp_path / "table.json").read_text())
    assert facts["rows"][0]["agreement"]["worst_iou"] == 0.998
    assert facts["rows"][0]["stages"]["ms"]["masks"] == 0.02
    assert facts["gpu"] == "H200"
    printed = capsys.readouterr().out
    assert "not installed: tensorrt" in printed
    assert "2 x convolution" in printed


def frame_at(start_us: float) -> list[GpuEvent]:
    """Two copies there, two convolutions, the suppression, masks and a copy back, 10 us apart where there is a gap."""
    spans = (
        ("Memcpy HtoD (Pinned -> Device)", 0, 5),
        ("Memcpy HtoD (Pinned -> Device)", 5, 10),
        ("convolution", 10, 20),
        ("convolution", 20, 30),
        ("_suppress", 40, 45),
        ("triton_red_fused_max", 45, 65),
        ("Memcpy DtoH (Device -> Pinned)", 65, 80),
    )
    return [GpuEvent(name, start_us + first, start_us + last) for name, first, last in spans]


def test_the_stages_are_those_of_the_mean_frame() -> None:
    stages = stages_of([*frame_at(1000), *frame_at(0)])
    expected = {"upload": 0.01, "network": 0.02, "suppression": 0.005, "masks": 0.02, "download": 0.015, "idle": 0.01}
    assert stages.ms == pytest.approx(expected)
    assert stages.kernels == {"upload": 2, "network": 2, "suppression": 1, "masks": 1, "download": 1, "idle": 0}
    assert stages.longest[0] == ("convolution", 2.0, pytest.approx(0.02))


def test_a_recording_without_a_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frame"):
        stages_of([])


def test_the_rate_leaves_the_first_steps_out() -> None:
    records = [{"step": step, "elapsed_s": 100 + 0.5 * step} for step in range(1, 41)]
    assert rate([{"step": 0, "elapsed_s": 0.0}, *records], batch_size=64) == 128.0


def test_a_little_training_gives_a_rate() -> None:
    told, ran = gpu_check.trained_a_little("cpu", batch_size=2, workers=1, frames=2, steps=2, size="small")
    assert ran
    assert "images/s (cpu, batch 2, 1 workers, 640x480, colour)" in told
    assert float(told.split()[0]) >= 0


def test_a_training_that_takes_too_long_is_stopped_and_is_no_fault() -> None:
    assert gpu_check.trained_a_little("cpu", batch_size=2, workers=1, frames=2, limit_s=0.2) == ("no step in 0 s", True)


def test_a_training_that_fails_gives_its_reason() -> None:
    told, ran = gpu_check.trained_a_little("cpu", batch_size=0, workers=1, frames=4, steps=3)
    assert not ran
    assert told.startswith("failed: instance-seg: error: ")


@pytest.mark.skipif(nvidia_driver.obstacle() is None, reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_does_not_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main([]) == 2
    assert "gpu-check: no NVIDIA GPU" in capsys.readouterr().err


REAL_FRAMES = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"


@pytest.mark.gpu
@pytest.mark.skipif(nvidia_driver.obstacle() is not None, reason=str(nvidia_driver.obstacle()))
def test_on_a_gpu_every_backend_that_runs_finds_what_the_cpu_finds(tmp_path: Path) -> None:
    captures = ["--captures", str(REAL_FRAMES)] if REAL_FRAMES.is_dir() else []
    status = gpu_check.main(["--out", str(tmp_path), *captures])
    facts = json.loads((tmp_path / "table.json").read_text())
    assert status == 0, [row["fault"] for row in facts["rows"] if row["fault"]]
    assert any(row["agreement"] for row in facts["rows"])
    assert "images/s" in facts["training"], sys.version
