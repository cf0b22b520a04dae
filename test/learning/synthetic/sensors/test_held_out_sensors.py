from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.sensors.held_out_sensors import perlin_noise, published_noise

LEARNING = Path(__file__).parents[4] / "instance_seg_ros" / "learning"


def walls() -> list[np.ndarray]:
    return [published_noise(np.ones((240, 320), np.float32), np.random.default_rng(seed)) for seed in range(40)]


def test_training_never_sees_a_held_out_sensor() -> None:
    samples = [LEARNING / "datasets" / name for name in ("scene_frames.py", "training_samples.py")]
    for path in [*samples, *(LEARNING / "training").glob("*.py")]:
        assert "stereo" not in path.read_text(), path
        assert "held_out_sensors" not in path.read_text(), path


def test_the_scale_differs_by_3_percent_from_frame_to_frame() -> None:
    scales = [np.median(image[image > 0]) for image in walls()]
    assert np.mean(scales) == pytest.approx(1.0, abs=0.015)
    assert np.std(scales) == pytest.approx(np.sqrt(1 / 1000), rel=0.35)


def test_the_noise_does_not_grow_with_the_distance_and_stays_in_millimetres() -> None:
    for seed in range(8):
        near, far = (
            published_noise(np.full((240, 320), z, np.float32), np.random.default_rng(seed)) for z in (1.0, 4.0)
        )
        assert near[near > 0].std() < 0.006
        assert near[near > 0].std() == pytest.approx(far[far > 0].std(), rel=0.02)


def test_ellipses_are_lost_and_nothing_else() -> None:
    lost = [(image == 0).mean() for image in walls()]
    assert 0.001 < np.mean(lost) < 0.02


def test_edges_bend_but_stay_edges() -> None:
    depth_m = np.full((240, 320), 1.0, np.float32)
    depth_m[:, 160:] = 2.0
    bent = []
    for seed in range(20):
        measured = published_noise(depth_m, np.random.default_rng(seed))
        far = measured > 1.5 * np.median(measured[:, :100])
        inside = (measured > 1.2) & (measured < 1.6)
        assert not inside.any()
        bent.append(np.abs(far[:, 140:180].sum(axis=1) - 20).max())
    assert 1 <= np.mean(bent) <= 6  # up to 10 px at a width of 640


def test_the_same_state_gives_the_same_image_and_the_input_stays() -> None:
    depth_m = np.full((60, 80), 1.0, np.float32)
    first, again = (published_noise(depth_m, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (depth_m == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (480, 640)])
def test_images_of_any_size_and_nothing_stays_nothing(shape: tuple[int, int]) -> None:
    measured = published_noise(np.zeros(shape, np.float32), np.random.default_rng(0))
    assert measured.shape == shape
    assert measured.dtype == np.float32
    assert not measured.any()


def test_perlin_noise_is_smooth_zero_at_the_nodes_and_within_one() -> None:
    noise = perlin_noise((200, 200), 20.0, np.random.default_rng(0))
    np.testing.assert_allclose(noise[::20, ::20], 0, atol=1e-6)
    assert 0.5 < np.abs(noise).max() <= 1
    assert np.abs(np.diff(noise, axis=0)).max() < 0.2
