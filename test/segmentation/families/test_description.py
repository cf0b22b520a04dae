"""What is taken from a file, what from the YAML beside it, and what is refused, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import load_segmenter
from instance_seg_ros.segmentation.families.coco import COCO_CLASS_NAMES
from instance_seg_ros.segmentation.families.description import read_exported_model
from instance_seg_ros.segmentation.model_file import ModelError

SETTINGS = SegmentationSettings(backend="onnxruntime", threads=1)


def write_model(
    path: Path,
    outputs: dict[str, tuple[int | str, ...]],
    image: tuple[int | str, ...] = (1, 3, 64, 64),
    weights: dict[str, np.ndarray] | None = None,
    **metadata: str,
) -> Path:
    """A graph that names these outputs, floats but for "labels" of two sides, and computes none of them."""
    integers = {name for name, sides in outputs.items() if name == "labels" and len(sides) < 3}
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], [name]) for name in outputs],
        "outputs",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)],
        [
            helper.make_tensor_value_info(name, TensorProto.INT64 if name in integers else TensorProto.FLOAT, sides)
            for name, sides in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(proto, metadata)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("outputs", "family"),
    [
        ({"output0": (1, 116, 8400), "output1": (1, 32, 160, 160)}, "yolo-seg"),
        ({"output0": ("batch", 37, "anchors"), "output1": ("batch", 32, "h", "w")}, "yolo-seg"),
        ({"output0": (1, 300, 38), "output1": (1, 32, 160, 160)}, "yolo-seg-end2end"),
        ({"dets": (1, 100, 4), "labels": (1, 100, 91), "masks": (1, 100, 108, 108)}, "rf-detr-seg"),
        ({"class_queries_logits": (1, 100, 81), "masks_queries_logits": (1, 100, 96, 96)}, "maskformer"),
        ({"logits": (1, 100, 251), "pred_boxes": (1, 100, 4), "pred_masks": (1, 100, 200, 267)}, "detr"),
        ({"loc": (1, 9, 4), "conf": (1, 9, 81), "mask": (1, 9, 32), "proto": (1, 138, 138, 32)}, "yolact"),
        ({"dets": (1, 100, 5), "labels": (1, 100), "masks": (1, 100, 200, 304)}, "solov2"),
    ],
)
def test_the_outputs_tell_the_family(outputs: dict[str, tuple[int | str, ...]], family: str, tmp_path: Path) -> None:
    assert read_exported_model(write_model(tmp_path / "yolo_or_whatever.onnx", outputs)).family.name == family


YOLO = {"output0": (1, 4 + 80 + 32, 8400), "output1": (1, 32, 160, 160)}


@pytest.mark.parametrize(
    ("outputs", "metadata", "expected"),
    [
        (YOLO, {}, COCO_CLASS_NAMES),
        ({**YOLO, "output0": (1, 4 + 2 + 32, 8400)}, {}, ("class 0", "class 1")),
        ({**YOLO, "output0": (1, 4 + 2 + 32, 8400)}, {"names": "{0: 'nut', 1: 'bolt'}"}, ("nut", "bolt")),
        ({**YOLO, "output0": (1, 4 + 2 + 32, 8400)}, {"names": "['nut', 'bolt']"}, ("nut", "bolt")),
    ],
)
def test_class_names_come_from_the_file_or_from_coco(
    outputs: dict[str, tuple[int | str, ...]], metadata: dict[str, str], expected: tuple[str, ...], tmp_path: Path
) -> None:
    model = read_exported_model(write_model(tmp_path / "model.onnx", outputs, **metadata))
    assert model.info.class_names == expected


MASK_RCNN = {"boxes": ("N", 4), "labels": ("N",), "scores": ("N",), "masks": ("N", 1, "h", "w")}


@pytest.mark.parametrize(
    ("classes", "first_names"),
    [
        (None, ("unused", "person")),
        (91, ("unused", "person")),
        (80, ("class 0", "class 1")),  # 79 behind the background: not those of COCO
        (3, ("class 0", "class 1")),
    ],
)
def test_a_mask_rcnn_has_names_of_coco_only_with_as_many_classes(
    classes: int | None, first_names: tuple[str, str], tmp_path: Path
) -> None:
    weights = {} if classes is None else {"roi_heads.box_predictor.cls_score.bias": np.zeros(classes, np.float32)}
    model = read_exported_model(write_model(tmp_path / "model.onnx", MASK_RCNN, (3, 64, 64), weights))
    assert model.info.class_names[:2] == first_names
    assert len(model.info.class_names) == (classes or 91)


def test_a_mask_rcnn_whose_background_has_no_name_is_refused(tmp_path: Path) -> None:
    weights = {"roi_heads.box_predictor.cls_score.bias": np.zeros(3, np.float32)}
    path = write_model(tmp_path / "model.onnx", MASK_RCNN, (3, 64, 64), weights)
    path.with_suffix(".yaml").write_text("class_names: [nut, bolt]")
    with pytest.raises(ModelError, match=r"2 class names \(model.yaml\) cannot be used; its graph has 3"):
        read_exported_model(path)
    path.with_suffix(".yaml").write_text("class_names: [background, nut, bolt]")
    assert read_exported_model(path).info.class_names == ("background", "nut", "bolt")


@pytest.mark.parametrize("count", [79, 81])
def test_as_many_names_as_a_yolo_has_classes_are_needed(count: int, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", YOLO)
    path.with_suffix(".yaml").write_text(f"class_names: {[f'part {index}' for index in range(count)]}")
    with pytest.raises(ModelError, match=rf"{count} class names \(model.yaml\) cannot be used; its graph has 80"):
        read_exported_model(path)


@pytest.mark.parametrize("sizes", ["[0, 640]", "[640, -1]", "['a', 640]", "[640, 1e9]", "[True, 640]"])
def test_sizes_that_are_none_are_refused_and_the_yaml_says_better(sizes: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", YOLO, imgsz=sizes)
    with pytest.raises(ModelError, match=r"its metadata's imgsz is .* model.yaml can say better"):
        read_exported_model(path)
    path.with_suffix(".yaml").write_text("input: {size_wh: [320, 256]}")
    assert read_exported_model(path).image.size_wh == (320, 256)


def test_the_yaml_beside_a_file_says_it_better(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", YOLO, names=str(dict(enumerate(COCO_CLASS_NAMES))))
    before = read_exported_model(path)
    names = [f"part {index}" for index in range(80)]
    path.with_suffix(".yaml").write_text(
        f"class_names: {names}\nscore_threshold: 0.4\nnms_iou: 0.5\n"
        "input: {size_wh: [320, 256], resize: stretch, channels: bgr, scale: 1, "
        "mean: [1, 2, 3], std: [4, 5, 6], fill: 7}"
    )
    model = read_exported_model(path)
    assert model.info.class_names == tuple(names)
    assert (model.info.score_threshold, model.nms_iou) == (0.4, 0.5)
    image = model.image
    assert (image.size_wh, image.resize, image.channels, image.scale) == ((320, 256), "stretch", "bgr", 1)
    assert (image.mean, image.std, image.fill) == ((1, 2, 3), (4, 5, 6), 7)
    assert model.info.digest != before.info.digest  # engines and results of before are another model's


def test_the_yaml_may_name_the_family(tmp_path: Path) -> None:
    outputs = {"logits": (1, 100, 91), "pred_boxes": (1, 100, 4), "pred_masks": (1, 100, 108, 108)}
    path = write_model(tmp_path / "model.onnx", outputs)
    assert read_exported_model(path).family.name == "detr"
    path.with_suffix(".yaml").write_text("family: rf-detr-seg")
    assert read_exported_model(path).family.name == "rf-detr-seg"


@pytest.mark.parametrize(
    ("outputs", "said", "reason"),
    [
        ({"y": (1, 1000)}, "", "is not recognised: no family has such outputs. Found: y float32 [1, 1000]"),
        ({"output0": (1, 84, 8400)}, "", "Found: output0 float32 [1, 84, 8400]"),
        ({**YOLO, "output0": (1, 36, 8400)}, "", "36 numbers an anchor leave no class"),
        ({**YOLO, "output0": (1, "D", 8400)}, "", "leaves open how many numbers"),
        (YOLO, "family: yolo", "there is no family 'yolo', but yolo-seg, "),
        (YOLO, "family: [yolo-seg]", r"there is no family \['yolo-seg'\], but yolo-seg, "),
        (YOLO, "family: detr", r"is no DETR with masks: it gives logits float \[1, Q, C\].*output0 float32"),
        (YOLO, "class_names: [a, b]", r"2 class names \(model.yaml\) cannot be used; its graph has 80"),
        ({"output0": (1, 300, 38), "output1": (1, 32, 160, 160)}, "class_names: []", "0 class names"),
        (YOLO, "class_names: {0: a, 2: b}", "numbered from 0 without gaps"),
        (YOLO, "class_names: [1, 2]", "must be a list of texts"),
        (YOLO, "classes: [a]", "it has no classes, but family, class_names"),
        (YOLO, "score_threshold: 2", "score_threshold must be in"),
        (YOLO, "input: {resize: crop}", "resize must be one of stretch, fit, letterbox"),
        (YOLO, "input: {std: [1, 0, 1]}", "std must be three numbers"),
        (YOLO, "input: {size_wh: [640]}", "size_wh must be"),
        (YOLO, "input: {size: [640, 640]}", "input has no size, but size_wh"),
        (YOLO, "[1, 2", "is no YAML"),
        (YOLO, "- a", "it must have some of the keys"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_was_expected_and_found(
    outputs: dict[str, tuple[int | str, ...]], said: str, reason: str, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "model.onnx", outputs)
    if said:
        path.with_suffix(".yaml").write_text(said)
    with pytest.raises(ModelError, match=reason.replace("[1, 1000]", r"\[1, 1000\]").replace("[1, 84", r"\[1, 84")):
        load_segmenter(path, SETTINGS)


def test_more_classes_than_messages_can_number_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", {"output0": (1, 4 + 65_536 + 1, 10), "output1": (1, 1, 8, 8)})
    with pytest.raises(ModelError, match="65536 class names .* cannot be used"):
        load_segmenter(path, SETTINGS)


def test_a_graph_without_an_image_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", YOLO, image=(1, 5))
    with pytest.raises(ModelError, match=r"has no input for an image.*it has image float32 \[1, 5\]"):
        load_segmenter(path, SETTINGS)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_refused(
    share: float, family_model_path: Callable[[str], Path], tmp_path: Path
) -> None:
    path = family_model_path("yolo-seg")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"is no ONNX file or was cut short|cannot load"):
        load_segmenter(path, SETTINGS)


def hostile(
    family_graphs: ModuleType, path: Path, family: str, change: Callable[[dict[str, np.ndarray]], None]
) -> Path:
    outputs = family_graphs.outputs_of(family, ((20, 30, 60, 80), (90, 40, 130, 70)))
    change(outputs)
    path.write_bytes(family_graphs.model(family, outputs).SerializeToString())
    return path


@pytest.mark.parametrize(
    ("output", "place", "value", "reason"),
    [
        ("output0", (0, 0, 4), np.nan, "scores are not finite"),
        ("output0", (0, 0, 0), np.inf, "boxes are not finite"),
        ("output0", (0, 0, 5), 1e30, "finds an object of class"),
        ("output0", (0, 0, 5), -1, "finds an object of class -1"),
        ("output0", (0, 0, 5), 80, "finds an object of class 80, and 80 class names are known"),
    ],
)
def test_numbers_without_meaning_refuse_the_model(
    output: str, place: tuple[int, ...], value: float, reason: str, family_graphs: ModuleType, tmp_path: Path
) -> None:
    def change(outputs: dict[str, np.ndarray]) -> None:
        outputs[output][place] = value

    path = hostile(family_graphs, tmp_path / "model.onnx", "yolo-seg-end2end", change)
    with pytest.raises(ModelError, match=reason):
        load_segmenter(path, SETTINGS)


def test_masks_that_are_not_finite_fail_the_frame_and_not_the_node(
    family_graphs: ModuleType, tmp_path: Path, make_frame: Callable[..., RgbdFrame]
) -> None:
    def change(outputs: dict[str, np.ndarray]) -> None:
        outputs["masks"][0, 0] = np.nan

    segmenter = load_segmenter(hostile(family_graphs, tmp_path / "model.onnx", "rtmdet-ins", change), SETTINGS)
    with pytest.raises(ModelError, match="masks are not finite"):
        segmenter.segment(make_frame())


def test_more_instances_than_labels_are_cut_to_the_best(
    family_graphs: ModuleType, tmp_path: Path, make_frame: Callable[..., RgbdFrame]
) -> None:
    rows = np.zeros((1, 70_000, 7), dtype=np.float32)
    rows[0, :, 0], rows[0, :, 2:4] = np.arange(70_000) % 100, 128
    rows[0, :, 4], rows[0, :, 6] = np.linspace(0.1, 0.9, 70_000), 1
    outputs = {"output0": rows, "output1": np.ones((1, 1, 32, 40), dtype=np.float32)}
    path = tmp_path / "model.onnx"
    path.write_bytes(family_graphs.model("yolo-seg-end2end", outputs).SerializeToString())
    segmenter = load_segmenter(path, SegmentationSettings(backend="onnxruntime", max_instances=1000, min_mask_pixels=1))
    assert 0 < len(segmenter.ranked(make_frame())) <= 1000


def test_weights_beside_the_graph_belong_to_its_digest(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", YOLO)
    proto = onnx.load(path)
    proto.doc_string = "weights in model.onnx.data"
    path.write_bytes(proto.SerializeToString())
    digests = set()
    for weights in (b"", b"1", b"2"):
        (tmp_path / "model.onnx.data").write_bytes(weights)
        digests.add(read_exported_model(path).info.digest)
    assert len(digests) == 3


def test_a_file_says_which_classes_are_stuff_and_the_yaml_knows_better(tmp_path: Path) -> None:
    outputs = {"class_queries_logits": (1, 100, 5), "masks_queries_logits": (1, 100, 96, 96)}
    names = str(["cup", "bolt", "wall", "floor"])
    path = write_model(tmp_path / "a.onnx", outputs, names=names)
    assert read_exported_model(path).info.stuff_class_ids == ()
    assert not read_exported_model(path).info.stuff_is_told
    path.with_suffix(".yaml").write_text("stuff_classes: []")
    assert read_exported_model(path).info.stuff_is_told
    path = write_model(tmp_path / "b.onnx", outputs, names=names, stuff_classes="['wall', 'floor']")
    assert read_exported_model(path).info.stuff_class_ids == (2, 3)
    path.with_suffix(".yaml").write_text("stuff_classes: [wall]")
    model = read_exported_model(path)
    assert (model.info.stuff_class_ids, model.stuff_from) == ((2,), "b.yaml")
    path.with_suffix(".yaml").write_text("stuff_classes: [walls]")
    with pytest.raises(ModelError, match=r"b.yaml: stuff_classes has 'walls', which is no class of the model"):
        read_exported_model(path)
    path = write_model(tmp_path / "c.onnx", outputs, names=names, stuff_classes="walls")
    with pytest.raises(ModelError, match="metadata's stuff_classes are no list"):
        read_exported_model(path)
