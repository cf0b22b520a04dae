from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.batched import color_camera, depth_sensor
from instance_seg_ros.learning.datasets.batched.camera import BatchCamera
from instance_seg_ros.learning.datasets.batched.draws import Draws, masked_quantile
from instance_seg_ros.learning.datasets.misregistration import MisregistrationSettings, misregister
from instance_seg_ros.learning.datasets.photometric import PhotometricSettings
from instance_seg_ros.learning.datasets.prints import PrintSettings
from instance_seg_ros.learning.datasets.scene_frames import SceneFrames
from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID, Batch, FrameDataset, collate
from instance_seg_ros.learning.synthetic.sensors import sensor
from instance_seg_ros.learning.synthetic.store import open_store

STEADY = AugmentationSettings(
    flip_probability=0.0,
    crop_probability=0.0,
    letterbox_probability=0.0,
    color_drop_probability=0.0,
    depth_drop_probability=0.0,
)


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(count, torch.Generator().manual_seed(seed))


def camera(augmentation: AugmentationSettings = STEADY) -> BatchCamera:
    return BatchCamera(augmentation, PrintSettings(), MisregistrationSettings(), PhotometricSettings())


def batches(store: Path, count: int, clean: bool, settings: AugmentationSettings = STEADY) -> Batch:
    data = FrameDataset(SceneFrames(open_store(store)), settings, (96, 128), count, 0, clean)
    return collate([data[(0, slot)] for slot in range(count)])


def seen(batch: Batch, seed: int = 0, augmentation: AugmentationSettings = STEADY) -> Batch:
    return camera(augmentation)(batch, torch.Generator().manual_seed(seed))


def scenes(count: int) -> torch.Tensor:
    """(count, 96, 128) tilted tables with boxes on them and a hole."""
    rng = np.random.default_rng(1)
    depth_m = np.linspace(0.8, 1.6, 96, dtype=np.float32)[None, :, None].repeat(count, 0).repeat(128, 2)
    for picture in depth_m:
        for _ in range(5):
            top, left = rng.integers(0, 80), rng.integers(0, 100)
            picture[top : top + 20, left : left + 26] -= np.float32(rng.uniform(0.02, 0.3))
    depth_m[:, 40:50, 60:70] = 0
    return torch.from_numpy(depth_m)


def test_the_same_seed_gives_the_same_pictures_and_another_one_others(tiny_color_store: Path) -> None:
    clean = batches(tiny_color_store, 4, clean=True)
    first, same, other = seen(clean, 1), seen(clean, 1), seen(clean, 2)
    assert torch.equal(first.depth_m, same.depth_m)
    assert torch.equal(first.color_rgb, same.color_rgb)
    assert not torch.equal(first.depth_m, other.depth_m)
    assert not torch.equal(first.color_rgb, other.color_rgb)
    assert first.behind_m is None


def test_pictures_are_distributed_as_those_of_the_cameras_of_the_cpu(tiny_color_store: Path) -> None:
    count = 192
    on_device = seen(batches(tiny_color_store, count, clean=True))
    on_cpu = batches(tiny_color_store, count, clean=False)
    assert torch.equal(on_device.ids, on_cpu.ids)
    facts = []
    for batch in (on_device, on_cpu):
        missing = (batch.depth_m[:, 0] == 0).float().mean(dim=(1, 2))
        error = torch.where(batch.depth_m > 0, batch.depth_m / batches_depth(tiny_color_store, count) - 1, torch.nan)
        color = batch.color_rgb.float()
        facts.append(
            {
                "missing": missing.mean(),
                "missing in some": missing.quantile(0.9),
                "depth error": error.abs().flatten().nanmedian(),
                "brightness": color.mean() / 255,
                "contrast": color.std(dim=(1, 2, 3)).mean() / 255,
                "sharpness": (color[:, :, :, 1:] - color[:, :, :, :-1]).abs().mean() / 255,
            }
        )
    for name, tolerance in {
        "missing": 0.05,
        "missing in some": 0.12,
        "depth error": 0.002,
        "brightness": 0.04,
        "contrast": 0.04,
        "sharpness": 0.006,
    }.items():
        assert float(facts[0][name]) == pytest.approx(float(facts[1][name]), abs=tolerance), name


def batches_depth(store: Path, count: int) -> torch.Tensor:
    return batches(store, count, clean=True).depth_m


def test_a_perfect_camera_changes_nothing() -> None:
    depth_m = scenes(2)
    perfect = torch.tensor([sensor.camera_vector(sensor.SensorSettings())] * 2)
    nothing = torch.zeros_like(depth_m)
    ids = torch.zeros(depth_m.shape, dtype=torch.uint8)
    result = depth_sensor.measured_depth(depth_m, nothing, ids, torch.full((2,), 120.0), perfect, draws(2))
    torch.testing.assert_close(result, depth_m)


