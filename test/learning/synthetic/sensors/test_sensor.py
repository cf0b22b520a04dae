from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS, SensorSettings, preset, simulate_depth

FX = 280.0


def measure(depth_m: NDArray[np.float32], seed: int = 0, **defects: float) -> NDArray[np.float32]:
    return simulate_depth(depth_m, FX, np.random.default_rng(seed), SensorSettings(**defects))


@pytest.fixture
def wall() -> NDArray[np.float32]:
    return np.full((240, 320), 1.0, np.float32)


@pytest.fixture
def box_before_wall(wall: NDArray[np.float32]) -> NDArray[np.float32]:
    wall[80:160, 120:200] = 0.6
    return wall


@pytest.fixture
def slope() -> NDArray[np.float32]:
    """A table seen at 12 degrees of elevation: depth runs from 0.5 to 3 m."""
    rows = np.arange(240, dtype=np.float32)[:, None]
    return np.repeat(1.0 / (1.0 / 3.0 + (1.0 / 0.5 - 1.0 / 3.0) * rows / 239), 320, axis=1).astype(np.float32)


def test_a_perfect_camera_changes_nothing(box_before_wall: NDArray[np.float32]) -> None:
    before = box_before_wall.copy()
    np.testing.assert_array_equal(measure(box_before_wall), before)


def test_the_same_state_gives_the_same_image_and_the_input_stays(box_before_wall: NDArray[np.float32]) -> None:
    before = box_before_wall.copy()
    for name in PRESETS:
        first, second = (simulate_depth(box_before_wall, FX, np.random.default_rng(3), PRESETS[name]) for _ in range(2))
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(box_before_wall, before)


def test_the_shadow_lies_on_one_side_and_is_as_wide_as_the_disparities_differ(
    box_before_wall: NDArray[np.float32],
) -> None:
    lost = measure(box_before_wall, baseline_m=0.06) == 0
    expected = 280 * 0.06 * (1 / 0.6 - 1 / 1.0)
    assert lost[120, :120].sum() == pytest.approx(expected, abs=1.5)
    assert not lost[120, 120:].any()
    assert not lost[20].any()


def test_a_negative_baseline_casts_the_shadow_on_the_other_side(box_before_wall: NDArray[np.float32]) -> None:
    lost = measure(box_before_wall, baseline_m=-0.06) == 0
    assert lost[120, 200:].any()
    assert not lost[120, :200].any()


def test_near_surfaces_spread_over_far_ones_by_the_stated_width_and_never_shrink(
    box_before_wall: NDArray[np.float32],
) -> None:
    near_px = [
        np.count_nonzero(measure(box_before_wall, seed, fattening_px=1.5)[120] == np.float32(0.6)) for seed in range(50)
    ]
    assert min(near_px) >= 80
    assert np.mean(near_px) == pytest.approx(80 + 2 * 1.5, abs=0.6)
    assert set(np.unique(measure(box_before_wall, fattening_px=1.5))) == {np.float32(0.6), np.float32(1.0)}


