"""The model file: metadata and digest are read from the bytes; every kind of damage is a ModelError that names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from instance_seg_ros.core.instances import MAX_STUFF_CLASS_ID
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.families.stuff import walls_among_objects
from instance_seg_ros.segmentation.model_file import (
    FORMAT,
    ModelError,
    ModelInfo,
    default_model_path,
    graph_digest,
    joined_info,
    read_metadata,
    read_model_info,
)
from instance_seg_ros.segmentation.score_calibration import ScoreCalibration
from instance_seg_ros.segmentation.segmenter import load_segmenter


def tiny_model(**metadata: str) -> bytes:
    """A serialised ONNX model of one node, with this metadata over the valid one."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "tiny", value[:1], value[1:])
    model = helper.make_model(graph)
    facts = {
        "format": FORMAT,
        "name": "tiny",
        "version": "1",
        "class_names": '["object"]',
        "score_threshold": "0.5",
        "mask_threshold": "0.4",
        "digest": graph_digest(model.SerializeToString()),
    }
    helper.set_model_props(model, facts | metadata)
    return model.SerializeToString()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
def test_a_git_lfs_pointer_is_told_with_its_cure(name: str, tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (tmp_path / name).write_bytes(pointer)
    with pytest.raises(ModelError, match=f"{name} is a Git LFS pointer of 70 bytes in place of the model; `git lfs p"):
        load_segmenter(tmp_path / name, SegmentationSettings(backend="onnxruntime"))


def test_the_facts_of_a_valid_file_are_read(tmp_path: Path) -> None:
    content = tiny_model()
    info = read_model_info(written(tmp_path, content))
    assert info == ModelInfo("tiny", "1", ("object",), 0.5, 0.4, graph_digest(content), stuff_is_told=True)


def test_a_file_may_hold_a_calibration_of_its_scores(tmp_path: Path) -> None:
    calibrated = tiny_model(score_calibration='{"slope": 2.5, "offset": -1.0}')
    assert read_model_info(written(tmp_path, calibrated)).calibration == ScoreCalibration(2.5, -1.0)
    broken = tiny_model(score_calibration='{"slope": -2.5, "offset": -1.0}')
    with pytest.raises(ModelError, match="needs a slope above 0"):
        read_model_info(written(tmp_path, broken))


def test_metadata_equals_what_the_onnx_library_reads() -> None:
    content = tiny_model(name="später")
    properties = onnx.load_from_string(content).metadata_props
    assert read_metadata(content) == {entry.key: entry.value for entry in properties}


def test_the_digest_ignores_the_metadata_and_nothing_else() -> None:
    content = tiny_model()
    other_graph = content.replace(b"tiny", b"tinz", 1)
    assert graph_digest(tiny_model(name="another name")) == graph_digest(content)
    assert graph_digest(other_graph) != graph_digest(content)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "somebody/2"}, "not a model of this project"),
        ({"digest": "0" * 64}, "damaged"),
        ({"class_names": "[]"}, "class_names"),
        ({"class_names": "[1]"}, "class_names"),
        ({"class_names": '"object"'}, "class_names must be a list"),
        ({"class_names": "not json"}, "metadata"),
        ({"score_threshold": "1.5"}, "score_threshold"),
        ({"mask_threshold": "half"}, "metadata"),
    ],
)
def test_unusable_metadata_is_refused(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_model_info(written(tmp_path, tiny_model(**metadata)))


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x0a\xff"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx"):
        read_model_info(written(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    told = r"cannot read the model file .*absent\.onnx: No such file .*; the shipped ones are .*tabletop_rgbd_fine"
    with pytest.raises(ModelError, match=told):
        read_model_info(tmp_path / "absent.onnx")


def test_a_folder_in_place_of_a_file_is_told_with_what_tells_of_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder and no model file; `instance-seg models inspect /.*` tells"):
        read_model_info(tmp_path)


@given(cut=st.integers(min_value=0, max_value=len(tiny_model()) - 1))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    with pytest.raises(ModelError):
        read_model_info(written(tmp_path_factory.mktemp("cut"), tiny_model()[:cut]))


def test_all_that_a_model_of_this_project_finds_are_objects_however_they_are_called(tmp_path: Path) -> None:
    info = read_model_info(written(tmp_path, tiny_model()))
    assert walls_among_objects(replace(info, class_names=("wall",))) == ""


def test_the_shipped_model_is_whole() -> None:
    assert read_model_info(default_model_path()).class_names == ("object",)


def panoptic(names: tuple[str, ...], stuff: tuple[int, ...]) -> ModelInfo:
    return ModelInfo("panoptic", "1", names, 0.5, 0.5, "", stuff_class_ids=stuff)


def test_two_models_have_the_classes_and_the_stuff_of_either() -> None:
    joined = joined_info([panoptic(("cup", "wall"), (1,)), panoptic(("floor", "cup"), (0,))])
    assert joined.class_names == ("cup", "wall", "floor")
    assert joined.stuff_class_ids == (1, 2)


def test_stuff_that_the_panoptic_image_cannot_number_among_the_classes_of_both_is_refused() -> None:
    many = tuple(map(str, range(MAX_STUFF_CLASS_ID)))
    joined_info([panoptic(many, ()), panoptic(("wall",), (0,))])
    with pytest.raises(ModelError, match="of their classes together number 32765 is stuff, .* numbers to 32764"):
        joined_info([panoptic((*many, "cup"), ()), panoptic(("wall",), (0,))])
