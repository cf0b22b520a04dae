from __future__ import annotations

import argparse
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from instance_seg_ros.commands import evaluate
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.files.captures import write_capture
from instance_seg_ros.learning.datasets.labelled_frames import (
    CONDITIONS,
    SENSORS,
    LabelledFrame,
    captures,
    degraded,
    is_store,
    store_frames,
)
from instance_seg_ros.learning.evaluation.breakdown import summarise
from instance_seg_ros.learning.evaluation.evaluate import FrameResult, evaluate_frame
from instance_seg_ros.learning.evaluation.gallery import WorstFrames, pictures, write_page
from instance_seg_ros.learning.evaluation.report import breakdown_table, frame_table, summary_lines, write_json
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS, SensorSettings
from instance_seg_ros.learning.synthetic.store import FLAT, FLUSH, PARTS, STACKED
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter, load_segmenter

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
    """Says the same for every frame; what it ranks is what it gives, unless told otherwise."""

    info = SimpleNamespace(name="fixed", digest="0")
    backend = "none"

    def __init__(self, image: np.ndarray, ranked: np.ndarray | None = None) -> None:
        self._instances = Instances.from_labels(image)
        self._ranked = self._instances if ranked is None else Instances.from_labels(ranked)

    def segment(self, frame: RgbdFrame) -> Instances:
        return self._instances

    def ranked(self, frame: RgbdFrame) -> Instances:
        return self._ranked


def source_of(truth: np.ndarray, complete: bool = True, name: str = "a", **facts) -> LabelledFrame:
    nothing = np.zeros(truth.shape, dtype=bool)
    return LabelledFrame(name, frame(), Instances.from_labels(truth), complete, nothing, **facts)


def result_of(truth: np.ndarray, predicted: np.ndarray, **facts) -> FrameResult:
    return evaluate_frame(FixedSegmenter(predicted), source_of(truth, **facts))[0]


def test_predictions_elsewhere_count_only_where_all_is_labelled() -> None:
    truth, predicted = labels((0, 0, 10, 10)), labels((0, 0, 10, 10), (30, 30, 40, 40))
    assert result_of(truth, predicted, complete=True).metrics.overlap.precision == 0.5
    partly, prediction = evaluate_frame(FixedSegmenter(predicted), source_of(truth, complete=False))
    assert partly.metrics.overlap.precision == 1
    assert prediction.counted.tolist() == [True, False]


def test_average_precision_also_counts_what_the_threshold_leaves_out() -> None:
    pytest.importorskip("faster_coco_eval")
    source = source_of(labels((0, 0, 10, 10), (20, 0, 30, 10)))
    segmenter = FixedSegmenter(labels((0, 0, 10, 10)), ranked=labels((0, 0, 10, 10), (20, 0, 30, 10)))
    result, _ = evaluate_frame(segmenter, source)
    assert result.metrics.found == 1
    assert summarise([result]).all.ap == 1.0


def test_a_prediction_that_is_mostly_on_an_ignored_object_is_neither_right_nor_wrong() -> None:
    ignored = labels((30, 30, 40, 40)) > 0
    source = replace(source_of(labels((0, 0, 10, 10))), ignored=ignored)
    for other, counted in (((30, 30, 40, 41), False), ((34, 30, 44, 40), False), ((36, 30, 46, 40), True)):
        result, prediction = evaluate_frame(FixedSegmenter(labels((0, 0, 10, 10), other)), source)
        assert prediction.counted.tolist() == [True, counted]
        assert result.phantoms.count == 0


def test_phantoms_are_told_by_labels_where_all_are_known_and_by_depth_elsewhere() -> None:
    truth, predicted = labels((0, 0, 10, 10)), labels((0, 0, 10, 10), (20, 20, 30, 30), (40, 20, 50, 30))
    source = source_of(truth, complete=False)
    source.frame.depth_m[20:30, 40:50] = 0.7  # something that stands out, though unlabelled
    for complete, count in ((True, 2), (False, 1)):
        result, prediction = evaluate_frame(FixedSegmenter(predicted), replace(source, complete=complete))
        assert (result.phantoms.count, result.phantoms.away, result.phantoms.bare) == (count, 2, 1)
        assert prediction.phantom.tolist() == [False, True, complete]


