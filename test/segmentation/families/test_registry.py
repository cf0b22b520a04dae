"""Each family's file is recognised by its outputs alone, runs, and finds the same two blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import load_segmenter
from instance_seg_ros.segmentation.families.description import read_exported_model
from instance_seg_ros.segmentation.families.registry import FAMILIES, fits
from instance_seg_ros.segmentation.model_file import ModelError

BLOCKS_XYXY = ((20, 30, 60, 80), (90, 40, 130, 70))  # of make_frame


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_two_blocks_are_found(
    name: str, backend: str, family_model_path: Callable[[str], Path], make_frame: Callable[..., RgbdFrame]
) -> None:
    pytest.importorskip(backend)
    segmenter = load_segmenter(family_model_path(name), SegmentationSettings(backend=backend, threads=1))
    instances = segmenter.segment(make_frame())
    assert list(instances.names()) == ["block", "block"]
    assert instances.scores == pytest.approx([0.9, 0.8], abs=2e-3)
    assert np.abs(instances.boxes_xyxy - np.array(BLOCKS_XYXY)).max() <= 2  # the masks' cells have 4 pixels


@pytest.mark.parametrize("name", FAMILIES)
def test_no_other_family_fits(name: str, family_model_path: Callable[[str], Path]) -> None:
    model = read_exported_model(family_model_path(name))
    assert model.family.name == name
    assert [other for other, fit in fits(model.signature).items() if fit.obstacle is None] == [name]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_camera_without_colour_is_told_so(
    name: str, family_model_path: Callable[[str], Path], make_frame: Callable[..., RgbdFrame]
) -> None:
    segmenter = load_segmenter(family_model_path(name), SegmentationSettings(backend="onnxruntime"))
    with pytest.raises(ModelError, match="the model model sees colour only, and this camera gives depth alone"):
        segmenter.segment(make_frame(color=False))