def test_fattening_does_not_bend_a_flat_surface(wall: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(measure(wall, fattening_px=2.0), wall)


def test_holes_follow_depth_steps_and_nothing_else(box_before_wall: NDArray[np.float32]) -> None:
    rows, columns = np.nonzero(measure(box_before_wall, edge_hole_px=3.0) == 0)
    assert len(rows) > 500
    inside = (np.abs(rows - 119.5) < 25) & (np.abs(columns - 159.5) < 25)
    outside = (np.abs(rows - 119.5) > 55) | (np.abs(columns - 159.5) > 55)
    assert not inside.any()
    assert not outside.any()


def test_a_steep_table_is_no_depth_step(slope: NDArray[np.float32]) -> None:
    assert (measure(slope, edge_hole_px=3.0) > 0).all()


def test_grazing_surfaces_lose_returns_where_they_are_steepest(slope: NDArray[np.float32]) -> None:
    lost = measure(slope, grazing_tan=4.0) == 0
    assert lost[:20].mean() > 0.5
    assert lost[-60:].mean() < 0.01


def test_flying_pixels_lie_between_the_two_sides(box_before_wall: NDArray[np.float32]) -> None:
    measured = measure(box_before_wall, flying_probability=1.0)
    flying = (measured != np.float32(0.6)) & (measured != np.float32(1.0))
    assert flying.sum() > 300
    assert measured[flying].min() >= 0.6
    assert measured[flying].max() <= 1.0


@pytest.mark.parametrize("defect", ["white_noise", "smooth_noise"])
def test_noise_grows_with_the_square_of_depth(wall: NDArray[np.float32], defect: str) -> None:
    near, far = ((measure(z * wall, 0, **{defect: 0.002}) - z).std() for z in (1.0, 2.0))
    assert far / near == pytest.approx(4.0, rel=0.05)


def test_white_noise_has_the_stated_size(wall: NDArray[np.float32]) -> None:
    assert (measure(wall, white_noise=0.002) - 1).std() == pytest.approx(0.002, rel=0.05)


def test_quantised_depth_has_steps_that_grow_with_the_square_of_depth() -> None:
    ramp = np.linspace(0.5, 2.0, 240 * 320, dtype=np.float32).reshape(240, 320)
    values = np.unique(measure(ramp, quantum=0.003))
    steps = np.diff(values)
    assert steps[np.searchsorted(values, 1.0)] == pytest.approx(0.003, rel=0.05)
    assert steps[np.searchsorted(values, 1.9)] == pytest.approx(0.003 * 1.9**2, rel=0.05)


def test_the_scale_error_is_one_factor_for_the_frame(box_before_wall: NDArray[np.float32]) -> None:
    ratio = measure(box_before_wall, scale_error=0.02) / box_before_wall
    assert np.ptp(ratio) < 1e-6
    assert 0.9 < ratio[0, 0] < 1.1
    assert ratio[0, 0] != 1.0


def test_warped_pixels_keep_depths_that_exist(box_before_wall: NDArray[np.float32]) -> None:
    measured = measure(box_before_wall, warp_px=2.0, jitter_px=1.0, shift_px=1.0)
    assert set(np.unique(measured)) == {np.float32(0.6), np.float32(1.0)}
    changed = measured != box_before_wall
    assert changed.any()
    assert not changed[110:130, 150:170].any()


def test_depth_beyond_the_range_is_lost(box_before_wall: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(measure(box_before_wall, max_range_m=0.8) == 0, box_before_wall == 1.0)


def test_losses_take_the_stated_share(wall: NDArray[np.float32]) -> None:
    share = np.mean([(measure(wall, seed=s, patch_losses=0.1) == 0).mean() for s in range(60)])
    assert share == pytest.approx(0.1, abs=0.04)
    assert (measure(wall, speckle=0.01) == 0).mean() == pytest.approx(0.01, rel=0.1)


def test_a_lossy_surface_ends_at_depth_steps(wall: NDArray[np.float32]) -> None:
    wall[:, 160:] = 2.0
    lost = [measure(wall, seed=s, surface_losses=1.0) == 0 for s in range(40)]
    assert any(left.any() != right.any() for left, right in ((image[:, :160], image[:, 160:]) for image in lost))


def test_crops_leave_part_of_the_image(box_before_wall: NDArray[np.float32]) -> None:
    shares = [(measure(box_before_wall, seed=s, crop_probability=1.0) > 0).mean() for s in range(20)]
    assert min(shares) > 0.02
    assert min(shares) < 0.9


def test_pixel_sizes_scale_with_the_image() -> None:
    image = np.full((480, 640), 1.0, np.float32)
    image[160:320, 240:400] = 0.6
    small = measure(image[::2, ::2].copy(), edge_hole_px=2.0) == 0
    large = measure(image, edge_hole_px=2.0) == 0
    assert large.sum() / small.sum() == pytest.approx(4.0, rel=0.35)


def left_edges(factor: int, seeds: int, **defects: float) -> NDArray[np.floating]:
    """(seeds, 120 * factor): how far the left edge of a box lies right of where it is, row by row.

    The image is 320 * factor wide.
    """
    image = np.full((240 * factor, 320 * factor), 1.0, np.float32)
    image[40 * factor : 200 * factor, 120 * factor : 200 * factor] = 0.6
    near = np.stack([measure(image, seed, **defects) == np.float32(0.6) for seed in range(seeds)])
    inner = near[:, 60 * factor : 180 * factor]  # rows that no shift moves out of the box
    return inner.argmax(axis=2) - 120.0 * factor


@pytest.mark.parametrize("factor", [1, 2])
def test_a_shift_is_that_of_the_whole_image_in_pixels_of_one_320_wide(factor: int) -> None:
    edges = left_edges(factor, 60, shift_px=2.0)
    assert np.ptp(edges, axis=1).max() == 0
    assert edges[:, 0].std() == pytest.approx(2.0 * factor, rel=0.25)


def test_a_warp_moves_neighbours_alike_by_about_the_stated_pixels_of_an_image_320_wide() -> None:
    edges = {factor: left_edges(factor, 25, warp_px=3.0) for factor in (1, 2)}
    for factor, moved_px in edges.items():
        assert 0.5 < moved_px.std() / (3.0 * factor) < 1.5
        assert np.abs(np.diff(moved_px, axis=1)).mean() < 0.3
    assert edges[2].std() / edges[1].std() == pytest.approx(2, rel=0.3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 1), (5, 7), (48, 64), (240, 320)]))
