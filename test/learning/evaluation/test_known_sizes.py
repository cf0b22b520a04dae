from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Box, Cylinder, look_at, upright
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.files.captures import META_FILE, read_capture, write_capture
from instance_seg_ros.learning.evaluation.known_sizes import Measured, known_objects, main, measured, true_sides_mm
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.segmentation import ModelInfo

CRACKERS = Box((0.06, 0.158, 0.21), upright(0, -0.12, 0.105, 30))
CAN = Cylinder(0.033, 0.101, upright(0, 0.12, 0.0505))


def write(folder: Path, names: dict[int, str]) -> None:
    frame, labels = AnalyticScene([CRACKERS, CAN], look_at((0, 0, 0.08), 0.8, 40)).render(0.001)
    instances = [{"id": label, "class_name": name} for label, name in names.items()]
    write_capture(folder, frame, labels.astype(np.uint16), extra={"instances": instances})


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({1: "cracker_box", 2: "tomato_soup_can"}, ["cracker_box", "tomato_soup_can"]),
        ({2: "tomato_soup_can", 1: "scissors"}, ["tomato_soup_can"]),
    ],
)
def test_objects_of_known_size_are_compared(names: dict[int, str], found: list[str], tmp_path: Path) -> None:
    write(tmp_path, names)
    objects = list(measured(tmp_path, Lifter(LiftingSettings())))
    assert [own.name for own in objects] == found
    assert all(np.abs(own.error).max() < 0.05 and own.status == Status.OK for own in objects)


class Halves:
    """A segmenter whose masks are the left part of each label, up to a share of its width."""

    info, backend = ModelInfo("halves", "1", ("object",), 0.5, 0.5, "f" * 64), "by hand"

    def __init__(self, labels: np.ndarray, share: float) -> None:
        self._labels, self._share = labels, share

    def segment(self, frame: RgbdFrame) -> Instances:
        masks = []
        for label in (1, 2):
            mask = self._labels == label
            first, last = np.flatnonzero(mask.any(axis=0))[[0, -1]]
            masks.append(mask & (np.arange(mask.shape[1]) <= first + self._share * (last - first)))
        return Instances.from_labels(masks[0] + 2 * masks[1])


@pytest.mark.parametrize(("share", "lifted"), [(1.0, [True, True]), (0.8, [True, True]), (0.3, [False, False])])
def test_a_predicted_mask_is_that_of_the_label_which_it_overlaps_by_half(
    share: float, lifted: list[bool], tmp_path: Path
) -> None:
    write(tmp_path, {1: "cracker_box", 2: "tomato_soup_can"})
    labels = read_capture(tmp_path).labels
    assert labels is not None
    lifter = Lifter(LiftingSettings())
    by_label = list(known_objects(tmp_path, lifter))
    predicted = list(known_objects(tmp_path, lifter, Halves(labels, share)))

    assert [known.lifted is not None for known in predicted] == lifted
    centres_m = [
        [known.lifted.centroid_m for known in all_of if known.lifted is not None] for all_of in (predicted, by_label)
    ]
    assert np.array_equal(*centres_m) is (share == 1.0)


def test_the_longest_side_is_compared_with_the_longest() -> None:
    assert true_sides_mm("tuna_fish_can").tolist() == [85, 85, 33]
    bounds_mm = np.array([[205.0, 150.0, 40.0], [220.0, 157.0, 95.0]])
    too_thick = Measured("cracker_box", np.array([210.0, 158.0, 90.0]), bounds_mm, Status.OK)
    assert too_thick.error == pytest.approx([0, 0, 0.5])
    assert too_thick.in_bounds.tolist() == [True, False, True]


def test_an_object_of_another_size_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {1: "sugar_box", 2: "tomato_soup_can"})
    main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "sugar_box" in printed and "175 x 89 x 38" in printed and "1 OK" in printed
    worst = re.search(r"status OK: 2 objects, .* the worst one by \d+ / (\d+) %", printed)
    assert worst is not None and int(worst.group(1)) > 50


CAMERA = '"fx": 500, "fy": 500, "cx": 159.5, "cy": 119.5, "width": 320, "height": 240'


@pytest.mark.parametrize(
    "meta",
    [
        '{"fx":',
        "[]",
        '{"fx": 500}',
        f'{{{CAMERA}, "instances": 3}}',
        f'{{{CAMERA}, "instances": [3]}}',
        f'{{{CAMERA}, "instances": [{{"id": [1], "class_name": "bowl"}}]}}',
    ],
)
def test_a_damaged_capture_is_named(meta: str, tmp_path: Path) -> None:
    write(tmp_path, {1: "sugar_box"})
    (tmp_path / META_FILE).write_text(meta)
    with pytest.raises(SystemExit, match=f"error: .*{META_FILE}"):
        main([str(tmp_path)])


def test_captures_without_such_objects_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {1: "scissors"})
    with pytest.raises(SystemExit, match="no labelled object"):
        main([str(tmp_path)])
    with pytest.raises(SystemExit, match="error: .* is not a folder"):
        main([str(tmp_path / "none")])
