from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from instance_seg_ros.commands import export
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.files.captures import write_capture
from instance_seg_ros.learning.export.model_writer import (
    ModelDescription,
    export_checkpoint,
    export_graph,
    in_8_bits,
    store_weights_as_half,
)
from instance_seg_ros.learning.models.checkpoint import Checkpoint, save_checkpoint
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import MASK_HEADS, CondInstConfig
from instance_seg_ros.learning.models.exported_graph import (
    DecodingSettings,
    ExportedModel,
    NetworkGrid,
    mask_overlaps,
    preference,
    suppress,
)
from instance_seg_ros.segmentation.model_file import (
    NETWORK_KEY,
    ModelError,
    is_in_8_bits,
    mask_head_of,
    read_metadata,
    read_model_info,
)
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import cpu_forms, load_cpu_network

pytestmark = pytest.mark.slow

DECODING = DecodingSettings(candidates=20, max_instances=8, min_score=0.0)


def random_network(config: CondInstConfig) -> CondInst:
    """Random weights, large enough that scores differ and masks are not empty."""
    torch.manual_seed(0)
    model = CondInst(config).eval()
    with torch.no_grad():
        model.head.class_logits.weight.mul_(30)
        model.controller.weight.mul_(30)
        model.color_to_backbone.weight.normal_(std=0.3)
        model.color_to_masks.weight.normal_(std=0.3)
        model.mask_upsampling.weights.weight.normal_(std=0.3)
    return model