def test_phantoms_that_stand_out_are_told_from_those_on_bare_surface() -> None:
    source = source_of(labels((0, 0, 10, 10)))
    source.frame.depth_m[20:30, 40:50] = 0.7
    predicted = labels((0, 0, 10, 10), (20, 20, 30, 30), (40, 20, 50, 30))
    summary = summarise([evaluate_frame(FixedSegmenter(predicted), source)[0]])
    assert "phantoms: 2 in 1 frames, 1 of them on bare surface, judged by depth; most in a: 2" in summary_lines(summary)


def test_a_prediction_without_depth_is_no_phantom_but_is_told() -> None:
    source = source_of(labels((0, 0, 10, 10)), complete=False)
    source.frame.depth_m[20:30, 20:30] = 0
    result, _ = evaluate_frame(FixedSegmenter(labels((20, 20, 30, 30))), source)
    assert (result.phantoms.count, result.phantoms.unmeasured) == (0, 1)
    assert "no depth to judge: 1" in summary_lines(summarise([result]))


def rows(results: list[FrameResult], by: str) -> dict[str, tuple[int | None, int]]:
    return {row.name: (row.frames, row.objects) for row in summarise(results).rows if row.by == by}


def test_the_summary_counts_frames_with_two_thirds_found() -> None:
    three = labels((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10))
    two, one = labels((0, 0, 10, 10), (20, 0, 30, 10)), labels((0, 0, 10, 10))
    summary = summarise([result_of(three, three), result_of(three, two), result_of(three, one)])
    assert (summary.frames_with_two_thirds_found, summary.frames_with_labels) == (2, 3)
    assert (summary.all.found, summary.all.objects) == (pytest.approx(6 / 9), 9)
    assert summary.overlap[:2] == (pytest.approx(1), pytest.approx((1 + 2 / 3 + 1 / 3) / 3))


def test_a_summary_needs_a_frame() -> None:
    with pytest.raises(ValueError, match="no frame"):
        summarise([])


def test_objects_are_told_apart_by_the_share_of_the_image_that_they_cover() -> None:
    # 64x48: 4 px are 0.13 %, 100 px 3.3 % of the image.
    truth, predicted = labels((0, 0, 2, 2), (20, 0, 30, 10)), labels((20, 0, 30, 10))
    found = {row.name: row.found for row in summarise([result_of(truth, predicted)]).rows if row.by == "size"}
    assert found == {"0 to 0.2 %": 0, "1.5 to 100 %": 1}


def test_objects_are_told_apart_by_distance() -> None:
    source = source_of(labels((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)))
    source.frame.depth_m[:, 15:35], source.frame.depth_m[:, 35:] = 1.5, 0
    result, _ = evaluate_frame(FixedSegmenter(labels()), source)
    assert rows([result], "distance") == {"0.6 to 0.9 m": (None, 1), "above 1.3 m": (None, 1)}  # one has no distance


def test_frames_are_told_apart_by_their_number_of_objects() -> None:
    def some(count: int) -> FrameResult:
        return result_of(labels(*[(5 * i, 0, 5 * i + 4, 4) for i in range(count)]), labels())

    results = [some(count) for count in (0, 1, 5, 6, 10, 11, 12)]
    assert rows(results, "objects") == {"0": (1, 0), "1 to 5": (2, 6), "6 to 10": (2, 16), "more than 10": (2, 23)}
    assert rows(results[:1], "objects") == {}


def test_objects_of_the_kinds_that_are_lost_have_lines_of_their_own() -> None:
    # 640 px of 3072 are large; something nearer hides its right edge. Two pieces of another object; a thin, small one.
    truth = labels((0, 0, 20, 32), (30, 0, 40, 6), (40, 20, 60, 21))
    truth[10:16, 30:40] = 2
    source = source_of(truth)
    depth_m = np.full(SIZE_WH[::-1], 1.3, np.float32)
    depth_m[truth == 1], depth_m[:, 20:25] = 1.0, 0.7
    result, _ = evaluate_frame(FixedSegmenter(truth), replace(source, clean_depth_m=depth_m))
    subsets = rows([result], "subset")
    assert subsets == {
        "split: in two pieces or more": (None, 1),
        "behind: large, partly hidden": (None, 1),
        "thin: below 2 % of the width": (None, 1),
        "far: beyond 1.2 m": (None, 2),
    }


