"""Scenes made by hand, for everything that only reads a scene, and a model file whose network is a few constants."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import Grasp, InstanceGrasps
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.lifting import Completion, Instance3D, LiftedFrame
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.segmentation import ModelInfo
from instance_seg_ros.segmentation.model_file import FORMAT, graph_digest
from instance_seg_ros.segmentation.postprocessing import NetworkOutput
from instance_seg_ros.segmentation.prompts import Detections, PromptModels
from instance_seg_ros.tracking import TrackRecord

# The machine may be busy with other work: a slow example is no fault of the code under test. Examples are the same in
# every run, so that a suite that passed passes again; `pytest --hypothesis-profile=hunt` draws new ones.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("hunt", deadline=None)
settings.load_profile("steady")

TABLE_M, TOP_M = 0.8, 0.7
CAMERA = Intrinsics(160, 120, 150.0, 150.0, 79.5, 59.5)
UPRIGHT = np.eye(3)
BLOCKS_XYXY = ((20, 30, 60, 80), (90, 40, 130, 70))
"""Two blocks on a table that the camera looks straight down on."""


@st.composite
def _any_scenes(draw: st.DrawFn) -> tuple[RgbdFrame, Instances]:
    """Something flat with up to five rectangles on it: level with it, higher or without depth, in a mask or in none."""
    camera = Intrinsics(96, 72, 90.0, 90.0, 47.5, 35.5)
    depth_m = np.full((72, 96), draw(st.sampled_from([0.4, 0.5, 0.6, 10.0, 0.0])), dtype=np.float32)
    depth_m *= 1 + draw(st.sampled_from([0.0, 0.002, 0.05])) * np.arange(72, dtype=np.float32)[:, None]
    labels = np.zeros((72, 96), dtype=np.uint16)
    for label in draw(st.lists(st.integers(0, 3), max_size=5)):
        left, top, width, height = (draw(st.integers(*limits)) for limits in ((-8, 90), (-8, 66), (1, 30), (1, 30)))
        place = slice(max(top, 0), max(top + height, 0)), slice(max(left, 0), max(left + width, 0))
        depth_m[place] *= draw(st.sampled_from([0.9, 0.9, 0.95, 0.8, 1.0, 0.0]))
        labels[place] = label
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    depth_m[rng.random(depth_m.shape) < draw(st.sampled_from([0.0, 0.0, 0.3]))] = 0
    return RgbdFrame(None, depth_m, camera), Instances.from_labels(labels)


@pytest.fixture(scope="session")
def any_scenes() -> st.SearchStrategy[tuple[RgbdFrame, Instances]]:
    """Small frames and masks for hypothesis: in half of them something can be lifted, in some grasped."""
    return _any_scenes()


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def documentation() -> ModuleType:
    """The script that writes the generated parts of the documentation."""
    return _load(Path(__file__).resolve().parents[1] / "scripts" / "documentation.py")


@pytest.fixture(scope="session")
def family_graphs() -> ModuleType:
    """Writes graphs with the outputs of other projects' models."""
    pytest.importorskip("onnx")
    return _load(Path(__file__).resolve().parent / "family_graphs.py")


@pytest.fixture(scope="session")
def folders() -> ModuleType:
    """Saves folders of small models of transformers that answer prompts."""
    pytest.importorskip("transformers")
    return _load(Path(__file__).resolve().parent / "segmentation" / "runtimes" / "prompt_folders.py")


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """Makes small models with random weights."""
    pytest.importorskip("transformers")
    return _load(Path(__file__).resolve().parent / "segmentation" / "families" / "exported_networks.py")


@pytest.fixture(scope="session")
def loaded_families() -> ModuleType:
    """Saves folders of transformers' models and stands in for their networks."""
    pytest.importorskip("transformers")
    return _load(Path(__file__).resolve().parent / "loaded_families.py")


@pytest.fixture
def loaded_family(
    loaded_families: ModuleType,
    family_graphs: ModuleType,
    networks: ModuleType,
    folders: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Path]:
    """Makes the folder of one of SEGMENTERS that finds the two blocks; `spoil` changes what its network says then."""
    import transformers

    def make(name: str, spoil: Callable[[dict[str, Any]], object] = lambda outputs: None) -> Path:
        loaded_families.save(name, networks, folders, tmp_path)
        outputs = loaded_families.outputs_of(name, family_graphs, BLOCKS_XYXY)
        spoil(outputs)
        model = getattr(transformers, loaded_families.SEGMENTERS[name])
        monkeypatch.setattr(model, "forward", loaded_families.saying(outputs))
        return tmp_path

    return make


@pytest.fixture
def family_model_path(family_graphs: ModuleType, tmp_path: Path) -> Callable[[str], Path]:
    """Makes the model file of a family that finds the two blocks of `make_frame` in any image."""
    return lambda family: family_graphs.write(family, BLOCKS_XYXY, tmp_path)