def test_what_is_seen_at_a_flat_angle_is_lost_and_the_edge_of_what_faces_the_camera_is_not() -> None:
    away_m = 1 / torch.linspace(1 / 3, 2, 96)[:, None].repeat(1, 128)  # a table that goes from 3 m to half a metre
    facing_m = torch.ones(96, 128)
    facing_m[32:64, 48:80] = 0.6
    depth_m = torch.stack((away_m, facing_m))
    flat = torch.tensor([sensor.camera_vector(sensor.SensorSettings(grazing_tan=4.0))] * 2)
    nothing, ids = torch.zeros_like(depth_m), torch.zeros(depth_m.shape, dtype=torch.uint8)
    lost = depth_sensor.measured_depth(depth_m, nothing, ids, torch.full((2,), 112.0), flat, draws(2)) == 0
    assert lost[0, :8].float().mean() > 0.5
    assert lost[0, -24:].float().mean() < 0.01
    assert not lost[1].any()


@pytest.mark.parametrize("focal_baseline", [8.0, -8.0, 0.0])
def test_the_projectors_shadow_is_that_of_the_cpu(focal_baseline: float) -> None:
    depth_m = scenes(3)
    lost = depth_sensor._projector_shadow(depth_m, torch.full((3, 1, 1), focal_baseline))
    for picture, expected in zip(depth_m, lost, strict=True):
        np.testing.assert_array_equal(sensor._projector_shadow(picture.numpy(), focal_baseline), expected.numpy())


def test_depth_steps_are_those_of_the_cpu() -> None:
    depth_m = scenes(3)
    filled = torch.where(depth_m > 0, depth_m, 20.0)
    near, far = -depth_sensor._largest(-filled), depth_sensor._largest(filled)
    steps = depth_sensor._steps(depth_m, near, far, torch.full((3, 1, 1), 0.02))
    for index, picture in enumerate(depth_m.numpy()):
        expected = sensor._steps(picture, near[index].numpy(), far[index].numpy(), 0.02)
        np.testing.assert_array_equal(steps[index].numpy(), expected)


def test_the_distance_to_marked_pixels_is_nearly_that_of_the_plane() -> None:
    marked = torch.zeros(1, 40, 40, dtype=torch.bool)
    marked[0, 20, 20] = True
    exact = cv2.distanceTransform((~marked[0]).numpy().astype(np.uint8), cv2.DIST_L2, 5)
    near = exact < 7
    np.testing.assert_allclose(depth_sensor._distance(marked, 8)[0].numpy()[near], exact[near], atol=1.1)


def test_the_median_removes_single_pixels_and_keeps_steps() -> None:
    depth_m = torch.ones(1, 20, 20)
    depth_m[:, :, 10:] = 2.0
    stained = depth_m.clone()
    stained[0, 5, 5], stained[0, 12, 14] = 9.0, 0.5
    assert torch.equal(depth_sensor._median(stained), depth_m)


def test_foreground_spreads_by_at_most_the_width_to_each_side() -> None:
    depth_m = torch.full((4, 40, 40), 2.0)
    depth_m[:, 15:25, 15:25] = 1.0
    fat = depth_sensor._fattened(depth_m, torch.full((4, 1, 1), 2.0), torch.full((4, 1, 1), 0.02), 1.0, draws(4))
    sides = (fat == 1).sum(dim=(1, 2)).float().sqrt()
    assert ((sides > 10) & (sides <= 18)).all()
    assert torch.equal(fat[:, :11], depth_m[:, :11])


def test_a_masked_quantile_is_that_of_the_pixels_that_count() -> None:
    values = torch.arange(64.0).view(1, 8, 8).repeat(2, 1, 1)
    counts = values < 32
    counts[1] = False
    quantile = masked_quantile(values, counts, torch.full((2, 1, 1), 0.5), every=1)
    assert quantile.flatten().tolist() == [15, torch.inf]


def test_prints_end_at_outlines_and_leave_ignored_pixels_alone() -> None:
    ids = torch.zeros(8, 64, 64, dtype=torch.uint8)
    ids[:, 10:30, 10:30], ids[:, 40:60, 40:60] = 1, IGNORE_ID
    boxes = torch.tensor([[[10.0, 10.0, 30.0, 30.0]]]).repeat(8, 1, 1)
    everywhere = PrintSettings(probability=1.0, object_probability=1.0, background_probability=0.0)
    painted = color_camera.printed(torch.full((8, 3, 64, 64), 128.0), ids, boxes, draws(8), everywhere)
    changed = (painted != 128).any(dim=1)
    assert not changed[ids != 1].any()
    assert changed[ids == 1].float().mean() > 0.3
    covered = color_camera.printed(
        torch.full((8, 3, 64, 64), 128.0), ids, boxes, draws(8), replace(everywhere, background_probability=1.0)
    )
    assert ((covered != 128).any(dim=1) & (ids == 0)).any()
    assert not ((covered != 128).any(dim=1) & (ids == IGNORE_ID)).any()