def test_what_a_store_knows_of_objects_makes_subsets() -> None:
    truth = labels((0, 0, 20, 20), (25, 0, 45, 20), (0, 25, 20, 45))
    result = result_of(truth, truth, traits=(STACKED | PARTS, STACKED | FLUSH, FLAT))
    assert rows([result], "subset") == {
        "stacked: on or below another": (None, 2),
        "flush: box along a box": (None, 1),
        "flat: lies low": (None, 1),
        "parts: of several bodies": (None, 1),
    }


def test_phantoms_on_a_robot_are_counted_where_one_is_in_view() -> None:
    truth, robot = labels((0, 0, 20, 20)), labels((30, 0, 60, 40)) > 0
    found = labels((0, 0, 20, 20), (30, 0, 60, 40), (50, 40, 60, 48))
    results = [
        result_of(truth, found, robot=robot),
        result_of(truth, truth, robot=robot),
        result_of(truth, found, robot=np.zeros_like(robot)),
        result_of(truth, found),
    ]
    summary = summarise(results)
    assert (summary.robot_frames, summary.robot_phantoms) == (2, 1)
    assert "phantoms on a robot: 1 in 2 frames with one in view" in summary_lines(summary)
    assert rows(results, "robot") == {"in view": (2, 2), "not in view": (2, 2)}
    assert rows(results[:2], "robot") == {}
    assert "robot" not in summary_lines(summarise(results[2:]))


def test_splits_and_merges_are_shares_of_the_objects() -> None:
    truth = labels((0, 0, 20, 10), (30, 0, 40, 10), (40, 0, 50, 10))
    summary = summarise([result_of(truth, labels((0, 0, 10, 10), (10, 0, 20, 10), (30, 0, 50, 10)))])
    assert (summary.all.splits, summary.all.merges) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    lines = breakdown_table(summary).splitlines()
    assert "splits" in lines[0] + lines[1]
    assert re.search(r"33\.3 +66\.7", next(line for line in lines if " all " in line))


def test_frames_are_told_apart_by_group_and_sensor() -> None:
    truth = labels((0, 0, 10, 10))
    grouped = [result_of(truth, truth, group=group) for group in ("mug", "mug", "tote")]
    assert rows(grouped, "group") == {"mug": (2, 2), "tote": (1, 1)}
    assert rows(grouped[:2], "group") == rows(grouped[1:], "group") == {}
    conditions = [result_of(truth, truth, condition=condition, view="steep") for condition in ("", "dim", "dim")]
    assert rows(conditions, "condition") == {"unchanged": (1, 1), "dim": (2, 2)}
    assert rows(conditions, "view") == {}
    seen = [result_of(truth, truth, sensor=sensor) for sensor in ("b", "a", "b")]
    assert rows(seen, "sensor") == {"b": (2, 2), "a": (1, 1)}
    assert rows(seen, "group") == {}


def test_a_frame_without_objects_is_no_frame_with_labels() -> None:
    summary = summarise([result_of(labels(), labels())])
    assert "frames without an object: 1, 1 of them without a prediction\n" in summary_lines(summary)
    assert (summary.all.frames, summary.frames_with_labels) == (1, 0)
    assert np.isnan([summary.all.found, *summary.with_objects]).all()
    assert summary.overlap == (1, 1, 1)
    assert "-" in breakdown_table(summary)


def test_frames_without_objects_count_1_or_0_and_the_others_are_told_beside_them() -> None:
    half = result_of(labels((0, 0, 10, 10)), labels((5, 0, 15, 10)))
    clean, spoilt = result_of(labels(), labels()), result_of(labels(), labels((0, 0, 10, 10), (20, 0, 30, 10)))
    summary = summarise([half, clean, spoilt])
    assert summary.overlap == pytest.approx((0.5, 2.5 / 3, 0.5))
    assert summary.all.overlap_f == 0.5
    assert summary.with_objects == (0.5, half.metrics.boundary.f, 0)
    assert (summary.empty_frames, summary.clean_empty_frames) == (2, 1)
    assert summary.all.phantoms == pytest.approx(2 / 3)
    none, few = (row for row in summary.rows if row.by == "objects")
    assert (none.overlap_f, none.phantoms, few.overlap_f) == (0.5, 1, 0.5)
    assert (
        "frames without an object: 2, 1 of them without a prediction; the others alone: overlap F / boundary F / "
        "%75 50.0 / " in summary_lines(summary)
    )
    assert "frames without" not in summary_lines(summarise([half]))


