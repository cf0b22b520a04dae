"""Real exported graphs with random weights: recognised, run, equal to their own projects, and built by TensorRT."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import load_segmenter
from instance_seg_ros.segmentation.contract import contract_of
from instance_seg_ros.segmentation.families.description import read_exported_model
from instance_seg_ros.segmentation.runtimes.engine_builder import EngineError
from instance_seg_ros.segmentation.runtimes.tensorrt_check import check, check_obstacle
from instance_seg_ros.segmentation.runtimes.tensorrt_graph import graph_for_tensorrt

SETTINGS = SegmentationSettings(backend="onnxruntime", threads=1, min_mask_pixels=1)
NAMES = "class_names: [a, b, c, d, e]\n"

needs_builder = pytest.mark.skipif(check_obstacle() is not None, reason=str(check_obstacle()))


@pytest.fixture(scope="module")
def networks() -> ModuleType:
    """The module beside this file."""
    path = Path(__file__).with_name("exported_networks.py")
    spec = importlib.util.spec_from_file_location("exported_networks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


KINDS = {
    "yolo-seg": ("Yolo", (False,), ("output0", "output1"), None),
    "yolo-seg-end2end": ("Yolo", (True,), ("output0", "output1"), None),
    "yolact": ("Yolact", (), ("loc", "conf", "mask", "proto"), None),
    "rtmdet-ins": ("RtmdetIns", (), ("dets", "labels", "masks"), None),
    "solov2": ("Solov2", (), ("dets", "labels", "masks"), None),
    "mask2former": ("mask2former", (), ("class_queries_logits", "masks_queries_logits"), "transformers"),
    "maskformer": ("maskformer", (), ("class_queries_logits", "masks_queries_logits"), "transformers"),
    "detr": ("detr", (), ("logits", "pred_boxes", "pred_masks"), "transformers"),
    "rf-detr-seg": ("rf_detr", (), ("dets", "labels", "masks"), "transformers"),
}
"""What makes each network, with what, its outputs' names, and the package that it is of."""
OF_TRANSFORMERS = [name for name, kind in KINDS.items() if kind[3] is not None]


@pytest.fixture(scope="module")
def exported(networks: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SimpleNamespace]:
    """Makes the network of a name, and its model file, once."""
    made: dict[str, SimpleNamespace] = {}

    def make(name: str) -> SimpleNamespace:
        if name not in made:
            maker, arguments, outputs, package = KINDS[name]
            if package is not None:
                pytest.importorskip(package)
            torch.manual_seed(1)
            network = getattr(networks, maker)(*arguments)
            path = tmp_path_factory.mktemp("exported") / "model.onnx"
            size = (112, 112) if name == "rf-detr-seg" else networks.IMAGE_HW
            with torch.no_grad():
                networks.export(network, path, outputs, (1, 3, *size))
            path.with_suffix(".yaml").write_text(NAMES)
            made[name] = SimpleNamespace(network=network, path=path)
        return made[name]

    return make


def frame_of(size_wh: tuple[int, int]) -> RgbdFrame:
    width, height = size_wh
    color = np.random.default_rng(3).integers(0, 256, (height, width, 3)).astype(np.uint8)
    depth_m = np.ones((height, width), dtype=np.float32)
    return RgbdFrame(color, depth_m, Intrinsics(width, height, 300.0, 300.0, width / 2, height / 2))


def fed(path: Path, frame: RgbdFrame) -> np.ndarray:
    """The image as the network gets it."""
    session = onnxruntime.InferenceSession(str(path))
    model = read_exported_model(path)
    camera_wh = frame.intrinsics.width, frame.intrinsics.height
    height, width = session.get_inputs()[0].shape[2:]
    placement = model.image.placement(camera_wh, (width, height))
    return model.image.fed(frame.color_rgb, placement, np.float32)[None]


@pytest.mark.parametrize("name", KINDS)
def test_it_is_recognised_and_finds_objects(name: str, exported: Callable[[str], SimpleNamespace]) -> None:
    path = exported(name).path
    assert read_exported_model(path).family.name == name
    segmenter = load_segmenter(path, SETTINGS)
    instances = segmenter.ranked(frame_of((161, 121)))
    assert len(instances) > 0
    assert (instances.scores >= 0.05).all()


@pytest.mark.parametrize("name", OF_TRANSFORMERS)
def test_it_finds_what_its_own_package_finds(name: str, exported: Callable[[str], SimpleNamespace]) -> None:
    model = exported(name)
    # Mask2Former is resampled to 384 x 384 by its package, MaskFormer's masks stay on their grid.
    size_wh = {"mask2former": (384, 384), "maskformer": (32, 24)}.get(name, (161, 121))
    frame = frame_of(size_wh)
    with torch.no_grad():
        outputs = model.network.model(pixel_values=torch.tensor(fed(model.path, frame)))
    found = load_segmenter(model.path, SETTINGS).ranked(frame)
    expected = sorted(PACKAGES[name](outputs, size_wh), key=lambda one: -one[0])
    assert len(expected) > 2
    assert found.scores == pytest.approx([score for score, _, _ in expected], abs=1e-3)
    assert found.class_ids.tolist() == [class_id for _, class_id, _ in expected]
    for mask, (_, _, wanted) in zip(found.masks, expected, strict=True):
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.99


