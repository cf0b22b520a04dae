"""Labelled frames: generated scenes, captures and COCO data, as training samples and for evaluation."""