def test_reports_name_frames_and_write_files(tmp_path: Path) -> None:
    worst = WorstFrames(2)
    results = []
    for name, predicted in (("good", labels((0, 0, 10, 10))), ("bad", labels((30, 30, 40, 40))), ("<&#1", labels())):
        result, prediction = evaluate_frame(FixedSegmenter(predicted), source_of(labels((0, 0, 10, 10)), name=name))
        results.append(result)
        worst.add(result, prediction)
    summary = summarise(results)
    assert "100%" in frame_table(results)
    assert "frames with at least two thirds found: 1 of 3" in summary_lines(summary)
    assert "phantoms: 1 in 3 frames; most in bad: 1" in summary_lines(summary)
    write_json(tmp_path / "metrics.json", {"name": "a", "digest": "0"}, {"limit": 3}, summary, results)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["options"] == {"limit": 3}
    assert [frame["found"] for frame in content["frames"]] == [1, 0, 0]
    assert content["frames"][0]["objects"][0]["occlusion"] is None
    assert content["summary"]["rows"][0]["phantoms"] == pytest.approx(1 / 3)
    assert [result.name for result, _ in worst.frames()] == ["bad", "<&#1"]
    write_page(tmp_path, "a model", summary, worst.frames())
    page = (tmp_path / "index.html").read_text()
    images = re.findall(r'src="([^"]+)"', page)
    assert len(images) == 9  # the plot, and colour, depth, truth and prediction of two frames
    assert all((tmp_path / unquote(urlsplit(html.unescape(image)).path)).is_file() for image in images)
    assert "<&" not in page


def test_a_frame_under_several_conditions_has_pictures_of_each(tmp_path: Path) -> None:
    worst = WorstFrames(2)
    for condition in ("", "printed"):
        source = replace(source_of(labels((0, 0, 10, 10)), name="1"), sensor="random", condition=condition)
        worst.add(*evaluate_frame(FixedSegmenter(labels()), source))
    write_page(tmp_path, "a model", summarise([result for result, _ in worst.frames()]), worst.frames())
    pictures_of = {path.name.rpartition("_")[0] for path in (tmp_path / "frames").iterdir()}
    assert pictures_of == {"1_random", "1_random_printed"}


def test_without_faster_coco_eval_there_is_everything_but_average_precision(tmp_path: Path) -> None:
    source = source_of(labels((0, 0, 10, 10)))
    result, prediction = evaluate_frame(FixedSegmenter(labels((0, 0, 10, 10))), source)
    result = replace(result, encoded=None)
    summary = summarise([result])
    assert summary.precision is None
    assert "AP" not in summary_lines(summary)
    assert "100.0" in breakdown_table(summary)
    write_json(tmp_path / "metrics.json", {"name": "a", "digest": "0"}, {"limit": 3}, summary, [result])
    write_page(tmp_path, "a model", summary, [(result, prediction)])
    assert not (tmp_path / "precision_recall.png").exists()


def test_pictures_of_a_frame_without_colour_are_three() -> None:
    source = replace(source_of(labels((0, 0, 10, 10))), frame=replace(frame(), color_rgb=None))
    _, prediction = evaluate_frame(FixedSegmenter(labels((0, 0, 10, 10))), source)
    tiles = pictures(prediction)
    assert list(tiles) == ["depth", "truth", "prediction"]
    assert {tile.shape for tile in tiles.values()} == {(360, 480, 3)}


def test_captures_without_labels_are_left_out(tmp_path: Path) -> None:
    write_capture(tmp_path / "with", frame(), labels((0, 0, 10, 10)))
    write_capture(tmp_path / "without", frame())
    found = list(captures(tmp_path))
    assert [f.name for f in found] == ["with"]
    assert found[0].truth.masks.shape == (1, 48, 64)
    assert not found[0].complete
    assert next(captures(tmp_path, complete=True)).complete
    with pytest.raises(InputError, match=r"no capture in .* has labels to measure against: a labels\.png"):
        next(captures(tmp_path / "without"))


