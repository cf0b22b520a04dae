"""The sets of families that rounds draw their objects from."""

from __future__ import annotations

from instance_seg_ros.learning.grasp_simulation.flat_objects import FLAT_FAMILIES
from instance_seg_ros.learning.grasp_simulation.objects import DEVELOPMENT_FAMILIES, UNSEEN_FAMILIES, Family
from instance_seg_ros.learning.grasp_simulation.reserved_objects import RESERVED_FAMILIES

OBJECT_SETS: dict[str, dict[str, Family]] = {
    "development": DEVELOPMENT_FAMILIES,
    "flat": FLAT_FAMILIES,
    "unseen": UNSEEN_FAMILIES,
    "reserved": RESERVED_FAMILIES,
}
"""development and flat are there to work with, unseen and reserved for figures to publish."""
