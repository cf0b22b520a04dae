"""How many instances of captures have a grasp, and for each cause how many have none.

    python scripts/why_no_grasp.py ../shared/data/real_rgbd [--gripper-preset onrobot_rg2]

With ONNX Runtime and its numbers of 32 bits: what `auto` takes depends on the machine and its load, and finds an
instance more or less. The cause is the first of the list that holds, which for the last ones is what most of the poses
failed by that were tried on the instance.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tabulate import tabulate

from instance_seg_ros.core.arguments import add_arguments, from_arguments
from instance_seg_ros.core.parameters import GripperSettings, PipelineSettings, SegmentationSettings
from instance_seg_ros.core.status import PARTLY_SEEN, Status
from instance_seg_ros.files.captures import capture_folders, read_capture
from instance_seg_ros.pipeline import Pipeline, SceneObject

LOWEST_M = 0.006
"""What is lower leaves 2 mm between the fingers, which stay `grasping.clearance_m` above its support."""
ROOM_M = 0.006
"""That the gripper opens wider than what it is put over."""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, help="folder of captures")
    add_arguments(parser, GripperSettings, "gripper settings", "gripper_")
    args = parser.parse_args()
    gripper = from_arguments(args, GripperSettings, "gripper_")
    network = SegmentationSettings(backend="onnxruntime", precision="fp32")
    pipeline = Pipeline.from_settings(replace(PipelineSettings(), segmentation=network, gripper=gripper))
    held, causes, in_part = 0, Counter[str](), Counter[str]()
    for folder in capture_folders(args.captures):
        pipeline.tracker.reset()
        for seen in pipeline.run(read_capture(folder).frame).objects():
            if seen.grasps:
                held += 1
                continue
            why = cause(seen, gripper.max_opening_m)
            causes[why] += 1
            in_part[why] += bool(seen.status & PARTLY_SEEN)
    rows = [(why, count, in_part[why]) for why, count in causes.most_common()]
    print(f"{held} of {held + causes.total()} instances have a grasp")
    print(tabulate(rows, headers=["cause of none", "instances", "of them cut, hidden or measured in part"]))


def cause(seen: SceneObject, opening_m: float) -> str:
    """Why an object has no grasp."""
    box = seen.lifted.box
    if box is None or Status.TOO_FEW_POINTS in seen.status:
        return "no depth to be placed by"
    if box.size_m[2] < LOWEST_M:
        return f"lower than {1000 * LOWEST_M:.0f} mm"
    if min(box.size_m[:2]) > opening_m - ROOM_M:
        return f"wider both ways than {1000 * (opening_m - ROOM_M):.0f} mm"
    if not seen.rejected:
        return "no two surfaces that face each other"
    return max(seen.rejected, key=lambda why: seen.rejected[why]).value


if __name__ == "__main__":
    main()