def test_a_limit_spreads_over_the_labelled_captures_and_keeps_their_groups(tmp_path: Path) -> None:
    for name in ("mug_1", "mug_2", "mug_3", "tote_1", "tote_2"):
        write_capture(tmp_path / name, frame(), None if name == "tote_2" else labels((0, 0, 10, 10)))
    assert [(f.name, f.group) for f in captures(tmp_path, limit=2)] == [("mug_1", "mug"), ("tote_1", "tote")]
    assert len(list(captures(tmp_path, limit=0))) == len(list(captures(tmp_path, limit=9))) == 4


def fabricated_store(folder: Path, color: bool = False) -> Path:
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
    if color:
        arrays["color"] = np.full((4, 48, 64, 3), 90, np.uint8)
        arrays["color"][ids > 0] = (160, 60, 40)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    meta = {"format": 1, "frames": 4, "width": 64, "height": 48, "seed": 0, "color": color, "generator": {"views": 1}}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def test_a_store_is_seen_as_it_is_and_under_every_condition(tmp_path: Path) -> None:
    store = fabricated_store(tmp_path, color=True)
    frames = {source.condition: source for source in store_frames(store, 1, 1, conditions=CONDITIONS)}
    assert list(frames) == ["", *CONDITIONS]
    plain = frames[""].frame
    measured = {name: (source.frame.depth_m > 0).mean() for name, source in frames.items()}
    assert 0.45 < measured.pop("missing") / measured[""] < 0.7
    assert len(set(measured.values())) == 1
    light = {name: source.frame.color_rgb.mean() for name, source in frames.items()}
    assert light["dim"] < 0.6 * light[""] < light[""] < light["bright"]
    for name in ("misregistered", "printed"):
        assert (frames[name].frame.color_rgb != plain.color_rgb).any()
        assert (frames[name].frame.depth_m == plain.depth_m).all()
    assert (frames["missing"].frame.color_rgb == plain.color_rgb).all()
    again = next(f for f in store_frames(store, 1, 1, conditions=("printed",)) if f.condition)
    assert (again.frame.color_rgb == frames["printed"].frame.color_rgb).all()
    with pytest.raises(ValueError, match="no condition named 'wet'; choose from missing, misregistered"):
        next(store_frames(store, 1, 1, conditions=("wet",)))


def test_an_error_of_registration_moves_colour_and_leaves_depth_on_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fabricated_store(tmp_path, color=True)
    frames = []
    for shift_px in (0.0, 15.0):
        monkeypatch.setitem(PRESETS, "time_of_flight", SensorSettings(jitter_px=0.1, shift_px=shift_px))
        frames.append(next(store_frames(store, 1, 1, ["time_of_flight"])).frame)
    on_depth, beside = frames
    np.testing.assert_array_equal(beside.depth_m, on_depth.depth_m)
    assert (beside.color_rgb != on_depth.color_rgb).any()


def test_store_frames_have_noise_that_the_seed_decides_and_no_tiny_objects(tmp_path: Path) -> None:
    store = fabricated_store(tmp_path)
    assert is_store(store)
    first, again = list(store_frames(store, 2, 1)), list(store_frames(store, 2, 1))
    assert [f.name for f in first] == ["000000", "000003"]
    assert all(len(f.truth) == 1 and f.complete for f in first)
    np.testing.assert_array_equal(first[0].frame.depth_m, again[0].frame.depth_m)
    assert first[0].ignored.sum() == 9
    other = next(iter(store_frames(store, 2, 2)))
    assert not np.array_equal(first[0].frame.depth_m, other.frame.depth_m)


def test_a_store_is_seen_through_each_of_several_sensors(tmp_path: Path) -> None:
    store = fabricated_store(tmp_path)
    with pytest.raises(ValueError, match="no passive stereo"):
        list(store_frames(store, 2, 1, SENSORS))
    np.save(store / "stereo_depth.npy", np.full((4, 48, 64), 7000, dtype=np.uint16))
    meta = json.loads((store / "meta.json").read_text())
    generator = {"views": 1, "stereo_baseline_m": 0.05}
    (store / "meta.json").write_text(json.dumps({**meta, "generator": generator}))
    frames = list(store_frames(store, 2, 1, SENSORS))
    assert [f.sensor for f in frames] == [*SENSORS, *SENSORS]
    images = {f.frame.depth_m.tobytes() for f in frames[: len(SENSORS)]}
    assert len(images) == len(SENSORS)
    assert (frames[len(SENSORS) - 1].frame.depth_m == np.float32(0.7)).all()
    for f in frames:
        np.testing.assert_array_equal(f.clean_depth_m, frames[0].clean_depth_m)
    with pytest.raises(ValueError, match="no sensor named 'lidar'; choose from random, ideal"):
        next(store_frames(tmp_path, 2, 1, ("lidar",)))


