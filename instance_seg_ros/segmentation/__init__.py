"""Segmenters: the protocol, the choice of a backend, and what happens before and after the network."""

from instance_seg_ros.segmentation.model_file import ModelError, ModelInfo, default_model_path, read_model_info
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter, Segmenter, load_segmenter

__all__ = [
    "ModelError",
    "ModelInfo",
    "NetworkSegmenter",
    "Segmenter",
    "default_model_path",
    "load_segmenter",
    "read_model_info",
]
