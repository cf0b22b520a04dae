from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from instance_seg_ros.camera import Intrinsics, RgbdFrame
from instance_seg_ros.errors import InputError
from instance_seg_ros.evaluation import cli
from instance_seg_ros.evaluation.average_precision import AveragePrecision
from instance_seg_ros.evaluation.evaluate import evaluate_frame, summarise
from instance_seg_ros.evaluation.report import frame_table, summary_lines, write_gallery, write_json
from instance_seg_ros.evaluation.sources import LabelledFrame, captures, is_store, store_frames
from instance_seg_ros.instances import Instances
from instance_seg_ros.storage.captures import write_capture

SIZE_WH = (64, 48)


def labels(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    image = np.zeros(SIZE_WH[::-1], dtype=np.uint16)
    for value, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        image[y0:y1, x0:x1] = value
    return image


def frame() -> RgbdFrame:
    depth_m = np.full(SIZE_WH[::-1], 0.8, dtype=np.float32)
    color = np.full((*SIZE_WH[::-1], 3), 128, dtype=np.uint8)
    return RgbdFrame(color, depth_m, Intrinsics(*SIZE_WH, 60.0, 60.0, 31.5, 23.5))


class FixedSegmenter:
    """Says the same for every frame."""

    info = SimpleNamespace(name="fixed", digest="0")

    def __init__(self, image: np.ndarray) -> None:
        self._instances = Instances.from_labels(image)

    def segment(self, frame: RgbdFrame) -> Instances:
        return self._instances


def result_of(truth: np.ndarray, predicted: np.ndarray, complete: bool = True):
    source = LabelledFrame("a", frame(), Instances.from_labels(truth).masks, complete)
    return evaluate_frame(FixedSegmenter(predicted), source)


def test_predictions_elsewhere_count_only_where_all_is_labelled() -> None:
    truth, predicted = labels((0, 0, 10, 10)), labels((0, 0, 10, 10), (30, 30, 40, 40))
    assert result_of(truth, predicted, complete=True).metrics.overlap.precision == 0.5
    partly = result_of(truth, predicted, complete=False)
    assert partly.metrics.overlap.precision == 1
    assert partly.counted.tolist() == [True, False]


def test_the_summary_counts_frames_with_two_thirds_found() -> None:
    three = labels((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10))
    two, one = labels((0, 0, 10, 10), (20, 0, 30, 10)), labels((0, 0, 10, 10))
    summary = summarise([result_of(three, three), result_of(three, two), result_of(three, one)])
    assert summary["frames_with_two_thirds_found"] == 2
    assert (summary["objects_found"], summary["objects"]) == (6, 9)
    assert summary["overlap_r"] == pytest.approx(100 * (1 + 2 / 3 + 1 / 3) / 3)
    assert summary["overlap_p"] == pytest.approx(100)


def test_objects_are_counted_by_the_share_of_the_image_that_they_cover() -> None:
    # 64x48: 4 px are 0.13 %, 100 px 3.3 % of the image.
    truth, predicted = labels((0, 0, 2, 2), (20, 0, 30, 10)), labels((20, 0, 30, 10))
    classes = summarise([result_of(truth, predicted)])["found_by_size"]
    assert classes["0 to 0.2 %"] == {"objects": 1, "found": 0}
    assert classes["1.5 to 100 %"] == {"objects": 1, "found": 1}


def test_a_frame_without_objects_is_no_frame_with_labels() -> None:
    summary = summarise([result_of(labels(), labels())])
    assert (summary["frames"], summary["frames_with_labels"]) == (1, 0)


def test_average_precision_by_hand() -> None:
    pytest.importorskip("pycocotools")
    truth = Instances.from_labels(labels((0, 0, 10, 10), (30, 0, 40, 10))).masks
    perfect, half = AveragePrecision(), AveragePrecision()
    perfect.add(truth, truth, np.array([0.9, 0.8], dtype=np.float32))
    assert perfect.result()["ap"] == pytest.approx(1)
    # One object found at the best score: precision is 1 up to a recall of 0.5, which is 51 of the 101 recall points.
    half.add(truth, truth[:1], np.array([0.9], dtype=np.float32))
    assert half.result()["ap50"] == pytest.approx(51 / 101)
    nothing = AveragePrecision()
    nothing.add(truth, truth[:0], np.zeros(0, dtype=np.float32))
    assert nothing.result()["ap"] == 0


def test_reports_name_frames_and_write_files(tmp_path: Path) -> None:
    results = [result_of(labels((0, 0, 10, 10)), labels((0, 0, 10, 9), (30, 30, 40, 40)))]
    summary = summarise(results)
    assert "100%" in frame_table(results)
    assert "frames with at least two thirds found: 1 of 1" in summary_lines(summary)
    write_json(tmp_path / "metrics.json", summary, results)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["frames"][0]["found"] == 1
    write_gallery(tmp_path / "worst.png", results, 3)
    assert cv2.imread(str(tmp_path / "worst.png")).shape == (360, 1440, 3)


def test_captures_without_labels_are_left_out(tmp_path: Path) -> None:
    write_capture(tmp_path / "with", frame(), labels((0, 0, 10, 10)))
    write_capture(tmp_path / "without", frame())
    found = list(captures(tmp_path))
    assert [f.name for f in found] == ["with"]
    assert found[0].truth.shape == (1, 48, 64)
    assert not found[0].complete


def fabricated_store(folder: Path) -> Path:
    ids = np.zeros((4, 48, 64), dtype=np.uint8)
    ids[:, 10:20, 10:30] = 1
    ids[:, 40:43, 40:43] = 2
    arrays = {
        "depth": np.full((4, 48, 64), 8000, dtype=np.uint16) - 500 * (ids > 0).astype(np.uint16),
        "ids": ids,
        "intrinsics": np.tile(np.array([60, 60, 31.5, 23.5], dtype=np.float32), (4, 1)),
        "T_world_camera": np.tile(np.eye(4, dtype=np.float32), (4, 1, 1)),
        "scene_id": np.arange(4, dtype=np.int32),
        "done": np.ones(4, dtype=bool),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    meta = {"format": 1, "frames": 4, "width": 64, "height": 48, "seed": 0, "color": False, "generator": {"views": 1}}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def test_store_frames_have_noise_that_the_seed_decides_and_no_tiny_objects(tmp_path: Path) -> None:
    store = fabricated_store(tmp_path)
    assert is_store(store)
    first, again = list(store_frames(store, 2, 1)), list(store_frames(store, 2, 1))
    assert [f.name for f in first] == ["000000", "000003"]
    assert all(len(f.truth) == 1 and f.complete for f in first)
    np.testing.assert_array_equal(first[0].frame.depth_m, again[0].frame.depth_m)
    other = next(iter(store_frames(store, 2, 2)))
    assert not np.array_equal(first[0].frame.depth_m, other.frame.depth_m)


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_command_evaluates_captures_with_the_shipped_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_capture(tmp_path / "data" / "a", frame(), labels((0, 0, 10, 10)))
    assert cli.run(parse("--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"))) == 0
    assert "frames with at least two thirds found: 0 of 1" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"metrics.json", "worst.png"}


def test_the_command_names_data_that_it_cannot_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no capture"):
        cli.run(parse("--data", str(tmp_path)))
    write_capture(tmp_path / "a", frame())
    with pytest.raises(InputError, match="no labelled frame"):
        cli.run(parse("--data", str(tmp_path)))


REAL_CAPTURES = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"


@pytest.mark.skipif(not REAL_CAPTURES.is_dir(), reason="the real captures lie beside the project")
def test_the_shipped_model_finds_two_thirds_of_the_objects_in_25_of_27_real_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(parse("--data", str(REAL_CAPTURES), "--out", str(tmp_path))) == 0
    summary = json.loads((tmp_path / "metrics.json").read_text())["summary"]
    assert summary["frames_with_labels"] == 27
    assert summary["frames_with_two_thirds_found"] >= 25