def test_the_rule_for_bare_surface_is_checked_where_the_truth_is_known(tmp_path: Path) -> None:
    results = [
        evaluate_frame(FixedSegmenter(labels()), source)[0]
        for source in store_frames(fabricated_store(tmp_path), 4, 1, ("ideal",))
    ]
    rule = summarise(results).rule
    assert (rule.objects, rule.objects_called_bare) == (4, 0)  # 5 cm high
    assert rule.bare == rule.bare_called_bare > 0
    assert summarise([result_of(labels((0, 0, 10, 10)), labels())]).rule.objects == 0


def test_colour_of_a_store_reaches_the_segmenter_as_a_camera_would_give_it(tmp_path: Path) -> None:
    store = fabricated_store(tmp_path)
    assert next(store_frames(store, 1, 1)).frame.color_rgb is None
    depth_m = next(store_frames(store, 1, 1)).frame.depth_m
    colors = np.full((4, 48, 64, 3), (200, 120, 40), dtype=np.uint8)
    np.save(store / "color.npy", colors)
    meta = json.loads((store / "meta.json").read_text())
    (store / "meta.json").write_text(json.dumps({**meta, "color": True}))
    first, second = (f.frame for f in store_frames(store, 1, 1, ("random", "ideal")))
    np.testing.assert_array_equal(first.color_rgb, second.color_rgb)
    np.testing.assert_array_equal(first.depth_m, depth_m)
    assert first.color_rgb.shape == (48, 64, 3)
    assert not np.array_equal(first.color_rgb, colors[0])
    other = next(store_frames(store, 1, 2)).frame
    assert not np.array_equal(first.color_rgb, other.color_rgb)


@pytest.mark.parametrize(("missing", "share"), [("none", 1.0), ("half", 0.5), ("all", 0.0)])
def test_depth_is_taken_away_in_patches(missing: str, share: float) -> None:
    source = source_of(labels((0, 0, 10, 10)))
    left = degraded(source, missing, without_color=False, seed=1)
    assert np.mean(left.frame.depth_m > 0) == pytest.approx(share, abs=0.01)
    assert left.frame.color_rgb is not None
    assert source.frame.depth_m.all()
    again = degraded(source, missing, without_color=True, seed=1)
    np.testing.assert_array_equal(again.frame.depth_m, left.frame.depth_m)
    assert again.frame.color_rgb is None


def test_taking_depth_away_from_a_frame_without_any_leaves_nothing() -> None:
    source = degraded(source_of(labels((0, 0, 10, 10))), "all", without_color=False, seed=1)
    assert not degraded(source, "half", without_color=False, seed=1).frame.depth_m.any()
    with pytest.raises(ValueError, match="depth_missing must be one of none, half, all, not 'most'"):
        degraded(source, "most", without_color=False, seed=1)


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args([*arguments, "--backend", "onnxruntime"])


def test_captures_are_grouped_by_names_that_begin_alike(tmp_path: Path) -> None:
    for name in ("mug_1", "mug_2", "tote"):
        write_capture(tmp_path / name, frame(), labels((0, 0, 10, 10)))
    assert [source.group for source in captures(tmp_path)] == ["mug", "mug", "tote"]


@pytest.fixture(scope="module")
def shipped() -> NetworkSegmenter:
    return load_segmenter(None, SegmentationSettings(backend="onnxruntime"))


@pytest.mark.parametrize("missing", ["none", "half", "all"])
@pytest.mark.parametrize("without_color", [False, True])
def test_the_shipped_model_takes_frames_without_depth_and_colour(
    shipped: NetworkSegmenter, missing: str, without_color: bool
) -> None:
    source = degraded(source_of(labels((0, 0, 10, 10))), missing, without_color, seed=1)
    result, _ = evaluate_frame(shipped, source)
    assert result.metrics.labelled == 1


