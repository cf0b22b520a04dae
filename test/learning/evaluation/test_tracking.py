"""The benchmark of tracks: sequences that hold what they say, and scores that tell right ids from wrong ones."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.commands import main
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.learning.evaluation.tracking_scenes import (
    AWAY_FRAMES,
    FRAMES,
    HAND,
    KINDS,
    TrueFrame,
    tracking_sequence,
    true_masks,
)
from instance_seg_ros.learning.evaluation.tracking_scores import FrameIds, frame_ids, tracking_score


def sequence(kind: str, seed: int = 3, frames: int = 30) -> list[TrueFrame]:
    return list(tracking_sequence(KINDS.index(kind), seed, frames))


@pytest.fixture(scope="module")
def jerky() -> list[TrueFrame]:
    return sequence("jerky, tf")


def test_only_where_the_kind_says_so_is_the_camera_still_and_its_pose_told(jerky: list[TrueFrame]) -> None:
    still = sequence("still", frames=3)
    assert all(frame.T_fixed_camera is None for frame in still)
    assert len({frame.T_world_camera.matrix.tobytes() for frame in still}) == 1
    steps_m = [
        np.linalg.norm(after.T_world_camera.translation_m - before.T_world_camera.translation_m)
        for before, after in itertools.pairwise(jerky)
    ]
    assert max(steps_m) > 0.05
    for frame in jerky:
        assert frame.T_fixed_camera is not None
        off_m = frame.T_fixed_camera.translation_m - frame.T_world_camera.translation_m
        assert 0 < np.linalg.norm(off_m) < 0.01


def test_objects_keep_their_ids_and_a_hand_comes(jerky: list[TrueFrame]) -> None:
    ids = [set(np.unique(frame.ids)) - {0, HAND} for frame in jerky]
    assert len(ids[0]) >= 3
    assert len(set.union(*ids)) <= len(ids[0]) + 3  # some are brought
    assert any((frame.ids == HAND).any() for frame in jerky)
    stamps_ns = [frame.frame.stamp_ns for frame in jerky]
    assert set(np.diff(stamps_ns)) == {100_000_000} and stamps_ns[0] > 0


def test_a_camera_that_looks_away_sees_other_things_for_two_and_a_half_seconds() -> None:
    seen = [set(np.unique(frame.ids)) - {0, HAND} for frame in sequence("away", frames=FRAMES)]
    first = FRAMES // 2 - AWAY_FRAMES // 2
    assert not set.union(*seen[first + 3 : first + AWAY_FRAMES - 3])
    assert seen[first - 1] & seen[first + AWAY_FRAMES]


def test_a_sequence_depends_on_its_seed_and_number_alone(jerky: list[TrueFrame]) -> None:
    again, other = (next(tracking_sequence(KINDS.index("jerky, tf"), seed, len(jerky))) for seed in (3, 4))
    np.testing.assert_array_equal(again.frame.depth_m, jerky[0].frame.depth_m)
    assert not np.array_equal(other.frame.depth_m, jerky[0].frame.depth_m)


def test_true_masks_are_of_objects_alone(jerky: list[TrueFrame]) -> None:
    for frame in jerky:
        masks = true_masks(frame)
        assert not (masks.masks & np.isin(frame.ids, [0, HAND])).any()
        seen = [np.unique(frame.ids[mask]) for mask in masks.masks]
        assert all(len(ids) == 1 for ids in seen)
        large = {number for number in np.unique(frame.ids) if (frame.ids == number).sum() >= 400} - {0, HAND}
        assert large and large <= set(np.concatenate(seen).tolist())


def test_what_lies_on_a_hand_and_slivers_of_objects_are_not_asked_for() -> None:
    true = np.zeros((20, 40), dtype=np.uint8)
    true[:10, :10], true[:10, 10:20], true[15, :5] = 7, HAND, 9
    labels = np.zeros((20, 40), dtype=np.uint16)
    labels[:10, :9], labels[:10, 11:20], labels[15:, 30:] = 1, 2, 3
    ids = frame_ids(true, Instances.from_labels(labels), (11, 12, 13))
    assert ids.true_ids.tolist() == [7]
    assert ids.track_ids.tolist() == [11, 13]
    np.testing.assert_allclose(ids.overlaps, [[0.9, 0]])


def frames_of(*rows: str) -> list[FrameIds]:
    """Frames as texts: the true objects are a, b, ... by place, the letter or digit there is the id that each one got;
    a dot is an object that was not found."""
    frames = []
    for row in rows:
        found = [(place, letter) for place, letter in enumerate(row) if letter != "."]
        overlaps = np.zeros((len(row), len(found)))
        for column, (place, _) in enumerate(found):
            overlaps[place, column] = 0.8
        track_ids = np.array([ord(letter) for _, letter in found], dtype=np.int64)
        frames.append(FrameIds(np.arange(1, 1 + len(row)), track_ids, overlaps))
    return frames


@pytest.mark.parametrize(
    ("overlaps", "true_ids", "track_ids"),
    [
        ([[0.8, 0.1]], [1], [7]),
        ([[0.5, 0.5]], [], []),  # two halves: neither shows it
        ([[0.6, 0.4], [0.0, 0.51]], [1, 2], [7, 8]),
        ([[], []], [], []),
    ],
)
def test_an_object_is_found_once_by_what_covers_more_than_half_of_both(
    overlaps: list[list[float]], true_ids: list[int], track_ids: list[int]
) -> None:
    values = np.array(overlaps)
    found = FrameIds(np.arange(1, 1 + values.shape[0]), np.arange(7, 7 + values.shape[1]), values).found()
    assert (found.true_ids.tolist(), found.track_ids.tolist()) == (true_ids, track_ids)
    np.testing.assert_array_equal(found.overlaps, np.eye(len(true_ids)))


@pytest.mark.parametrize(
    ("rows", "found", "hota", "idf1", "switches", "swaps"),
    [
        (("ab", "ab", "ab", "ab"), 1.0, 1.0, 1.0, 0, 0),
        (("ab", "a.", ".b", "ab"), 0.75, 1.0, 1.0, 0, 0),  # what is not found is not the tracker's fault
        (("ab", "ab", "cb", "cb"), 1.0, np.sqrt(0.75), 0.75, 1, 0),
        (("ab", "cb", "ab", "cb"), 1.0, np.sqrt(0.75), 0.75, 3, 0),
        (("ab", "ab", "ba", "ba"), 1.0, np.sqrt(1 / 3), 0.5, 2, 2),
        (("a.", "a.", ".a", ".a"), 0.5, np.sqrt(0.5), 0.5, 0, 1),  # no object has two ids
    ],
)
def test_scores_of_ids(
    rows: tuple[str, ...], found: float, hota: float, idf1: float, switches: int, swaps: int
) -> None:
    """HOTA by hand: one half for each object whose id changes midway, by the formula of the association accuracy."""
    pytest.importorskip("trackeval")
    score = tracking_score([frames_of(*rows)])
    assert score.found == found
    assert score.hota == pytest.approx(hota)
    assert score.idf1 == pytest.approx(idf1)
    assert score.switches == switches
    assert score.swaps == swaps
    assert score.switches_per_1000 == pytest.approx(1000 * switches / (8 * found))
    assert score.swaps_per_1000 == pytest.approx(1000 * swaps / (8 * found))
    assert score.whole_hota < score.hota  # masks that overlap by 0.8 are not exact


def test_sequences_are_counted_apart() -> None:
    pytest.importorskip("trackeval")
    score = tracking_score([frames_of("ab", "ab"), frames_of("ba", "ba"), []])
    assert (score.object_frames, score.switches, score.swaps, score.hota) == (8, 0, 0, 1.0)


def test_the_command_prints_a_row_for_each_kind_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackeval")
    from instance_seg_ros.commands.helpers import tracking_evaluation

    def short(index: int, seed: int) -> object:
        return tracking_sequence(index, seed, frames=4)

    monkeypatch.setattr(tracking_evaluation, "tracking_sequence", short)
    assert main.main(["eval", "--tracking", "--sequences", "2", "--seed", "3", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for words in ("true ", "network's ", "still", "moving, tf", "all", "2 sequences of seed 3"):
        assert words in printed
    content = json.loads((tmp_path / "tracking.json").read_text())
    assert [(row["masks"], row["kind"]) for row in content["rows"]] == [
        (masks, kind) for masks in ("true", "network's") for kind in ("still", "moving, tf", "all")
    ]
    assert (tmp_path / "tracking.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sequences", "0"], "--sequences must be 1 or more"),
        (["--sensor", "random"], "--sensor cannot be used with --tracking"),
        (["--images", "a"], "--images cannot be used with --tracking"),
        (["--limit", "5"], "--limit cannot be used with --tracking"),
        (["--scenes", "3", "--worst", "3"], "--worst, --scenes cannot be used with --tracking"),
    ],
)
def test_options_of_others_are_refused(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["eval", "--tracking", *options]) == 2
    assert words in capsys.readouterr().err


def test_without_trackeval_the_command_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackeval", None)
    assert main.main(["eval", "--tracking", "--sequences", "1"]) == 2
    assert "pip install --no-deps trackeval" in capsys.readouterr().err
