"""Classes that are stuff: who says so, and label images equal to those of transformers' panoptic post-processing."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from scipy.ndimage import gaussian_filter

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import MAX_STUFF_CLASS_ID, NO_STUFF, Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelInfo
from instance_seg_ros.segmentation.families.coco import COCO_CLASS_NAMES
from instance_seg_ros.segmentation.families.family import Family, Reading
from instance_seg_ros.segmentation.families.mask_queries import EOMT, MASK2FORMER, MASKFORMER
from instance_seg_ros.segmentation.families.stuff import (
    CITYSCAPES_STUFF,
    COCO_STUFF,
    stuff_by_names,
    stuff_listed,
    stuff_of_folder,
    walls_among_objects,
)
from instance_seg_ros.segmentation.model_file import ModelError, joined_info
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter, load_segmenter

NAMES = ("cup", "bolt", "wall", "floor")


@pytest.mark.parametrize(
    ("names", "stuff"),
    [
        (COCO_CLASS_NAMES, ()),
        ((*COCO_CLASS_NAMES, *sorted(COCO_STUFF)), tuple(range(80, 133))),
        ((*sorted(CITYSCAPES_STUFF), "person", "rider"), tuple(range(11))),
        (("wall", "cup"), ()),  # of no data set that is known: perhaps parts of a model kit
    ],
)
def test_panoptic_data_sets_are_known_by_their_names(names: tuple[str, ...], stuff: tuple[int, ...]) -> None:
    assert stuff_by_names(names)[0] == stuff


@pytest.mark.parametrize(
    ("names", "is_told", "said"),
    [
        # ADE20K's
        (("wall", "building, edifice", "floor, flooring", "cup"), False, "each wall and floor, flooring as"),
        (("Sky", "cup"), False, "each Sky as"),
        (("wall", "floor"), True, ""),
        (("wall socket", "cup"), False, ""),
        (COCO_CLASS_NAMES, False, ""),
    ],
)
def test_walls_among_objects_are_known(names: tuple[str, ...], is_told: bool, said: str) -> None:
    warning = walls_among_objects(ModelInfo("m", "1", names, 0.5, 0.5, "", stuff_is_told=is_told))
    assert (said in warning) if said else warning == ""


def test_walls_that_one_of_two_models_calls_stuff_are_no_objects() -> None:
    panoptic = ModelInfo("a", "1", ("cup", "wall"), 0.5, 0.5, "", stuff_class_ids=(1,), stuff_is_told=True)
    silent = ModelInfo("b", "1", ("object",), 0.5, 0.5, "")
    assert walls_among_objects(joined_info([panoptic, silent])) == ""
    assert "each floor as" in walls_among_objects(joined_info([panoptic, replace(silent, class_names=("floor",))]))


def test_a_model_that_takes_walls_for_objects_is_loaded_with_a_warning(
    block_model_path: Path, family_graphs: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SegmentationSettings(backend="onnxruntime")
    model = onnx.load(block_model_path)
    onnx.helper.set_model_props(
        model, {each.key: each.value for each in model.metadata_props} | {"class_names": '["wall"]'}
    )
    onnx.save(model, tmp_path / "own.onnx")
    load_segmenter(tmp_path / "own.onnx", settings)
    assert not caplog.messages  # this project's models are trained on objects, however they are called
    path = family_graphs.write("maskformer", ((20, 30, 60, 80), (90, 40, 130, 70)), tmp_path)
    path.with_suffix(".yaml").write_text("class_names: [wall]")
    load_segmenter(path, settings)
    assert len(caplog.messages) == 1
    assert "finds each wall as an object to grasp; of a panoptic model from elsewhere" in caplog.messages[0]


@pytest.mark.parametrize(
    ("config", "processing", "stuff"),
    [
        ({}, {}, ()),
        ({"label_ids_to_fuse": [3, 2]}, {}, (2, 3)),
        ({}, {"stuff_classes": [3]}, (3,)),
        ({"label_ids_to_fuse": []}, {"metadata": {"thing_ids": [0]}}, ()),  # the config decides
        ({}, {"metadata": {"thing_ids": [0, 1], "class_names": list(NAMES)}}, (2, 3)),
    ],
)
def test_a_folder_says_which_classes_are_stuff(
    config: Mapping[str, Any], processing: Mapping[str, Any], stuff: tuple[int, ...]
) -> None:
    assert stuff_of_folder(Path("folder"), config, processing, NAMES)[0] == stuff


@pytest.mark.parametrize("ids", [[4], [-1], ["wall"], [True], "2", {"2": 1}, [2.5]])
def test_ids_that_are_no_classes_are_refused(ids: object) -> None:
    with pytest.raises(ModelError, match=r"folder/config.json: label_ids_to_fuse must list class indices from 0 to 3"):
        stuff_of_folder(Path("folder"), {"label_ids_to_fuse": ids}, {}, NAMES)
    with pytest.raises(ModelError, match="thing_ids must list"):
        stuff_of_folder(Path("folder"), {}, {"metadata": {"thing_ids": ids}}, NAMES)


@pytest.mark.parametrize(
    ("listed", "reason"),
    [("wall", "must be a list"), (["wal"], "'wal', which is no class"), ([2], "must be a list"), (None, "must be a")],
)
def test_names_that_are_no_classes_are_refused(listed: object, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        stuff_listed(Path("model.yaml"), listed, NAMES)
    assert stuff_listed(Path("model.yaml"), ["floor"], NAMES) == (3,)


def test_more_stuff_than_the_panoptic_image_can_number_is_refused() -> None:
    names = tuple(map(str, range(MAX_STUFF_CLASS_ID + 2)))
    assert stuff_listed(Path("model.yaml"), [names[-2]], names) == (MAX_STUFF_CLASS_ID,)
    with pytest.raises(ModelError, match=f"class {MAX_STUFF_CLASS_ID + 1} is stuff, which the panoptic image numbers"):
        stuff_listed(Path("model.yaml"), [names[-1]], names)


QUERY_CLASSES = (0, 1, 3, 2, 2, 2)
"""Of six queries: cup, bolt, floor, the wall in two parts, and one of which the network is not sure.

