"""Geometry by PyTorch against that by NumPy: each operation, whole frames, and frames that hold nothing.

PyTorch computes on the CPU here, as it would on a GPU, with its own default device set to one that has no values: a
tensor that is made without saying where would end up there and fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instance_seg_ros.compute import ComputeChoice, NumpyCompute
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.config import GraspingSettings, GripperSettings, LiftingSettings
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.files.captures import read_capture
from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.learning.synthetic.analytic import AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.lifting import Instance3D, LiftedFrame, Lifter

torch = pytest.importorskip("torch")

from instance_seg_ros.compute.torch_compute import TorchCompute  # noqa: E402 (it imports torch)

REAL_RGBD = Path(__file__).parents[3] / "shared" / "data" / "real_rgbd"
NUMPY = NumpyCompute()
WITHIN_M = 0.001
SMALL = Intrinsics(48, 36, 45.0, 45.0, 23.5, 17.5)


@pytest.fixture(scope="module", autouse=True)
def _no_default_device() -> Iterator[None]:
    with torch.device("meta"):
        yield


@pytest.fixture(scope="module")
def compute() -> TorchCompute:
    return TorchCompute("cpu")


def test_it_says_what_computes_and_where(compute: TorchCompute) -> None:
    assert compute.name == f"PyTorch {torch.__version__} on the CPU"


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
def test_the_median_is_that_of_the_named_values(compute: TorchCompute, count: int) -> None:
    rng = np.random.default_rng(count)
    values = rng.random((2, 9)).astype(np.float32)
    mask = rng.permuted(np.tile(np.arange(9) < count, (2, 1)), axis=1)
    expected = [np.median(own[named]) if count else 0 for own, named in zip(values, mask, strict=True)]
    assert NUMPY.median(values, mask).tolist() == expected
    assert compute.median(compute.array(values), compute.array(mask)).tolist() == expected


def test_true_places_are_those_with_so_many_before_them(compute: TorchCompute) -> None:
    mask = np.array([[False, True, True, False, True], [True, False, False, False, False]])
    ranks = np.array([[0, 2, 1], [0, 0, 0]])
    expected = [[1, 4, 2], [0, 0, 0]]
    assert NUMPY.true_places(mask, ranks).tolist() == expected
    assert compute.host(compute.true_places(compute.array(mask), compute.array(ranks))).tolist() == expected
    beyond = np.array([[3], [1]])
    for places in (
        NUMPY.true_places(mask, beyond),
        compute.host(compute.true_places(compute.array(mask), compute.array(beyond))),
    ):
        assert ((places >= 0) & (places < 5)).all()


def test_equal_values_keep_their_order(compute: TorchCompute) -> None:
    values = np.array([[0.5, 0.1, 0.5, 0.1, 0.3] * 20, [0.0] * 100])
    expected = np.argsort(values, axis=1, kind="stable").tolist()
    assert NUMPY.stable_order(values).tolist() == expected
    assert compute.host(compute.stable_order(compute.array(values))).tolist() == expected


@pytest.mark.parametrize("side_px", [1, 3, 7])
def test_images_grow_and_shrink_alike_with_nothing_taken_off_at_the_border(compute: TorchCompute, side_px: int) -> None:
    rng = np.random.default_rng(side_px)
    mask = rng.random((2, 12, 17)) > 0.2
    labels = rng.integers(0, 900, (12, 17)).astype(np.int16)
    for image in (mask, labels):
        grown = NUMPY.dilated(image, side_px)
        assert grown.dtype == image.dtype
        np.testing.assert_array_equal(compute.host(compute.dilated(compute.array(image), side_px)), grown)
    np.testing.assert_array_equal(
        compute.host(compute.eroded(compute.array(mask), side_px)), NUMPY.eroded(mask, side_px)
    )
    everything = np.ones((1, 5, 5), dtype=bool)
    assert NUMPY.eroded(everything, side_px).all()
    assert compute.host(compute.eroded(compute.array(everything), side_px)).all()


def test_moments_of_windows_are_sums_over_them(compute: TorchCompute) -> None:
    image = np.random.default_rng(0).random((2, 15, 11)).astype(np.float32)
    radii_px, powers_xy = [3, 5], ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    ours = NUMPY.window_moments(image, radii_px, powers_xy)
    theirs = compute.window_moments(compute.array(image), radii_px, powers_xy)
    for (p, q), own, other in zip(powers_xy, ours, theirs, strict=True):
        for row, radius_px in enumerate(radii_px):
            padded = np.pad(image[row], radius_px)
            window = padded[7 : 7 + 2 * radius_px + 1, 4 : 4 + 2 * radius_px + 1]
            offset = np.arange(-radius_px, radius_px + 1) / radius_px
            expected = (window * offset**p * (offset**q)[:, None]).sum()
            assert own[row][7, 4] == pytest.approx(expected, abs=1e-4)
        np.testing.assert_allclose(compute.host(other), np.stack(own), atol=1e-4)


def test_the_frames_arrays_are_uploaded_once_for_all_stages(compute: TorchCompute) -> None:
    frame = RgbdFrame(None, np.full((36, 48), 0.5, np.float32), SMALL)
    arrays = compute.frame(frame)
    assert compute.frame(frame) is arrays
    other = compute.frame(RgbdFrame(None, np.full((36, 48), 0.7, np.float32), SMALL))
    assert other is not arrays and other.rays is arrays.rays, "the rays are the camera's"
    np.testing.assert_array_equal(compute.host(other.depth_m), np.full((36, 48), 0.7, np.float32))


def results(
    frame: RgbdFrame, instances: Instances, compute: TorchCompute | None, **settings_: int
) -> tuple[LiftedFrame, tuple[InstanceGrasps, ...]]:
    choice = ComputeChoice(compute)
    lifted = Lifter(LiftingSettings(**settings_), choice).lift(frame, instances)  # type: ignore[arg-type]
    grasps = GraspSampler(GraspingSettings(), GripperSettings(), choice).sample(frame, lifted)
    assert choice.name == (NUMPY.name if compute is None else compute.name), "it failed, and NumPy took over"
    return lifted, grasps


def assert_alike(frame: RgbdFrame, instances: Instances, compute: TorchCompute, **settings_: int) -> tuple[int, int]:
    """Both give the same within 1 mm; returns how many boxes and grasps that were."""
    ours, our_grasps = results(frame, instances, None, **settings_)
    theirs, their_grasps = results(frame, instances, compute, **settings_)
    assert (ours.support_plane is None) == (theirs.support_plane is None)
    if ours.support_plane is not None and theirs.support_plane is not None:
        for instance in ours.instances:
            heights_m = [plane.height_m(instance.points_m) for plane in (ours.support_plane, theirs.support_plane)]
            np.testing.assert_allclose(*heights_m, atol=WITHIN_M)
    assert len(ours.instances) == len(theirs.instances) == len(instances)
    for own, other in zip(ours.instances, theirs.instances, strict=True):
        assert_instances_alike(own, other)
    for own_grasps, other_grasps in zip(our_grasps, their_grasps, strict=True):
        assert own_grasps.status == other_grasps.status
        assert len(own_grasps.grasps) == len(other_grasps.grasps)
        for own_grasp, other_grasp in zip(own_grasps.grasps, other_grasps.grasps, strict=True):
            np.testing.assert_allclose(own_grasp.contacts_m, other_grasp.contacts_m, atol=WITHIN_M)
            np.testing.assert_allclose(
                own_grasp.T_camera_grasp.rotation, other_grasp.T_camera_grasp.rotation, atol=1e-3
            )
            assert own_grasp.quality == pytest.approx(other_grasp.quality, abs=1e-3)
    boxes = sum(instance.box is not None for instance in ours.instances)
    return boxes, sum(len(grasps.grasps) for grasps in our_grasps)


def assert_instances_alike(own: Instance3D, other: Instance3D) -> None:
    np.testing.assert_array_equal(own.pixels, other.pixels)
    np.testing.assert_allclose(own.points_m, other.points_m, atol=WITHIN_M)
    assert (own.rejected, own.completion, own.status) == (other.rejected, other.completion, other.status)
    assert (own.box is None) == (other.box is None)
    if own.box is not None and other.box is not None:
        np.testing.assert_allclose(own.box.corners_m, other.box.corners_m, atol=WITHIN_M)
        for name in ("centroid_m", "surface_centroid_m"):
            np.testing.assert_allclose(getattr(own, name), getattr(other, name), atol=WITHIN_M)


BODIES: tuple[Body, ...] = (
    Box((0.12, 0.06, 0.05), upright(-0.12, 0.1, 0.025, 20)),
    Cylinder(0.03, 0.1, upright(0, 0, 0.05)),
    Sphere(0.035, upright(0.13, 0.06, 0.035)),
    Box((0.05, 0.05, 0.15), upright(0.08, -0.12, 0.075, 30)),
    Box((0.3, 0.25, 0.02), upright(-0.2, -0.2, 0.01, -20)),
)


@pytest.mark.parametrize(("seed", "elevation_deg", "distance_m"), [(0, 50, 0.7), (1, 30, 0.9), (2, 89, 0.6)])
def test_whole_frames_give_the_same_within_1_mm(
    compute: TorchCompute, seed: int, elevation_deg: float, distance_m: float
) -> None:
    frame, labels = AnalyticScene(BODIES, look_at((0, 0, 0.03), distance_m, elevation_deg)).render(0.0015, seed)
    boxes, grasps = assert_alike(frame, Instances.from_labels(labels), compute)
    assert boxes == 5 and grasps >= 20


def test_a_frame_without_a_support_plane_gives_the_same(compute: TorchCompute) -> None:
    view = look_at((0, 0, 0.03), 0.75, 70)
    frame, labels = AnalyticScene(BODIES[:3], view, table_size_m=(0.001, 0.001)).render(0.001)
    boxes, grasps = assert_alike(frame, Instances.from_labels(labels), compute)
    assert boxes == 3 and grasps >= 5


@pytest.mark.skipif(not REAL_RGBD.is_dir(), reason="no real captures beside the project")
def test_real_captures_give_the_same_within_1_mm(compute: TorchCompute) -> None:
    checked = 0
    for folder in sorted(path.parent for path in REAL_RGBD.glob("*/labels.png"))[::4]:
        capture = read_capture(folder)
        assert capture.labels is not None
        boxes, _ = assert_alike(capture.frame, Instances.from_labels(capture.labels), compute)
        checked += boxes
    assert checked >= 5


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_depth_and_any_masks_give_the_same(
    data: st.DataObject, any_scenes: st.SearchStrategy[tuple[RgbdFrame, Instances]]
) -> None:
    assert_alike(*data.draw(any_scenes), TorchCompute("cpu"), min_points=10)


@pytest.mark.parametrize(
    "masks",
    [
        [],
        [(slice(0, 0), slice(0, 0))],
        [(slice(0, 36), slice(0, 48))],
        [(slice(9, 10), slice(9, 10)), (slice(20, 36), slice(30, 48))],
        [(slice(0, 1), slice(0, 48)), (slice(5, 36), slice(47, 48)), (slice(0, 0), slice(0, 0))],
    ],
    ids=["none", "empty", "everything", "one pixel", "lines at the border and an empty one"],
)
@pytest.mark.parametrize("depth", ["nothing", "flat", "ramp"])
def test_frames_and_masks_that_hold_little_give_the_same(
    compute: TorchCompute, depth: str, masks: list[tuple[slice, slice]]
) -> None:
    images = {
        "nothing": np.zeros((36, 48)),
        "flat": np.full((36, 48), 0.5),
        "ramp": np.linspace(0.2, 5, 36 * 48).reshape(36, 48),
    }
    instances = Instances.empty(36, 48, ("object",))
    if masks:
        filled = np.zeros((len(masks), 36, 48), dtype=bool)
        for mask, place in zip(filled, masks, strict=True):
            mask[place] = True
        count = len(masks)
        boxes = np.tile(np.array([0, 0, 48, 36], np.float32), (count, 1))
        instances = Instances(filled, boxes, np.ones(count, np.float32), np.zeros(count, np.int64), ("object",))
    frame = RgbdFrame(None, images[depth].astype(np.float32), SMALL)
    assert_alike(frame, instances, compute, min_points=10)


def test_a_device_that_pytorch_does_not_have_is_refused() -> None:
    with pytest.raises(RuntimeError, match="nosuch"):
        TorchCompute("nosuch")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_a_gpu_gives_the_same_within_1_mm() -> None:
    frame, labels = AnalyticScene(BODIES, look_at((0, 0, 0.03), 0.7, 50)).render(0.0015)
    boxes, grasps = assert_alike(frame, Instances.from_labels(labels), TorchCompute("cuda"))
    assert boxes == 5 and grasps >= 20