@pytest.fixture(autouse=True)
def _random_weights_do_not_depend_on_the_order_of_tests() -> None:
    """Seeds PyTorch where it is loaded: else a network's first weights depend on what ran before in the process."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_config() -> CondInstConfig:
    """Sizes of a network that trains in milliseconds, on a grid of 128x96, no narrower than PyTorch can train."""
    return CondInstConfig(
        input_hw=(96, 128),
        stem_channels=16,
        stage_channels=(16, 16, 16, 16),
        stage_blocks=(1, 1, 1, 1),
        fpn_channels=16,
        head_depth=1,
        mask_channels=8,
        mask_depth=1,
        color_channels=(16, 16, 16),
    )


@pytest.fixture
def make_frame() -> Callable[..., RgbdFrame]:
    """Makes the frame of two blocks on a table; `color=False` leaves the colour image out."""

    def make(color: bool = True, stamp_ns: int = 1_700_000_000_123_456_789) -> RgbdFrame:
        depth_m = np.full((CAMERA.height, CAMERA.width), TABLE_M, dtype=np.float32)
        color_rgb = np.full((CAMERA.height, CAMERA.width, 3), 90, dtype=np.uint8)
        for index, (x0, y0, x1, y1) in enumerate(BLOCKS_XYXY):
            depth_m[y0:y1, x0:x1] = TOP_M
            color_rgb[y0:y1, x0:x1] = ((200, 40, 40), (40, 60, 200))[index]
        depth_m[:5] = 0  # a strip without measurement, as at the rim of real sensors
        return RgbdFrame(color_rgb if color else None, depth_m, CAMERA, stamp_ns, "camera_color_optical_frame")

    return make


class ColorPrompts:
    """A promptable network that gives everything of the colour at a point or in the middle of a rectangle."""

    info = ModelInfo("colors", "1", ("object",), 0.0, 0.0, "a" * 64)
    backend = "by hand"

    def __call__(self, color_rgb: np.ndarray, points_xy: np.ndarray, boxes_xyxy: np.ndarray) -> NetworkOutput:
        centers = np.concatenate([points_xy, (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2]).round().astype(int)
        same = np.stack([(color_rgb == color_rgb[y, x]).all(axis=2) for x, y in centers])
        height, width = color_rgb.shape[:2]
        return NetworkOutput(
            np.zeros((len(centers), 4), np.float32),
            np.full(len(centers), 0.75, np.float32),
            np.zeros(len(centers), np.int64),
            np.where(same, np.float32(5), np.float32(-5)),
            np.ones(2, np.float32),
            mask_regions_xyxy=np.tile([0, 0, width, height], (len(centers), 1)),
        )


class BlockWords:
    """A detector that finds the blocks of `make_frame` for "red block" and "blue block", each twice."""

    info = ModelInfo("words", "1", ("object",), 0.3, 0.0, "b" * 64)
    backend = "by hand"

    def __call__(self, color_rgb: np.ndarray, phrases: Sequence[str]) -> Detections:
        found = [
            (np.add(BLOCKS_XYXY[block], shift), score, phrase)
            for phrase, words in enumerate(phrases)
            for block, name in enumerate(("red block", "blue block"))
            for shift, score in ((0, 0.6), (1, 0.5), (2, 0.2))
            if words == name
        ]
        boxes, scores, ids = zip(*found, strict=True) if found else (np.zeros((0, 4)), (), ())
        return Detections(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(ids, np.int64))


@pytest.fixture
def prompt_models() -> PromptModels:
    """Models that answer points, rectangles and words in the image of `make_frame`."""
    return PromptModels(ColorPrompts(), BlockWords())


@pytest.fixture
def make_scene(make_frame: Callable[..., RgbdFrame]) -> Callable[..., Scene]:
    """Makes the scene of `make_frame`: one block in 3D with two grasps, one that could not be lifted.

    `rotation` (3, 3) is that of box and grasps, upright without it.
    """

    def make(
        color: bool = True,
        stamp_ns: int = 1_700_000_000_123_456_789,
        empty: bool = False,
        rotation: np.ndarray = UPRIGHT,
    ) -> Scene:
        frame = make_frame(color, stamp_ns)
        model = ModelInfo("by_hand", "1", ("object",), 0.5, 0.5, "0" * 64)
        times_s = {"segment": 0.05, "lift": 0.01, "grasp": 0.02, "track": 0.001}
        if empty:
            nothing = Instances.empty(CAMERA.height, CAMERA.width, ("object",))
            return Scene(frame, nothing, LiftedFrame((), None), (), (), model, times_s)
        labels = np.zeros((CAMERA.height, CAMERA.width), dtype=np.uint16)
        for label, (x0, y0, x1, y1) in enumerate(BLOCKS_XYXY, start=1):
            labels[y0:y1, x0:x1] = label
        instances = Instances.from_labels(labels)
        pixels = np.flatnonzero(labels == 1)
        points_m = frame.points_m.reshape(-1, 3)[pixels]
        surface_centroid_m = points_m.mean(axis=0, dtype=np.float64)
        centroid_m = surface_centroid_m + np.array([0, 0, 0.05])
        size_m = [*np.ptp(points_m[:, :2], axis=0), 0.1]
        block = Instance3D(
            points_m=points_m,
            pixels=pixels,
            rejected=7,
            centroid_m=centroid_m,
            surface_centroid_m=surface_centroid_m,
            covariance_m2=np.cov(points_m.T.astype(np.float64)),
            box=OrientedBox(Transform(rotation, centroid_m), np.array(size_m)),
            completion=Completion.SUPPORT_PLANE,
            status=Status.OK,
        )
        unknown = Instance3D(
            points_m=np.zeros((0, 3), dtype=np.float32),
            pixels=np.zeros(0, dtype=np.int64),
            rejected=1200,
            centroid_m=None,
            surface_centroid_m=None,
            covariance_m2=None,
            box=None,
            completion=Completion.NONE,
            status=Status.TOO_FEW_POINTS,
        )
        half_m = rotation @ [size_m[0] / 2, 0, 0]
        grasps = tuple(
            Grasp(
                T_camera_grasp=Transform(rotation, centroid_m),
                width_m=size_m[0],
                opening_m=max(0.08, size_m[0]),
                quality=quality,
                contacts_m=np.stack([centroid_m - half_m, centroid_m + half_m]),
                approach_distance_m=0.08,
                lift_distance_m=0.1,
                checked_against_scene=True,
            )
            for quality in (0.9, 0.4)
        )
        return Scene(
            frame,
            instances,
            LiftedFrame((block, unknown), Plane(np.array([0.0, 0.0, -1.0]), TABLE_M)),
            (InstanceGrasps(grasps, Status.OK), InstanceGrasps((), Status.NO_GRASP_CANDIDATE)),
            (5, 6),
            model,
            times_s,
            tracks={
                5: TrackRecord(12, first_seen_ns=1_699_999_999_000_000_001, last_seen_ns=frame.stamp_ns, seen_empty=0),
                6: TrackRecord(1, first_seen_ns=frame.stamp_ns, last_seen_ns=frame.stamp_ns, seen_empty=0),
                3: TrackRecord(7, first_seen_ns=1_000_000_002, last_seen_ns=3_000_000_004, seen_empty=2),
            },
        )

    return make


@pytest.fixture(scope="session")
def block_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model file that finds the two blocks of `make_frame` wherever there is depth."""
    onnx = pytest.importorskip("onnx")
    mask_scale = 0.25
    masks = np.zeros((2, round(CAMERA.height * mask_scale), round(CAMERA.width * mask_scale)), dtype=np.float16)
    for mask, box in zip(masks, BLOCKS_XYXY, strict=True):
        x0, y0, x1, y1 = (round(side * mask_scale) for side in box)
        mask[y0:y1, x0:x1] = 1
    constants = {
        "boxes_xyxy": np.array(BLOCKS_XYXY, dtype=np.float32),
        "class_ids": np.zeros(2, dtype=np.int64),
        "masks": masks,
        "mask_scale": np.full(2, mask_scale, dtype=np.float32),
        "score_scale": np.array([1.0, 0.9], dtype=np.float32),
    }
    nodes = [
        *(
            onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value))
            for name, value in constants.items()
        ),
        onnx.helper.make_node("ReduceMax", ["depth_m"], ["farthest_m"], keepdims=0),
        onnx.helper.make_node("Mul", ["farthest_m", "score_scale"], ["scores"]),
    ]
    float32, outputs = onnx.TensorProto.FLOAT, ("boxes_xyxy", "class_ids", "masks", "mask_scale")
    graph = onnx.helper.make_graph(
        nodes,
        "blocks",
        [
            onnx.helper.make_tensor_value_info("depth_m", float32, ["H", "W"]),
            onnx.helper.make_tensor_value_info("intrinsics", float32, [4]),
        ],
        [
            *(
                onnx.helper.make_tensor_value_info(
                    name, onnx.helper.np_dtype_to_tensor_dtype(constants[name].dtype), constants[name].shape
                )
                for name in outputs
            ),
            onnx.helper.make_tensor_value_info("scores", float32, [2]),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    metadata = {
        "format": FORMAT,
        "name": "blocks",
        "version": "1",
        "class_names": json.dumps(["block"]),
        "score_threshold": "0.5",
        "mask_threshold": "0.5",
        "digest": graph_digest(model.SerializeToString()),
    }
    onnx.helper.set_model_props(model, metadata)
    path = tmp_path_factory.mktemp("model") / "blocks.onnx"
    path.write_bytes(model.SerializeToString())
    return path
