"""All object families; importing this module registers them, in an order that random streams rely on."""

from instance_seg_ros.synthetic import basic_objects, household_objects
from instance_seg_ros.synthetic.families import FAMILIES, Family, sample_object

__all__ = ["FAMILIES", "Family", "basic_objects", "household_objects", "sample_object"]
