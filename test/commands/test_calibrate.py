from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from instance_seg_ros.commands import calibrate, main
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.files.captures import write_capture
from instance_seg_ros.learning.datasets.labelled_frames import LabelledFrame, store_frames
from instance_seg_ros.learning.evaluation import reliability
from instance_seg_ros.learning.evaluation.reliability import Judged
from instance_seg_ros.learning.synthetic.store import SynthSettings, generate_store
from instance_seg_ros.segmentation.model_file import default_model_path, read_metadata, read_model_info
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter, load_segmenter

CPU = SegmentationSettings(backend="onnxruntime")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    return generate_store(SynthSettings(frames=6, views=2, seed=4), folder, progress=False)


def segmented(model: Path, source: LabelledFrame, **changes: float) -> Instances:
    return load_segmenter(model, replace(CPU, **changes)).segment(source.frame)


def test_a_calibrated_file_publishes_the_probabilities_that_were_fitted(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reliability, "_FEWEST", 5)  # three frames have few instances
    shipped, calibrated = default_model_path(), tmp_path / "calibrated.onnx"
    options = ["--data", str(scenes), "--out", str(calibrated), "--diagram", str(tmp_path / "x.png")]
    assert main.main(["calibrate", "--model", str(shipped), *options]) == 0
    printed = capsys.readouterr().out
    assert "share that is real" in printed
    assert "scores are off by" in printed
    assert (tmp_path / "x.png").is_file()
    before, after = read_model_info(shipped), read_model_info(calibrated)
    assert after.digest == before.digest
    assert not after.calibration.changes_nothing
    assert after.score_threshold == pytest.approx(
        after.calibration.probability(before.calibration.raw(before.score_threshold)), abs=1e-4
    )
    source = next(store_frames(scenes, 1, seed=1))
    old, new = segmented(shipped, source), segmented(calibrated, source)
    assert len(old)
    np.testing.assert_array_equal(new.masks, old.masks)
    raw = before.calibration.raw
    expected = after.calibration.published(np.array([raw(float(score)) for score in old.scores], np.float32))
    np.testing.assert_allclose(new.scores, expected, atol=1e-4)
    # A threshold of the user is one of the published scores.
    some = float(np.median(new.scores))
    assert (segmented(calibrated, source, score_threshold=some).scores >= some - 1e-5).all()
    ranked = NetworkSegmenter(load_segmenter(calibrated, CPU)._network, after, CPU).ranked(source.frame)
    np.testing.assert_allclose(ranked.scores[: len(new)].max(), new.scores.max(), atol=1e-5)
    weights = [onnx.load(path).graph.SerializeToString(deterministic=True) for path in (shipped, calibrated)]
    assert weights[0] == weights[1]
    assert "calibration" in read_metadata(calibrated.read_bytes())["trained_on"]


@pytest.mark.parametrize("share", ["5", "1", "-0.1", "nan"])
def test_a_share_that_is_none_is_refused(share: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "x.onnx"), "--wrong-share", share]
    assert main.main(["calibrate", "--model", "tabletop_rgbd", *options]) == 2
    assert "--wrong-share is a share from 0 to below 1" in capsys.readouterr().err


def test_captures_that_are_not_known_to_be_labelled_all_over_are_refused(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is found on an object without a label would count as wrong, and lower all scores."""
    for source in store_frames(scenes, 2, seed=1):
        write_capture(tmp_path / "captures" / source.name, source.frame, source.truth.label_image())
    options = ["--model", "tabletop_rgbd", "--data", str(tmp_path / "captures"), "--out", str(tmp_path / "x.onnx")]
    assert main.main(["calibrate", *options]) == 2
    assert "is not known to have every object labelled" in capsys.readouterr().err
    assert main.main(["calibrate", *options, "--all-labelled"]) == 2  # two captures are few
    assert "give more labelled frames" in capsys.readouterr().err


def test_a_store_labels_every_object_without_a_word(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(scenes), "--out", str(tmp_path / "x.onnx"), "--all-labelled"]
    assert main.main(["calibrate", "--model", "tabletop_rgbd", *options]) == 2
    assert "--all-labelled is for captures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--data", "absent"], "absent is not a folder"),
        (["--data", ".", "--limit", "-3"], "--limit must be 0 or more, not -3"),
        (["--data", ".", "--seed", "-1"], "--seed must be 0 or more, not -1"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_option(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["calibrate", "--model", "tabletop_rgbd", "--out", str(tmp_path / "x.onnx"), *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--diagram"])
def test_a_file_that_cannot_be_written_is_told_before_the_frames_are_read(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    files = {"--out": tmp_path / "x.onnx", option: tmp_path / "folder"}
    words = [str(word) for pair in files.items() for word in pair]
    assert main.main(["calibrate", "--model", "absent.onnx", "--data", "absent", *words]) == 2
    assert f"{option} {tmp_path / 'folder'} is a folder, not a file" in capsys.readouterr().err


def test_too_few_frames_are_refused(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", str(scenes), "--limit", "2", "--out", str(tmp_path / "x.onnx")]
    assert main.main(["calibrate", "--model", "tabletop_rgbd", *options]) == 2
    assert "give more labelled frames" in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


def test_a_fit_that_nothing_is_left_to_measure_on_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = np.linspace(0.05, 0.95, 100, dtype=np.float32)
    halves = Judged(scores, scores > 0.5), Judged(scores[:0], scores[:0] > 0.5)
    monkeypatch.setattr(calibrate, "_predictions", lambda args, info: halves)
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "x.onnx")]
    assert main.main(["calibrate", "--model", "tabletop_rgbd", *options]) == 2
    assert "in the second half of the frames, on which the result is measured, nothing is found" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "x.onnx").exists()
