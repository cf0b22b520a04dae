"""Tracking: ids that stay with an object from frame to frame."""

from instance_seg_ros.tracking.tracker import TimeStep, Tracker
from instance_seg_ros.tracking.tracks import TrackRecord

__all__ = ["TimeStep", "TrackRecord", "Tracker"]