What is fused is last: after it transformers counts on from a number that is taken.
"""
STUFF = (2, 3)


@pytest.fixture
def outputs() -> dict[str, np.ndarray]:
    """Six queries whose masks share an image among them, on a grid of 96 x 96 cells."""
    rows, columns = np.indices((96, 96))
    owner = 3 * (rows + 9 * np.sin(columns / 9) > 40) + np.minimum((columns + rows // 5) // 30, 2)  # all seen in "fit"
    owner[owner == 5] = 4  # transformers gives a pixel of no mask to the one that claims it least unlikely
    masks = [gaussian_filter(np.where(owner == min(query, 4), 8.0, -8.0), 0.7) for query in range(len(QUERY_CLASSES))]
    logits = np.full((len(QUERY_CLASSES), len(NAMES) + 1), -4.0)
    logits[range(len(QUERY_CLASSES)), QUERY_CLASSES] = (6, 5, 6, 7, 5, -3)
    return {"logits": logits[None].astype(np.float32), "masks": np.stack(masks)[None].astype(np.float32)}


class FixedNetwork:
    """Gives what a family reads from the same outputs for every frame."""

    input_names = ("color_rgb",)
    backend = "by hand"

    def __init__(self, family: Family, outputs: dict[str, np.ndarray], camera_wh: tuple[int, int]) -> None:
        self._arguments = outputs, Reading(family.image.placement(camera_wh, (384, 384)), len(NAMES), 0.7)
        self._family = family

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Any:
        return self._family.decode(*self._arguments)


def segmented(family: Family, outputs: dict[str, np.ndarray], size_wh: tuple[int, int], most: int = 50) -> Instances:
    info = ModelInfo("m", "1", NAMES, 0.5, family.mask_threshold, "f" * 64, stuff_class_ids=STUFF)
    settings = SegmentationSettings(max_instances=most, min_mask_pixels=1)
    width, height = size_wh
    color = np.zeros((height, width, 3), np.uint8)
    frame = RgbdFrame(color, np.ones((height, width), np.float32), Intrinsics(width, height, 300.0, 300.0, 9.0, 9.0))
    segmenter = NetworkSegmenter(FixedNetwork(family, outputs, size_wh), info, settings)
    found = segmenter.segment(frame)
    assert set(segmenter.ranked(frame).class_ids.tolist()) == {0, 1}
    return found


@pytest.mark.parametrize("size_wh", [(640, 480), (321, 333)])
@pytest.mark.parametrize("name", ["mask2former", "maskformer", "eomt"])
def test_things_and_stuff_are_those_of_transformers(
    name: str, size_wh: tuple[int, int], outputs: dict[str, np.ndarray]
) -> None:
    pytest.importorskip("transformers")
    import torch

    family = {"mask2former": MASK2FORMER, "maskformer": MASKFORMER, "eomt": EOMT}[name]
    found = segmented(family, outputs, size_wh)

    module = importlib.import_module(f"transformers.models.{name}.image_processing_pil_{name}")
    (processor,) = (value for key, value in vars(module).items() if key.endswith("ImageProcessorPil"))
    given = SimpleNamespace(
        class_queries_logits=torch.from_numpy(outputs["logits"]),
        masks_queries_logits=torch.from_numpy(outputs["masks"]),
    )
    stuff: dict[str, Any] = {"label_ids_to_fuse": set(STUFF)}
    if name == "eomt":
        stuff = {"stuff_classes": list(STUFF), "size": {"shortest_edge": 384, "longest_edge": 384}}
    (theirs,) = processor().post_process_panoptic_segmentation(
        given, threshold=0.5, overlap_mask_area_threshold=0.0, target_sizes=[size_wh[::-1]], **stuff
    )
    labels = theirs["segmentation"].numpy()
    segments = {segment["id"]: segment["label_id"] for segment in theirs["segments_info"]}
    assert sorted(segments.values()) == [0, 1, 2, 3]
    assert sorted(found.class_ids.tolist()) == [0, 1]
    assert found.stuff is not None
    for segment, class_id in segments.items():
        mine = found.stuff == class_id if class_id in STUFF else found.masks[found.class_ids == class_id][0]
        wanted = labels == segment
        assert (mine & wanted).sum() / (mine | wanted).sum() > 0.97, class_id  # they differ along outlines
    assert not found.masks[:, found.stuff != NO_STUFF].any()


def test_stuff_takes_no_place_of_an_instance(outputs: dict[str, np.ndarray]) -> None:
    found = segmented(MASK2FORMER, outputs, (160, 120), most=1)
    assert len(found) == 1
    assert found.stuff is not None
    assert set(np.unique(found.stuff)) == {NO_STUFF, *STUFF}