Objects = list[tuple[float, int, np.ndarray]]
"""Score, class and mask of each."""


def by_pairs(processor: Callable[[], Any]) -> Callable[[Any, tuple[int, int]], Objects]:
    """What the package's own post-processing makes of Mask2Former's and MaskFormer's outputs."""

    def process(outputs: Any, size_wh: tuple[int, int]) -> Objects:
        (result,) = processor().post_process_instance_segmentation(
            outputs, threshold=0.05, target_sizes=[size_wh[::-1]], return_binary_maps=True
        )
        masks = result["segmentation"].numpy().astype(bool)
        return [(one["score"], one["label_id"], mask) for one, mask in zip(result["segments_info"], masks, strict=True)]

    return process


def mask2former_processor() -> Any:
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    return Mask2FormerImageProcessorPil()


def maskformer_processor() -> Any:
    from transformers.models.maskformer.image_processing_pil_maskformer import MaskFormerImageProcessorPil

    return MaskFormerImageProcessorPil()


def detr_objects(outputs: Any, size_wh: tuple[int, int]) -> Objects:
    """Scores and classes by the package, which asks for them one query at a time; masks by DETR's definition.

    Asked for all, the package would give each pixel to one query.
    """
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

    objects: Objects = []
    for query in range(outputs.logits.shape[1]):
        everywhere = SimpleNamespace(
            logits=outputs.logits[:, query : query + 1], pred_masks=torch.full((1, 1, *size_wh[::-1]), 50.0)
        )
        (result,) = DetrImageProcessorPil().post_process_instance_segmentation(
            everywhere, threshold=0.05, mask_threshold=0.01
        )
        logits = F.interpolate(outputs.pred_masks[:, query : query + 1], size=size_wh[::-1], mode="bilinear")
        mask = logits[0, 0].sigmoid().numpy() > 0.5
        if mask.any():
            objects += [(one["score"], one["label_id"], mask) for one in result["segments_info"]]
    return objects


def rf_detr_objects(outputs: Any, size_wh: tuple[int, int]) -> Objects:
    """By the definition: the package's own needs torchvision, which does not install beside PyTorch's CPU build."""
    scores, pairs = outputs.logits.sigmoid().flatten(1).topk(outputs.logits.shape[1] * 5)
    masks = F.interpolate(outputs.pred_masks, size=size_wh[::-1], mode="bilinear")[0].numpy() > 0
    return [
        (score, pair % outputs.logits.shape[2], masks[pair // outputs.logits.shape[2]])
        for score, pair in zip(scores[0].tolist(), pairs[0].tolist(), strict=True)
        if score >= 0.05 and masks[pair // outputs.logits.shape[2]].any()
    ]


PACKAGES: dict[str, Callable[[Any, tuple[int, int]], Objects]] = {
    "mask2former": by_pairs(mask2former_processor),
    "maskformer": by_pairs(maskformer_processor),
    "detr": detr_objects,
    "rf-detr-seg": rf_detr_objects,
}


@needs_builder
@pytest.mark.parametrize("name", KINDS)
def test_tensorrt_builds_it(name: str, exported: Callable[[str], SimpleNamespace]) -> None:
    told = check(exported(name).path, (640, 480), "tf32", lambda line: None)
    assert told.startswith("TensorRT for RTX 1.")


def test_with_suppression_in_fixed_rows_the_graph_gives_the_same_to_the_bit(
    exported: Callable[[str], SimpleNamespace],
) -> None:
    path = exported("rtmdet-ins").path
    image = fed(path, frame_of((161, 121)))
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"image": image})
    fixed = onnxruntime.InferenceSession(graph_for_tensorrt(path, {"color_rgb": (121, 161, 3)}, "tf32"))
    found = fixed.run(None, {"image": image})
    count = expected[1].shape[1]
    assert 1 < count < found[1].shape[1]
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other[:, :count])
    assert (found[0][0, count:, 4] == -10_000).all()


@needs_builder
def test_suppression_whose_scores_nothing_reads_is_refused_with_the_cure(networks: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with torch.no_grad():
        networks.export(networks.RtmdetIns(reads_scores=False), path, KINDS["rtmdet-ins"][2])
    with pytest.raises(EngineError, match="NonMaxSuppression.*: export the model without suppression"):
        check(path, (640, 480), "tf32", lambda line: None)


def test_the_image_goes_in_as_the_project_feeds_it(exported: Callable[[str], SimpleNamespace]) -> None:
    path = exported("rtmdet-ins").path
    frame = frame_of((128, 80))  # fits in 128 x 96 without being resized
    (image,) = contract_of(path).feeds({"color_rgb": frame.color_rgb}, inputs_of(path)).values()
    blue_green_red = frame.color_rgb[..., ::-1].astype(np.float64)
    expected = (blue_green_red - [103.53, 116.28, 123.675]) / [57.375, 57.12, 58.395]
    assert np.allclose(image[0, :, :80], expected.transpose(2, 0, 1), atol=1e-5)
    assert np.allclose(
        image[0, :, 80:], ((114 - np.array([103.53, 116.28, 123.675])) / [57.375, 57.12, 58.395])[:, None, None]
    )


def inputs_of(path: Path) -> dict[str, Any]:
    from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeSession, session_options

    return OnnxRuntimeSession(str(path), session_options(1), ["CPUExecutionProvider"]).inputs
