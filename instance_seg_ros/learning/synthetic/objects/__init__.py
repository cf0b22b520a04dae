"""All object families; importing this module registers them, in an order that random streams rely on."""

from instance_seg_ros.learning.synthetic.objects import (  # noqa: I001  (the order is that of the families)
    basic_objects,
    household_objects,
    composite_objects,
    soft_objects,
)
from instance_seg_ros.learning.synthetic.objects.families import FAMILIES, Family, sample_object

__all__ = [
    "FAMILIES",
    "Family",
    "basic_objects",
    "composite_objects",
    "household_objects",
    "sample_object",
    "soft_objects",
]
