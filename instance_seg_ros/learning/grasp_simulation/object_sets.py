"""The sets of families that rounds draw their objects from."""

from __future__ import annotations

from instance_seg_ros.learning.grasp_simulation.flat_objects import FLAT_FAMILIES
from instance_seg_ros.learning.grasp_simulation.former_reserved_objects import FORMER_RESERVED_FAMILIES
from instance_seg_ros.learning.grasp_simulation.objects import DEVELOPMENT_FAMILIES, FORMER_UNSEEN_FAMILIES, Family
from instance_seg_ros.learning.grasp_simulation.reserved_objects import RESERVED_FAMILIES

OBJECT_SETS: dict[str, dict[str, Family]] = {
    "development": DEVELOPMENT_FAMILIES,
    "flat": FLAT_FAMILIES,
    "former_unseen": FORMER_UNSEEN_FAMILIES,
    "former_reserved": FORMER_RESERVED_FAMILIES,
    "reserved": RESERVED_FAMILIES,
}
"""All but reserved are there to work with; reserved is for figures to publish, and is looked at for nothing else."""