def test_the_command_evaluates_captures_with_the_shipped_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_capture(tmp_path / "data" / "a", frame(), labels((0, 0, 10, 10)))
    assert evaluate.run(parse("--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"))) == 0
    assert "frames with at least two thirds found: 0 of 1" in capsys.readouterr().out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"metrics.json", "precision_recall.png", "index.html", "frames"}
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert record["options"]["data"] == str(tmp_path / "data")
    assert record["options"]["depth_missing"] == "none"
    assert "ONNX Runtime" in record["model"]["backend"] or "OpenVINO" in record["model"]["backend"]
    for options, told in (([], True), (["--all-labelled"], False)):
        assert evaluate.run(parse("--data", str(tmp_path / "data"), *options)) == 0
        assert ("possibly not all objects are labelled" in capsys.readouterr().out) == told


def test_the_command_evaluates_a_store_through_sensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(fabricated_store(tmp_path))
    assert evaluate.run(parse("--data", store, "--limit", "2", "--sensor", "structured_light, published_noise")) == 0
    assert re.search(r"sensor +published_noise +2 +2 ", capsys.readouterr().out)
    with pytest.raises(InputError, match="no sensor named 'lidar'"):
        evaluate.run(parse("--data", store, "--sensor", "lidar"))


def test_the_command_names_data_that_it_cannot_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no capture"):
        evaluate.run(parse("--data", str(tmp_path)))
    write_capture(tmp_path / "a", frame())
    with pytest.raises(InputError, match="no capture in .* has labels"):
        evaluate.run(parse("--data", str(tmp_path)))
    with pytest.raises(InputError, match="--sensor cannot be used with captures"):
        evaluate.run(parse("--data", str(tmp_path), "--sensor", "random"))


def test_the_command_tells_a_store_that_is_not_whole(tmp_path: Path) -> None:
    store = fabricated_store(tmp_path)
    for name, message in (("done", "is unfinished: 2 of 4 frames"), ("ids", r"ids\.npy is missing")):
        if name == "done":
            np.save(store / "done.npy", np.array([True, True, False, False]))
        else:
            (store / "ids.npy").unlink()
        with pytest.raises(InputError, match=message):
            evaluate.run(parse("--data", str(store)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--limit", "-1"), "--limit must be 0 or more, not -1"),
        (("--seed", "-1"), "--seed must be 0 or more, not -1"),
        (("--worst", "-1"), "--worst must be 0 or more, not -1"),
        (("--all-labelled",), "--all-labelled cannot be used with a scene store, which labels every object"),
        (("--sensor", "random,"), "no sensor named ''"),
        (("--scenes", "3", "--sequences", "2"), "--scenes, --sequences cannot be used with --data"),
        (("--lifting-min-points", "9"), "--lifting-min-points cannot be used with --data"),
        (("--text-model-path", "org/name"), "--text-model-path cannot be used with eval, which asks for no single"),
    ],
)
def test_the_command_refuses_options_that_make_no_sense(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate.run(parse("--data", str(fabricated_store(tmp_path)), *options))


def test_a_place_for_the_results_that_cannot_be_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    (tmp_path / "store").mkdir()
    monkeypatch.setattr("instance_seg_ros.segmentation.segmenter.load_segmenter", pytest.fail)
    with pytest.raises(InputError, match="taken is no folder"):
        evaluate.run(parse("--data", str(fabricated_store(tmp_path / "store")), "--out", str(tmp_path / "taken")))


REAL_CAPTURES = Path(__file__).parents[3] / ".." / "shared" / "data" / "real_rgbd"


@pytest.mark.skipif(not REAL_CAPTURES.is_dir(), reason="the real captures lie beside the project")
def test_the_shipped_model_finds_two_thirds_of_the_objects_in_25_of_27_real_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.run(parse("--data", str(REAL_CAPTURES), "--out", str(tmp_path))) == 0
    summary = json.loads((tmp_path / "metrics.json").read_text())["summary"]
    assert summary["frames_with_labels"] == 27
    assert [row["name"] for row in summary["rows"] if row["by"] == "group"] == [
        "arc2017_tote", "single_object", "ycb_video"
    ]  # fmt: skip
    assert summary["frames_with_two_thirds_found"] >= 25
