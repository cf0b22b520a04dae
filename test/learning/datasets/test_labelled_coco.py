"""COCO data sets to evaluate on, read as training reads them."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("faster_coco_eval")

from instance_seg_ros.commands import evaluate
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.instances import NO_STUFF, Instances, boxes_of_masks
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.learning.datasets.coco_data import CocoFiles, label_image, read_coco
from instance_seg_ros.learning.datasets.labelled_coco import coco_frames
from instance_seg_ros.learning.evaluation.breakdown import summarise
from instance_seg_ros.learning.evaluation.classes import UNKNOWN_CLASS, ClassNames, class_ids_in
from instance_seg_ros.learning.evaluation.evaluate import FrameResult, evaluate_frame
from instance_seg_ros.learning.evaluation.report import breakdown_table, summary_lines
from instance_seg_ros.learning.evaluation.semantic_iou import SemanticQuality
from instance_seg_ros.segmentation import segmenter as segmenters

Box = tuple[int, int, int, int]
MUG, BOWL, SPOON = (5, 5, 25, 25), (30, 5, 60, 25), (5, 30, 45, 40)
NAMES = ("mug", "bowl", "spoon")


def annotation(number: int, image: int, category: int, box: Box, **more: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    polygon = [x0, y0, x1, y0, x1, y1, x0, y1]
    bbox = [x0, y0, x1 - x0, y1 - y0]
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": [polygon], "bbox": bbox, **more
    }  # fmt: skip


ANNOTATIONS = [
    annotation(1, 1, 10, MUG),
    annotation(2, 1, 20, BOWL),
    annotation(3, 2, 10, MUG),
    annotation(4, 2, 30, SPOON),
]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., CocoFiles]:
    """Writes a data set of three images of 64x48; the third shows nothing."""

    def write(
        annotations: list[dict[str, Any]] = ANNOTATIONS, stuff: tuple[str, ...] = (), **options: Any
    ) -> CocoFiles:
        names = ("left/1.png", "left/2.jpg", "right/3.png")
        images = []
        for number, name in enumerate(names, start=1):
            path, depth_path = tmp_path / "images" / name, (tmp_path / "depth" / name).with_suffix(".png")
            for each in (path, depth_path):
                each.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((48, 64, 3), (10, 100, 200), np.uint8))
            cv2.imwrite(str(depth_path), np.full((48, 64), 800, np.uint16))
            camera = {"fx": 60, "fy": 60, "cx": 31.5, "cy": 23.5}
            images.append({"id": number, "file_name": name, "width": 64, "height": 48, **camera})
        categories = [
            {"id": 10 * index, "name": name, **({"isthing": 0} if name in stuff else {})}
            for index, name in enumerate(NAMES, start=1)
        ]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "instances.json").write_text(json.dumps(content))
        return CocoFiles(tmp_path / "instances.json", tmp_path / "images", tmp_path / "depth", **options)

    return write


def frames_of(files: CocoFiles, limit: int = 0) -> list[Any]:
    return list(coco_frames(read_coco(files), files, limit))


class NamingSegmenter:
    """Finds the same boxes in every frame, with names."""

    backend = "none"

    def __init__(self, found: dict[str, Box], class_names: tuple[str, ...]) -> None:
        masks = np.zeros((len(found), 48, 64), dtype=bool)
        for mask, (x0, y0, x1, y1) in zip(masks, found.values(), strict=True):
            mask[y0:y1, x0:x1] = True
        ids = np.array([class_names.index(name) for name in found], dtype=np.int64)
        scores = np.linspace(0.9, 0.5, len(found), dtype=np.float32)
        self._instances = Instances(masks, boxes_of_masks(masks), scores, ids, class_names)
        self.info = SimpleNamespace(name="naming", digest="0", class_names=class_names)

    def segment(self, frame: RgbdFrame) -> Instances:
        return self._instances

    def ranked(self, frame: RgbdFrame) -> Instances:
        return self._instances


def evaluated(files: CocoFiles, segmenter: NamingSegmenter, limit: int = 0) -> list[FrameResult]:
    return [evaluate_frame(segmenter, source)[0] for source in frames_of(files, limit)]


def test_images_become_frames_with_classes_groups_and_depth(make: Callable[..., CocoFiles]) -> None:
    first, second, third = frames_of(make())
    assert [f.name for f in (first, second, third)] == ["left/1", "left/2", "right/3"]
    assert [f.group for f in (first, second, third)] == ["left", "left", "right"]
    assert sorted(first.truth.names()) == ["bowl", "mug"]
    assert (len(second.truth), len(third.truth), third.complete) == (2, 0, True)
    by_name = dict(zip(first.truth.names(), first.truth.masks, strict=True))
    x0, y0, x1, y1 = MUG
    assert by_name["mug"][y0:y1, x0:x1].all() and by_name["mug"].sum() == (x1 - x0) * (y1 - y0)
    assert (first.frame.depth_m == np.float32(0.8)).all()
    assert first.frame.color_rgb is not None
    assert first.frame.color_rgb[0, 0].tolist() == [200, 100, 10]
    assert first.frame.intrinsics.fx == 60


def test_a_limit_takes_images_evenly(make: Callable[..., CocoFiles]) -> None:
    assert [frame.name for frame in frames_of(make(), limit=2)] == ["left/1", "right/3"]


def test_ignored_regions_are_neither_object_nor_background(make: Callable[..., CocoFiles]) -> None:
    crowd = annotation(5, 1, 10, SPOON, iscrowd=1)
    broken = {**annotation(6, 2, 20, BOWL), "segmentation": []}
    first, second, _ = frames_of(make([*ANNOTATIONS[:3], crowd, broken]))
    assert first.ignored.sum() == 40 * 10 and second.ignored.sum() == 30 * 20
    segmenter = NamingSegmenter({"mug": MUG, "bowl": BOWL, "spoon": SPOON}, NAMES)
    for source in (first, second):
        result, prediction = evaluate_frame(segmenter, source)
        assert prediction.counted.tolist() == [True, source is first, source is second]
        assert result.phantoms.count == (0 if source is first else 1)


def test_categories_that_are_no_things_are_stuff_to_evaluation_and_background_to_training(
    make: Callable[..., CocoFiles],
) -> None:
    counter = annotation(5, 1, 30, (0, 3, 64, 30))  # under mug and bowl
    annotations = [*ANNOTATIONS[:3], counter, {**annotation(6, 1, [30], MUG)}]
    files = make(annotations, stuff=("spoon",))
    first, _, _ = frames_of(files)
    assert sorted(first.truth.names()) == ["bowl", "mug"]
    assert first.truth.stuff is not None
    assert np.unique(first.truth.stuff).tolist() == [NO_STUFF, 2]
    assert (first.truth.stuff == 2).sum() == 64 * 27 - 20 * 20 - 30 * 20
    assert not first.truth.masks[:, first.truth.stuff == 2].any()
    labels, class_ids = label_image(read_coco(files).images[0])
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert sorted(class_ids.tolist()) == [0, 1]
    alike = NamingSegmenter({"mug": MUG, "bowl": BOWL}, ("bowl", "mug", "spoon"))
    alike._instances = replace(alike._instances, stuff=first.truth.stuff)
    result, _ = evaluate_frame(alike, first)
    assert (result.panoptic_by_class.quality().pq, result.panoptic_by_class.quality().classes) == (1.0, 3)
    assert result.semantic_by_class.quality() == SemanticQuality(1.0, 3)
    assert result.panoptic.quality().classes == 1
    agnostic, _, _ = frames_of(make(annotations, stuff=("spoon",), class_agnostic=True))
    assert agnostic.truth.stuff is None
    assert len(agnostic.truth) == 2


def test_an_object_that_smaller_ones_cover_keeps_the_others_classes_right(make: Callable[..., CocoFiles]) -> None:
    halves = [annotation(8, 1, 20, (5, 5, 15, 25)), annotation(9, 1, 30, (15, 5, 25, 25))]
    first, *_ = frames_of(make([annotation(7, 1, 10, MUG), *halves]))
    assert sorted(first.truth.names()) == ["bowl", "spoon"]
    assert dict(zip(first.truth.names(), first.truth.boxes_xyxy[:, 0].tolist(), strict=True)) == {
        "bowl": 5, "spoon": 15
    }  # fmt: skip


def test_classes_count_where_their_names_are_the_same_in_another_order(make: Callable[..., CocoFiles]) -> None:
    segmenter = NamingSegmenter({"mug": MUG, "spoon": BOWL}, ("spoon", "fork", "mug", "bowl"))
    results = evaluated(make(), segmenter)[:1]
    summary = summarise(results, NAMES)
    assert summary.all.ap == pytest.approx(1)
    assert summary.classes is not None and summary.classes.precision is not None
    assert (summary.classes.named, summary.classes.found, summary.classes.classes) == (1, 2, 2)
    assert summary.classes.precision.ap == pytest.approx(0.5)
    found = {row.name: (row.objects, row.found, row.ap) for row in summary.rows if row.by == "category"}
    assert found == {"mug": (1, 1.0, pytest.approx(1)), "bowl": (1, 1.0, pytest.approx(0))}
    assert "objects found and called by their class: 1 of 2 found" in summary_lines(summary)
    assert "mean over 2 classes: mask AP 50.0" in summary_lines(summary)
    assert "category" in breakdown_table(summary)
    assert json.dumps(summary.as_json()["classes"])


def test_without_names_classes_do_not_count(make: Callable[..., CocoFiles]) -> None:
    summary = summarise(evaluated(make(), NamingSegmenter({"object": MUG}, ("object",))))
    assert summary.classes is None
    assert not [row for row in summary.rows if row.by == "category"]
    assert [row.frames for row in summary.rows if row.by == "group"] == [2, 1]


@pytest.mark.parametrize(
    ("model", "data", "counted", "told"),
    [
        (("mug", "bowl"), ("bowl", "mug"), True, ""),
        (("mug",), ("mug",), False, ""),
        (
            ("mug", "bowl"),
            ("mug",),
            True,
            "classes of the model that the data lack, left out of figures by class: bowl",
        ),
        (("mug",), ("mug", "cup"), True, "classes that the model does not know, so that it never finds them: cup"),
        (("object",), ("mug", "cup"), False, r"those of the model \(object\) and those of the data \(mug, cup\)"),
        (("a",), tuple("bcdefghijk"), False, r"\(b, c, d, e, f, g, h, i and 2 more\)"),
    ],
)
def test_what_classes_are_compared_is_told(
    model: tuple[str, ...], data: tuple[str, ...], counted: bool, told: str
) -> None:
    names = ClassNames(model, data)
    assert names.counted == (data if counted else ())
    assert re.search(told, names.summary()) if told else names.summary() == ""


def test_a_class_index_is_that_of_its_name() -> None:
    instances = NamingSegmenter({"mug": MUG, "fork": BOWL}, ("fork", "mug"))._instances
    assert class_ids_in(instances, NAMES).tolist() == [0, UNKNOWN_CLASS]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args([*arguments, "--backend", "onnxruntime"]))


def test_the_command_evaluates_by_class(
    make: Callable[..., CocoFiles],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    segmenter = NamingSegmenter({"mug": MUG, "spoon": SPOON, "bowl": BOWL}, NAMES)
    monkeypatch.setattr(segmenters, "load_segmenter", lambda path, settings: segmenter)
    files = make([*ANNOTATIONS, annotation(5, 1, 99, SPOON)])
    data = ["--coco", str(files.instances), "--depth", str(files.depth)]
    assert run(*data, "--out", str(tmp_path / "out")) == 0
    told = capsys.readouterr().out
    assert "3 images, 4 instances of 3 classes, 1 ignored regions" in told
    assert "left out 1 annotations" in told
    assert "objects found and called by their class: 4 of 4 found" in told
    assert "frames without an object: 1, 0 of them without a prediction" in told
    assert "there is no category 99" in (tmp_path / "out" / "skipped.txt").read_text()
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content["summary"]["classes"]["named"] == 4
    assert (tmp_path / "out" / "frames" / "left" / "1_color.jpg").is_file()
    assert 'src="frames/left/1_color.jpg"' in (tmp_path / "out" / "index.html").read_text()
    assert run(*data, "--class-agnostic") == 0
    told = capsys.readouterr().out
    assert "called by their class" not in told
    assert "classes do not count: those of the model (mug, bowl, spoon) and those of the data (object)" in told


def test_a_data_set_without_a_usable_object_cannot_be_evaluated(make: Callable[..., CocoFiles]) -> None:
    files = make([annotation(5, 1, 99, SPOON)])
    with pytest.raises(
        InputError, match=r"no image has an object that can be used; of those left out the first: .* 99"
    ):
        run("--coco", str(files.instances))


def test_the_shipped_model_takes_a_coco_data_set(
    make: Callable[..., CocoFiles], capsys: pytest.CaptureFixture[str]
) -> None:
    files = make()
    assert run("--coco", str(files.instances), "--limit", "1") == 0
    told = capsys.readouterr().out
    assert "no name in common" in told
    assert "of 2" in told


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--coco", "nothing.json"], "cannot read nothing.json"),
        (["--coco", "x.json", "--sensor", "random"], "--sensor cannot be used with --coco"),
        (["--coco", "x.json", "--all-labelled"], "--all-labelled cannot be used with --coco"),
        (["--coco", "x.json", "--depth-unit", "0"], "depth_unit_m must be above 0"),
        (["--coco", "x.json", "--limit", "-5"], "--limit must be 0 or more, not -5"),
        (["--data", "d", "--depth", "x", "--class-agnostic"], "--depth, --class-agnostic cannot be used with --data"),
    ],
)
def test_options_of_other_data_are_refused(arguments: list[str], cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        run(*arguments)


def test_pictures_of_images_elsewhere_stay_in_the_report(make: Callable[..., CocoFiles], tmp_path: Path) -> None:
    files = make()
    content = json.loads(files.instances.read_text())
    outside = tmp_path / "elsewhere.png"
    cv2.imwrite(str(outside), np.zeros((48, 64, 3), np.uint8))
    content["images"][0]["file_name"] = "../elsewhere.png"
    files.instances.write_text(json.dumps(content))
    assert frames_of(replace(files, depth=None))[0].name == "elsewhere"


def test_settings_are_those_of_the_segmenter() -> None:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    assert parser.parse_args(["--coco", "x"]).backend == SegmentationSettings().backend