@pytest.fixture(scope="module")
def network(small_config: CondInstConfig) -> CondInst:
    return random_network(small_config)


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, intrinsics and colour."""
    rng = np.random.default_rng(0)
    depth_m = np.full((height, width), 0.9, dtype=np.float32)
    for _ in range(5):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        depth_m[top : top + height // 4, left : left + width // 4] = rng.uniform(0.6, 0.85)
    depth_m[rng.random((height, width)) < 0.05] = 0
    intrinsics = np.array([width, width, width / 2, height / 2], dtype=np.float32)
    return depth_m, intrinsics, rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def checkpoint_of(network: CondInst) -> Checkpoint:
    state = network.state_dict()
    recipe = {"store": {"seed": 3}, "frames": 7, "training": {"seed": 1}}
    return Checkpoint(network.config, state, state, {}, 5, 1.0, recipe)


@pytest.fixture(scope="module")
def checkpoint(network: CondInst) -> Checkpoint:
    return checkpoint_of(network)


@pytest.fixture(scope="module")
def graph(network: CondInst) -> bytes:
    return export_graph(network, DECODING).SerializeToString()


@pytest.fixture(scope="module")
def session(graph: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def run(
    session: onnxruntime.InferenceSession, depth_m: np.ndarray, intrinsics: np.ndarray, color_rgb: np.ndarray
) -> list[np.ndarray]:
    return session.run(None, {"depth_m": depth_m, "intrinsics": intrinsics, "color_rgb": color_rgb})


@pytest.fixture(scope="module", params=MASK_HEADS)
def exported_network(
    request: pytest.FixtureRequest, small_config: CondInstConfig
) -> tuple[CondInst, onnxruntime.InferenceSession]:
    """A network of each mask head, and its graph."""
    network = random_network(replace(small_config, mask_head=request.param))
    content = export_graph(network, DECODING).SerializeToString()
    return network, onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("height", "width"), [(96, 128), (480, 640), (360, 640), (97, 61), (48, 64)])
def test_onnx_runtime_agrees_with_pytorch_at_any_camera_size(
    exported_network: tuple[CondInst, onnxruntime.InferenceSession], height: int, width: int
) -> None:
    network, session = exported_network
    frame = scene(height, width)
    with torch.no_grad():
        expected = ExportedModel(network, DECODING)(*map(torch.from_numpy, frame))
    boxes, scores, class_ids, masks, mask_scale, mask_upsampling = run(session, *frame)
    assert [boxes.dtype, class_ids.dtype, masks.dtype] == [np.float32, np.int64, np.float16]
    np.testing.assert_allclose(scores, expected[1].numpy(), atol=1e-4)
    kept = scores > 0
    assert kept.any()
    np.testing.assert_allclose(boxes[kept], expected[0].numpy()[kept], atol=0.05)
    np.testing.assert_allclose(masks[kept].astype(float), expected[3].numpy()[kept].astype(float), atol=5e-3)
    np.testing.assert_allclose(mask_scale, expected[4].numpy(), rtol=1e-6)
    np.testing.assert_allclose(mask_upsampling.astype(float), expected[5].numpy().astype(float), atol=5e-3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0])
def test_a_frame_without_measurements_gives_finite_outputs(session: onnxruntime.InferenceSession, value: float) -> None:
    depth_m = np.full((48, 64), value, dtype=np.float32)
    intrinsics = np.array([60, 60, 31.5, 23.5], dtype=np.float32)
    outputs = run(session, depth_m, intrinsics, np.zeros((48, 64, 3), np.uint8))
    assert all(np.isfinite(output).all() for output in outputs)


def test_output_shapes_are_static(session: onnxruntime.InferenceSession) -> None:
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes == {
        "boxes_xyxy": [8, 4],
        "scores": [8],
        "class_ids": [8],
        "masks": [8, 24, 32],
        "mask_scale": [2],
        "mask_upsampling": [9, 2, 2, 24, 32],
    }


def test_a_network_of_depth_alone_asks_for_no_colour(small_config: CondInstConfig) -> None:
    model = CondInst(replace(small_config, color_channels=())).eval()
    content = export_graph(model, DECODING).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [tensor.name for tensor in session.get_inputs()] == ["depth_m", "intrinsics"]
    depth_m, intrinsics, _ = scene(96, 128)
    assert session.run(["scores"], {"depth_m": depth_m, "intrinsics": intrinsics})[0].shape == (8,)


def test_boxes_lie_inside_the_camera_image(session: onnxruntime.InferenceSession) -> None:
    boxes = run(session, *scene(480, 640))[0]
    assert (boxes >= 0).all()
    assert (boxes <= [640, 480, 640, 480]).all()


def test_scores_are_sorted_and_those_below_the_minimum_are_0(network: CondInst) -> None:
    model = ExportedModel(network, DecodingSettings(candidates=20, max_instances=8, min_score=0.4))
    scores = model(*map(torch.from_numpy, scene(96, 128)))[1]
    assert (scores.diff() <= 0).all()
    assert ((scores == 0) | (scores >= 0.4)).all()


@pytest.mark.parametrize(
    ("camera_hw", "scale", "error_px"),
    [
        ((480, 640), 0.2, 0.0),
        ((96, 128), 1.0, 0.0),
        ((192, 256), 0.5, 0.0),
        ((720, 1280), 0.1, 0.0),
        ((48, 64), 2.0, 0.25),
    ],
)
def test_the_grid_keeps_every_pixel_on_its_ray_and_pads_with_0(
    camera_hw: tuple[int, int], scale: float, error_px: float
) -> None:
    height, width = camera_hw
    _, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    intrinsics = torch.tensor([500.0, 500.0, width / 2, height / 2])
    # Depth tells the source column; its ray is compared with the ray of the grid's pixel.
    network_grid, image = NetworkGrid(96, 128), 1000.0 + u
    found = network_grid.scale(image)
    grid, grid_intrinsics = network_grid.depth(image), network_grid.intrinsics(intrinsics, found)
    assert found.item() == pytest.approx(scale)
    fx, _, cx, _ = grid_intrinsics[0].tolist()
    used_h, used_w = round(height * scale), round(width * scale)
    assert (grid[0, 0, used_h:] == 0).all()
    assert (grid[0, 0, :, used_w:] == 0).all()
    source_u = grid[0, 0, :used_h, :used_w] - 1000
    ray_x = (torch.arange(used_w) - cx) / fx
    assert ((source_u - width / 2) / 500 - ray_x).abs().max() <= (error_px + 0.001) / 500


@pytest.mark.parametrize(
    ("four", "expected"),
    [
        ([1.0, 1.0, 1.0, 1.0], 1.0),
        ([1.0, 1.004, 1.004, 1.008], 1.004),  # one surface: its mean
        ([1.0, 1.0, 2.0, 2.0], 1.0),  # two surfaces: the nearer one, nothing between them
        ([0.0, 0.0, 0.0, 2.0], 2.0),  # what was not measured does not count
        ([0.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_depth_of_a_cell_is_that_of_its_nearest_surface(four: list[float], expected: float) -> None:
    grid = NetworkGrid(96, 128).depth(torch.tensor(four).reshape(2, 2).repeat(96, 128))
    torch.testing.assert_close(grid, torch.full((1, 1, 96, 128), expected))


def test_colour_is_averaged_over_a_cell_and_padded_with_0() -> None:
    image = torch.arange(96 * 256, dtype=torch.float32).reshape(96, 256, 1).remainder(251).to(torch.uint8)
    grid = NetworkGrid(96, 128).color(image.expand(-1, -1, 3))
    means = image.float().reshape(48, 2, 128, 2).mean(dim=(1, 3))
    assert grid.shape == (1, 3, 96, 128)
    torch.testing.assert_close(grid[0, 1, :48], means)
    assert (grid[0, :, 48:] == 0).all()


def greedy(overlaps: np.ndarray) -> np.ndarray:
    keep = np.ones(len(overlaps), dtype=bool)
    for i in range(len(overlaps)):
        if keep[i]:
            keep[i + 1 :] &= overlaps[i, i + 1 :] == 0
    return keep


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 100), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_suppression_equals_the_greedy_one(count: int, density: float, seed: int) -> None:
    overlaps = (np.random.default_rng(seed).random((count, count)) < density).astype(np.float32)
    result = suppress(torch.from_numpy(overlaps)).numpy()
    assert set(result.tolist()) <= {0.0, 1.0}
    assert (result.astype(bool) == greedy(overlaps)).all()


def test_suppression_follows_the_longest_possible_chain() -> None:
    chain = torch.diag(torch.ones(99), diagonal=1)
    assert suppress(chain).tolist() == [float(i % 2 == 0) for i in range(100)]


@pytest.mark.parametrize(
    ("first", "second", "forward", "backward"),
    [
        ([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0], True, True),  # IoU 0.75
        ([1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], True, False),  # the second lies in the first
        ([1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0], False, False),  # a little common
        ([0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], False, False),  # an empty mask
    ],
)
def test_a_mask_suppresses_by_overlap_and_by_containing(
    first: list[int], second: list[int], forward: bool, backward: bool
) -> None:
    overlaps = mask_overlaps(torch.tensor([first, second]).float(), 0.5, 0.8)
    assert [bool(overlaps[0, 1]), bool(overlaps[1, 0])] == [forward, backward]


def test_locations_that_are_the_best_around_come_first() -> None:
    finer = [[0.9, 0.8, 0.1], [0.2, 0.3, 0.1], [0.1, 0.1, 0.6]]
    coarser = [[0.7, 0.7]]
    quality = torch.tensor([*np.ravel(finer), *np.ravel(coarser)], dtype=torch.float32)
    expected = [0.9, 0.4, 0.05, 0.1, 0.15, 0.05, 0.05, 0.05, 0.6, 0.7, 0.7]  # the last two are equally good
    assert preference(quality, [(3, 3), (1, 2)]).tolist() == pytest.approx(expected)


def weight_bytes(proto: onnx.ModelProto) -> int:
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in proto.graph.initializer)


def test_weights_stored_as_half_change_little_and_shrink_the_file(graph: bytes) -> None:
    whole, half = onnx.load_from_string(graph), onnx.load_from_string(graph)
    store_weights_as_half(half)
    assert weight_bytes(half) < 0.7 * weight_bytes(whole)
    results = [
        run(onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]), *scene(96, 128))
        for m in (whole, half)
    ]
    np.testing.assert_allclose(results[0][1], results[1][1], atol=5e-3)


def test_a_weight_beyond_half_precision_is_refused(graph: bytes) -> None:
    proto = onnx.load_from_string(graph)
    large = next(t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.dims[0:1] == [169])
    large.CopyFrom(onnx.numpy_helper.from_array(np.full(list(large.dims), 1e6, np.float32), large.name))
    with pytest.raises(ValueError, match="float16 cannot"):
        store_weights_as_half(proto)


def test_the_file_describes_itself_and_a_changed_byte_is_noticed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.onnx"
    description = ModelDescription(name="test", version="7", score_threshold=0.4)
    assert export_checkpoint(checkpoint, path, description, DECODING, commit="abc") is None
    assert path.stat().st_size < 15e6
    info = read_model_info(path)
    assert (info.name, info.version, info.class_names, info.score_threshold) == ("test", "7", ("object",), 0.4)
    metadata = read_metadata(path.read_bytes())
    assert json.loads(metadata["trained_on"]) == {
        "steps": 5,
        "commit": "abc",
        "store_seed": 3,
        "frames": 7,
        "seed": 1,
    }
    assert set(json.loads(metadata["input_contract"])) == {"depth_m", "intrinsics", "color_rgb"}
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError):
        read_model_info(path)


@pytest.mark.parametrize("mask_head", MASK_HEADS)
def test_a_trained_network_is_written_in_8_bits(mask_head: str, small_config: CondInstConfig, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(random_network(replace(small_config, mask_head=mask_head)))
    depth_m, intrinsics, color_rgb = scene(96, 128)
    camera = Intrinsics(128, 96, *intrinsics.tolist())
    frames = [RgbdFrame(color_rgb, depth_m * np.float32(scale), camera) for scale in (0.8, 0.9, 1.0, 1.1)]
    path = tmp_path / "int8.onnx"
    agreed = export_checkpoint(checkpoint, path, ModelDescription(), DECODING, commit="", calibration=frames)
    assert agreed is not None
    export_checkpoint(checkpoint, tmp_path / "float.onnx", ModelDescription(), DECODING, commit="")
    assert read_model_info(path).quantised_from == read_model_info(tmp_path / "float.onnx").digest
    assert is_in_8_bits(path) and not is_in_8_bits(tmp_path / "float.onnx")
    with pytest.raises(ValueError, match="in 8 bits already"):
        in_8_bits(path.read_bytes(), frames)
    metadata = read_metadata(path.read_bytes())
    origin = json.loads(metadata["trained_on"])
    assert origin["calibration_frames"] == 2
    assert origin["agreement_with_float"] == dataclasses.asdict(agreed)
    assert NETWORK_KEY not in metadata
    assert mask_head_of(metadata) == mask_head_of(read_metadata((tmp_path / "float.onnx").read_bytes())) == mask_head
    graph = onnx.load(path).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    quantised = {
        node.name: makers.get(node.input[1]) == "DequantizeLinear" for node in graph.node if node.op_type == "Conv"
    }
    assert quantised["/model/fpn/output.0/Conv"]
    assert not any(value for name, value in quantised.items() if "/stem/" in name or "controller" in name)
    network = load_cpu_network("onnxruntime", path, SegmentationSettings(threads=1))
    assert np.isfinite(network(network.sample_inputs((120, 160))).scores).all()


@pytest.mark.usefixtures("without_tensorrt")
def test_the_command_writes_a_model_file_in_8_bits(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    depth_m, intrinsics, color_rgb = scene(96, 128)
    for index in range(2):
        frame = RgbdFrame(color_rgb, depth_m, Intrinsics(128, 96, *intrinsics.tolist()))
        write_capture(tmp_path / "captures" / str(index), frame)
    export_checkpoint(checkpoint, tmp_path / "m.onnx", ModelDescription(version="7"), DECODING, commit="")
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    arguments = ["--model", str(tmp_path / "m.onnx"), "--out", str(tmp_path / "m_int8.onnx")]
    assert export.run(parser.parse_args([*arguments, "--int8", str(tmp_path / "captures")])) == 0
    assert read_model_info(tmp_path / "m_int8.onnx").version == "7"
    assert "the float network found nothing in the frames" in capsys.readouterr().out  # its weights are random
    assert {form.in_8_bits for form in cpu_forms(tmp_path / "m.onnx")} == {False, True}
    with pytest.raises(InputError, match="give --int8 FRAMES"):
        export.run(parser.parse_args(arguments))


def test_two_exports_of_one_checkpoint_have_one_digest(checkpoint: Checkpoint, tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        export_checkpoint(checkpoint, tmp_path / name, ModelDescription(version=name), DECODING, commit="")
        digests.append(read_model_info(tmp_path / name).digest)
    assert digests[0] == digests[1]


def test_class_names_must_fit_the_network(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 class names for a network of 1 classes"):
        export_checkpoint(checkpoint, tmp_path / "x", ModelDescription(class_names=("a", "b")), DECODING, commit="")


@pytest.mark.parametrize(
    ("values", "message"),
    [({"max_instances": 200}, "max_instances"), ({"overlap_threshold": 1.5}, "overlap_threshold")],
)
def test_impossible_decoding_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodingSettings(**values)


def test_the_command_exports_a_checkpoint(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(checkpoint, tmp_path / "checkpoint.pt")
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    arguments = ["--checkpoint", str(tmp_path / "checkpoint.pt"), "--out", str(tmp_path / "m.onnx"), "--version", "9"]
    assert export.run(parser.parse_args(arguments)) == 0
    assert read_model_info(tmp_path / "m.onnx").version == "9"
    assert "step 5" in capsys.readouterr().out


def test_a_threshold_that_users_of_the_file_would_refuse_is_refused_before_it_is_written(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(checkpoint, tmp_path / "checkpoint.pt")
    (tmp_path / "m.onnx").write_text("the file before")
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    for value in ("1.5", "-0.1", "nan"):
        arguments = ["--checkpoint", str(tmp_path / "checkpoint.pt"), "--out", str(tmp_path / "m.onnx")]
        with pytest.raises(InputError, match=r"score_threshold must be in \[0, 1\]"):
            export.run(parser.parse_args([*arguments, f"--score-threshold={value}"]))
    assert (tmp_path / "m.onnx").read_text() == "the file before"
