from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instance_seg_ros.messages.pairing import FramePairer

MS = 1_000_000


def play(pairer: FramePairer, arrivals: list[tuple[str, int]]) -> list[tuple[int, int]]:
    """Stamps in milliseconds of the pairs that these arrivals make, colour first."""
    made = []
    for kind, stamp_ms in arrivals:
        add = pairer.add_color if kind == "c" else pairer.add_depth
        pair = add(stamp_ms * MS, (kind, stamp_ms))
        if pair is not None:
            assert pair.color.item == ("c", pair.color.stamp_ns // MS)
            assert pair.depth.item == ("d", pair.depth.stamp_ns // MS)
            made.append((pair.color.stamp_ns // MS, pair.depth.stamp_ns // MS))
    return made


@pytest.mark.parametrize(
    ("arrivals", "pairs"),
    [
        pytest.param([("c", 0), ("d", 0), ("c", 33), ("d", 33)], [(0, 0), (33, 33)], id="equal stamps"),
        pytest.param([("d", 0), ("c", 0)], [(0, 0)], id="depth first"),
        pytest.param([("c", 0), ("d", 10)], [(0, 10)], id="exactly at the tolerance"),
        pytest.param([("c", 0), ("d", 11)], [], id="beyond the tolerance"),
        pytest.param([("c", 0), ("d", 33), ("c", 33)], [(33, 33)], id="a lost depth image"),
        pytest.param([("d", 0), ("d", 8), ("c", 9)], [(9, 8)], id="the nearest of several"),
        pytest.param([("c", 0), ("c", 33), ("c", 66), ("d", 0), ("d", 33)], [(0, 0), (33, 33)], id="depth lags"),
        pytest.param([("c", 0), ("c", 33), ("d", 33), ("d", 0)], [(33, 33)], id="older than a pair is dropped"),
        pytest.param([("c", 9000), ("d", 9000), ("c", 0), ("d", 0)], [(9000, 9000), (0, 0)], id="the clock jumps back"),
        pytest.param([("c", 0), ("c", 0), ("d", 0)], [(0, 0)], id="the same stamp twice"),
        pytest.param([("c", 0), ("d", 0)] * 2, [(0, 0)] * 2, id="the same pair twice"),
        pytest.param([("c", 0), ("d", 8), ("d", 4), ("c", 4)], [(0, 8)], id="a better partner that comes too late"),
    ],
)
def test_pairs_by_stamp(arrivals: list[tuple[str, int]], pairs: list[tuple[int, int]]) -> None:
    assert play(FramePairer(tolerance_s=0.01), arrivals) == pairs


@pytest.mark.parametrize("lost", ["c", "d"])
@pytest.mark.parametrize("first", ["c", "d"])
def test_after_a_lost_image_pairs_of_one_moment_come_again_also_at_a_period_below_the_tolerance(
    first: str, lost: str
) -> None:
    """Else all that follow would be pairs of a frame and the depth of another."""
    second = "d" if first == "c" else "c"
    arrivals = [(kind, stamp_ms) for stamp_ms in range(0, 320, 16) for kind in (first, second)]
    arrivals.remove((lost, 80))
    pairs = play(FramePairer(tolerance_s=0.025), arrivals)
    assert sum(color != depth for color, depth in pairs) <= 1
    assert len(pairs) >= 18
    assert all(color == depth for color, depth in pairs[-12:])


def test_what_waited_when_the_clock_was_set_back_is_no_partner_of_what_comes_afterwards() -> None:
    pairer = FramePairer(tolerance_s=0.01)
    pairer.add_color(9000 * MS, "before")
    assert play(pairer, [("c", 0), ("d", 0)]) == [(0, 0)]
    assert pairer.add_depth(9000 * MS, "afterwards") is None
    pair = pairer.add_color(9000 * MS, "afterwards")
    assert pair is not None and pair.color.item == pair.depth.item == "afterwards"
    assert pairer.unpaired_colors == 1


def test_counts_what_was_dropped() -> None:
    pairer = FramePairer(tolerance_s=0.01)
    play(pairer, [("c", 0), ("c", 33), ("d", 33), ("c", 66), ("d", 90)])
    assert (pairer.pairs, pairer.unpaired_colors, pairer.unpaired_depths, pairer.waiting) == (1, 1, 0, (1, 1))
    pairer.flush()
    assert (pairer.unpaired_colors, pairer.unpaired_depths, pairer.waiting) == (2, 1, (0, 0))


def test_a_clock_that_jumped_ahead_and_was_set_back_drops_all_that_waited() -> None:
    pairer = FramePairer(tolerance_s=0.01)
    play(pairer, [("c", 100), ("c", 9000), ("c", 200)])
    assert (pairer.unpaired_colors, pairer.waiting) == (2, (1, 0))


@pytest.mark.parametrize("back_ms", [500, 499])
def test_an_image_that_is_a_little_late_drops_nothing(back_ms: int) -> None:
    pairer = FramePairer(tolerance_s=0.01)
    play(pairer, [("c", 1000), ("c", 1000 - back_ms)])
    assert (pairer.unpaired_colors, pairer.waiting) == (0, (2, 0))


@pytest.mark.parametrize(
    ("arrivals", "offset_s"),
    [
        ([("c", 7000), ("d", 8500)], 1.5),
        ([("d", 8500), ("c", 7000)], 1.5),
        ([("d", 7000), ("c", 8500)], -1.5),
        ([("c", 8500), ("d", 7000)], -1.5),
        ([("c", 7000), ("c", 8400), ("d", 8500)], 0.1),
    ],
)
def test_the_offset_is_depth_minus_colour_whichever_comes_first(
    arrivals: list[tuple[str, int]], offset_s: float
) -> None:
    pairer = FramePairer(tolerance_s=0.01)
    assert play(pairer, arrivals) == []
    assert pairer.nearest_offset_s == pytest.approx(offset_s)


def test_a_pair_tells_how_far_its_stamps_are_apart() -> None:
    pairer = FramePairer(tolerance_s=0.01)
    pairer.add_color(5_000 * MS, "color")
    pair = pairer.add_depth(5_004 * MS, "depth")
    assert pair is not None and pair.offset_s == pytest.approx(0.004)


def test_says_how_far_apart_stamps_are_that_never_meet() -> None:
    pairer = FramePairer(tolerance_s=0.01)
    pairer.add_color(0, "color")
    assert pairer.nearest_offset_s is None  # no depth at all is another fault than stamps apart
    pairer.add_depth(1_500 * MS, "depth")
    assert pairer.nearest_offset_s == pytest.approx(1.5)
    pairer.add_color(1_500 * MS, "color")
    assert pairer.nearest_offset_s is None


def test_only_the_latest_arrivals_wait() -> None:
    pairer = FramePairer(tolerance_s=0.01, capacity=3)
    play(pairer, [("c", stamp) for stamp in range(0, 1000, 100)])
    assert pairer.waiting == (3, 0)
    assert pairer.unpaired_colors == 7
    assert pairer.add_depth(600 * MS, "depth") is None
    assert pairer.add_depth(700 * MS, "depth") is not None


@pytest.mark.parametrize(("tolerance_s", "capacity"), [(-0.1, 1), (float("nan"), 1), (float("inf"), 1), (0.1, 0)])
def test_refuses_settings_that_cannot_work(tolerance_s: float, capacity: int) -> None:
    with pytest.raises(ValueError, match="tolerance_s|capacity"):
        FramePairer(tolerance_s, capacity)


arrivals_of_any_kind = st.lists(st.tuples(st.sampled_from("cd"), st.integers(0, 200)), max_size=60)


@given(arrivals_of_any_kind, st.integers(0, 50), st.integers(1, 6))
def test_every_image_is_paired_dropped_or_waiting(
    arrivals: list[tuple[str, int]], tolerance_ms: int, capacity: int
) -> None:
    pairer = FramePairer(tolerance_ms / 1000, capacity)
    pairs = play(pairer, arrivals)
    assert all(abs(color - depth) <= tolerance_ms for color, depth in pairs)
    assert max(pairer.waiting) <= capacity
    pairer.flush()
    assert pairer.pairs == len(pairs)
    assert pairer.pairs + pairer.unpaired_colors == sum(kind == "c" for kind, _ in arrivals)
    assert pairer.pairs + pairer.unpaired_depths == sum(kind == "d" for kind, _ in arrivals)


@given(st.data(), st.integers(1, 20))
def test_streams_of_jittered_stamps_pair_completely_however_they_interleave(data: st.DataObject, frames: int) -> None:
    period_ms, tolerance_ms, capacity = 33, 15, 10
    colors = [("c", 1000 + period_ms * i) for i in range(frames)]
    depths = [("d", stamp + data.draw(st.integers(-tolerance_ms, tolerance_ms))) for _, stamp in colors]
    arrivals = []
    while colors or depths:
        lag = len(depths) - len(colors)  # how far depth is behind; neither may be behind by more than the capacity
        take_color = not depths or (colors and lag < capacity and (lag <= -capacity or data.draw(st.booleans())))
        arrivals.append((colors if take_color else depths).pop(0))
    assert len(play(FramePairer(tolerance_ms / 1000, capacity), arrivals)) == frames
