"""Timing of candidates in turns."""

from __future__ import annotations

from instance_seg_ros.export.timing import measure


def test_candidates_take_turns_and_the_first_round_warms_up() -> None:
    calls: list[str] = []
    rows = measure({"slow": lambda: calls.append("slow"), "fast": lambda: calls.append("fast")}, rounds=3)
    assert calls == ["slow", "fast"] * 4
    assert [row[0] for row in rows] == ["slow", "fast"]
    assert rows[0][4] == 1.0
    assert all(best <= median for _, median, best, _, _ in rows)
