"""The Scene type: what the stages of a frame must agree on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.config import LiftingSettings
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.segmentation import ModelInfo


def scene() -> Scene:
    """Two squares on a flat wall."""
    labels = np.zeros((48, 64), dtype=np.uint16)
    labels[5:20, 5:20], labels[25:40, 25:40] = 1, 2
    frame = RgbdFrame(None, np.full((48, 64), 0.8, np.float32), Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5))
    instances = Instances.from_labels(labels)
    lifted = Lifter(LiftingSettings(min_points=20)).lift(frame, instances)
    nothing = InstanceGrasps((), Status.GRASPING_DISABLED)
    model = ModelInfo("a", "1", ("object",), 0.5, 0.5, "0")
    return Scene(frame, instances, lifted, (nothing, nothing), (1, 2), model, {"segment": 0.0})


def test_a_scene_has_one_record_an_object() -> None:
    assert [(each.label, each.track_id, each.status) for each in scene().objects()] == [
        (1, 1, Status.GRASPING_DISABLED),
        (2, 2, Status.GRASPING_DISABLED),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"track_ids": (1,)}, "one entry for each instance, not .*'track_ids': 1"),
        ({"grasps": ()}, "'grasps': 0"),
        ({"track_ids": (1, 1)}, "must be above 0 and differ"),
        ({"track_ids": (0, 1)}, "must be above 0 and differ"),
        ({"instances": Instances.from_labels(np.eye(3, dtype=np.uint16) * [1, 2, 0])}, r"masks are \(3, 3\) but"),
    ],
)
def test_stages_that_disagree_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(scene(), **change)