def test_any_sampled_camera_gives_finite_depth_of_the_same_shape(seed: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    depth_m = rng.uniform(0.2, 5.0, shape).astype(np.float32)
    depth_m[rng.random(shape) < 0.2] = 0.0
    measured = simulate_depth(depth_m, FX, rng, SensorSettings.sample(rng))
    assert measured.shape == shape
    assert measured.dtype == np.float32
    assert np.isfinite(measured).all()
    assert (measured >= 0).all()


def test_nothing_stays_nothing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        measured = simulate_depth(np.zeros((60, 80), np.float32), FX, rng, SensorSettings.sample(rng))
        assert not measured.any()


def test_severe_losses_are_the_exception(box_before_wall: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(0)
    lost = [(simulate_depth(box_before_wall, FX, rng, SensorSettings.sample(rng)) == 0).mean() for _ in range(300)]
    assert 0.05 < np.mean(np.array(lost) > 0.3) < 0.25


def test_impossible_settings_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="speckle must be between 0 and 1, not 2"):
        SensorSettings(speckle=2.0)
    with pytest.raises(ValueError, match="no sensor named 'lidar'; choose one of ideal, structured_light"):
        preset("lidar")


def test_a_preset_takes_single_changes() -> None:
    assert preset("structured_light", baseline_m=0.0) != PRESETS["structured_light"]
    assert preset("ideal") == SensorSettings()


def behind(value_m: float) -> NDArray[np.float32]:
    """A clear or mirroring thing in front of a wall."""
    behind_m = np.zeros((240, 320), np.float32)
    behind_m[80:160, 120:200] = value_m
    return behind_m


@pytest.mark.parametrize(("value_m", "among"), [(1.0, {0.0, 0.6, 1.0}), (np.inf, {0.0, 0.6})])
def test_clear_things_measure_themselves_nothing_or_what_is_behind(
    box_before_wall: NDArray[np.float32], value_m: float, among: set[float]
) -> None:
    missed = []
    for seed in range(20):
        found = simulate_depth(
            box_before_wall, FX, np.random.default_rng(seed), SensorSettings(see_through=1.0), behind(value_m)
        )
        assert {round(float(value), 4) for value in np.unique(found[80:160, 120:200])} <= among
        np.testing.assert_array_equal(found[:80], box_before_wall[:80])
        missed.append((found[80:160, 120:200] != np.float32(0.6)).mean())
    assert 0.5 < np.mean(missed) < 0.8
    assert max(missed) > 0.9


def test_a_perfect_camera_measures_clear_things_where_they_are(box_before_wall: NDArray[np.float32]) -> None:
    found = simulate_depth(box_before_wall, FX, np.random.default_rng(0), SensorSettings(), behind(1.0))
    np.testing.assert_array_equal(found, box_before_wall)


def test_frames_without_clear_things_are_measured_alike_whether_that_is_known_or_not(
    box_before_wall: NDArray[np.float32],
) -> None:
    settings = PRESETS["structured_light"]
    known, unknown = (
        simulate_depth(box_before_wall, FX, np.random.default_rng(5), settings, behind_m)
        for behind_m in (np.zeros_like(box_before_wall), None)
    )
    np.testing.assert_array_equal(known, unknown)
