"""All object families; importing this module registers them, in an order that random streams rely on."""

from instance_seg_ros.learning.synthetic.objects import basic_objects, household_objects
from instance_seg_ros.learning.synthetic.objects.families import FAMILIES, Family, sample_object

__all__ = ["FAMILIES", "Family", "basic_objects", "household_objects", "sample_object"]