def test_colour_moves_as_on_the_cpu_and_stays_where_depth_is_missing() -> None:
    across, down = torch.meshgrid(torch.arange(128.0), torch.arange(96.0), indexing="xy")
    ramps = torch.stack((across, down, across)).repeat(64, 1, 1, 1)
    measured = torch.ones(64, 96, 128, dtype=torch.bool)
    measured[:, :, :30] = False
    settings = MisregistrationSettings(probability=1.0, largest_share=0.04)
    moved = color_camera.misregistered(ramps, measured, draws(64), settings)
    assert torch.allclose(moved[:, :, :, 2:20], ramps[:, :, :, 2:20], atol=1e-3)
    shift_px = ramps[:, :2, 40, 90] - moved[:, :2, 40, 90]
    assert shift_px.abs().max() <= 5.12
    assert shift_px.std(dim=0).tolist() == pytest.approx([5.12 / 3**0.5] * 2, rel=0.2)
    image = ramps[0].permute(1, 2, 0).byte().numpy()
    expected = misregister(image, measured[0].numpy(), tuple(shift_px[0].round().tolist()))[40]
    np.testing.assert_allclose(moved[0, :, 40, 5:120].T, expected[5:120], atol=1.5)


def textured(count: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(0)
    smooth = [cv2.GaussianBlur(rng.uniform(0, 255, (96, 128, 3)), (0, 0), 2.5) for _ in range(count)]
    stretched = [np.clip(128 + 4 * (picture - 128), 0, 255).round() for picture in smooth]
    return torch.from_numpy(np.stack(stretched)).permute(0, 3, 1, 2).float().contiguous()


@pytest.mark.parametrize("quality", [35, 60, 90])
def test_compression_comes_near_that_of_a_jpeg_library(quality: int) -> None:
    color = textured()
    mine = color_camera._compressed(color, torch.full((2, 1, 1, 1), float(quality)))
    for picture, restored in zip(color, mine, strict=True):
        bgr = picture.permute(1, 2, 0).byte().numpy()[..., ::-1]
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        judge = torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy()).permute(2, 0, 1).float()
        assert (restored - judge).abs().mean() < 0.5 * (judge - picture).abs().mean() + 0.7
        assert (restored - picture).abs().mean() == pytest.approx(float((judge - picture).abs().mean()), rel=0.15)


def test_a_colour_filter_array_is_that_of_the_cpu() -> None:
    color = textured()
    mine = color_camera._through_filter_array(color)
    for picture, restored in zip(color, mine, strict=True):
        image = picture.permute(1, 2, 0).byte().numpy()
        mosaic = image[..., 1].copy()
        mosaic[::2, ::2], mosaic[1::2, 1::2] = image[::2, ::2, 0], image[1::2, 1::2, 2]
        judge = cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB)
        inside = restored.permute(1, 2, 0).numpy()[2:-2, 2:-2]
        np.testing.assert_allclose(inside, judge[2:-2, 2:-2], atol=1)


def test_no_faults_leave_a_picture_as_it_is() -> None:
    calm = PhotometricSettings(
        **dict.fromkeys(("exposure", "gamma", "contrast", "white_balance", "saturation", "hue"), 0.0),
        **dict.fromkeys(
            (
                f"{name}_probability"
                for name in ("grey", "shuffle", "vignette", "blur", "noise", "bayer", "sharpen", "jpeg")
            ),
            0.0,
        ),
    )
    color = textured()
    torch.testing.assert_close(color_camera.degraded(color, draws(2), calm), color, atol=1.0, rtol=0)


@pytest.mark.parametrize(
    ("color_drop", "depth_drop", "color_left", "depth_left"),
    [(0.0, 0.0, True, True), (1.0, 0.0, False, True), (0.0, 1.0, True, False), (1.0, 1.0, False, True)],
)
def test_a_frame_loses_its_colour_or_its_depth_but_never_both(
    tiny_color_store: Path, color_drop: float, depth_drop: float, color_left: bool, depth_left: bool
) -> None:
    settings = replace(STEADY, color_drop_probability=color_drop, depth_drop_probability=depth_drop)
    result = seen(batches(tiny_color_store, 4, clean=True), augmentation=settings)
    assert result.color_rgb.flatten(1).any(dim=1).tolist() == [color_left] * 4
    assert result.depth_m.flatten(1).any(dim=1).tolist() == [depth_left] * 4


def test_without_colour_objects_without_depth_are_ignored(tiny_color_store: Path) -> None:
    clean = batches(tiny_color_store, 4, clean=True)
    clean.depth_m[:, 0][clean.ids == 1] = 0
    blind = seen(clean, augmentation=replace(STEADY, color_drop_probability=1.0))
    assert (blind.ids[clean.ids == 1] == IGNORE_ID).float().mean() > 0.9  # but for what a sensor's faults reach
    assert not blind.boxes_xyxy[:, 0].any()
    sighted = seen(clean)
    assert torch.equal(sighted.ids, clean.ids)
    assert torch.equal(sighted.boxes_xyxy, clean.boxes_xyxy)


def test_a_store_without_colour_stays_without(tiny_store: Path) -> None:
    assert not seen(batches(tiny_store, 2, clean=True)).color_rgb.any()
