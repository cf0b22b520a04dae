"""Tracking: ids that stay with an object from frame to frame."""

from instance_seg_ros.tracking.tracker import TimeStep, Tracker

__all__ = ["TimeStep", "Tracker"]
