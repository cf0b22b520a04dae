"""The figures of grasp simulation as text, JSON and a web page with a picture strip of each failure."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.files.captures import write_image
from instance_seg_ros.learning.grasp_simulation.rounds import AttemptRecord, RoundRecord, explanation
from instance_seg_ros.learning.grasp_simulation.scenes import Stage
from instance_seg_ros.learning.grasp_simulation.statistics import Figures, calibration, figures_of, seen_as
from instance_seg_ros.learning.grasp_simulation.world import Attempt, Cause

_NOTHING_WRONG = "plan and truth agree"
_HEADERS = ("scene", "planner", "rounds", "success [95 %]", "cleared [95 %]", "touched", "rounds ended by")
_STYLE = """
body { font-family: system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff; }
table { border-collapse: collapse; font-size: 0.85rem; margin-bottom: 1rem; }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }
pre { background: #f5f5f5; padding: 0.8rem; white-space: pre-wrap; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; }
"""


def figures_rows(figures: Sequence[Figures]) -> list[list[str]]:
    """The rows under `_HEADERS`."""
    return [
        [
            own.scene,
            own.planner,
            str(own.rounds),
            str(own.success),
            str(own.cleared),
            str(own.touched),
            ", ".join(f"{why}: {count}" for why, count in own.ended.most_common()),
        ]
        for own in figures
    ]


def cause_rows(figures: Sequence[Figures]) -> list[list[str]]:
    """Failures by scene, planner, what happened and what truth says was wrong with the grasp."""
    return [
        [own.scene, own.planner, str(count), Cause[cause].value, wrong or _NOTHING_WRONG]
        for own in figures
        for (cause, wrong), count in own.causes.most_common()
    ]


def left_rows(figures: Sequence[Figures]) -> list[list[str]]:
    """Objects that were left, by family."""
    return [
        [own.scene, own.planner, ", ".join(f"{name}: {count}" for name, count in own.left.most_common())]
        for own in figures
    ]


def calibration_rows(rounds: Sequence[RoundRecord]) -> list[list[str]]:
    """Quality against the share that held: of objects that were seen as a whole, and of those that were not."""
    attempts = [attempt for record in rounds for attempt in record.attempts]
    return [
        [seen, f"{own.low:.1f} to {own.high:.1f}", f"{own.mean_quality:.3f}", str(own.held)]
        for seen in sorted({seen_as(attempt) for attempt in attempts}, reverse=True)
        for own in calibration([attempt for attempt in attempts if seen_as(attempt) == seen])
    ]


def reliability_svg(rounds: Sequence[RoundRecord]) -> str:
    """A reliability diagram: the share that held over the mean quality of each bin, with intervals; an SVG."""
    attempts = [attempt for record in rounds for attempt in record.attempts]
    side, left, top = 300, 60, 20

    def place(quality: float, share: float) -> tuple[float, float]:
        return left + side * quality, top + side * (1 - share)

    parts = []
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = place(tick, tick)
        parts.append(f'<path d="M{left} {y:.1f}h{side}M{x:.1f} {top}v{side}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{top + side + 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<path d="M{left} {top + side}L{left + side} {top}" stroke="#888" stroke-dasharray="4"/>')
    for own in calibration(attempts):
        low, high = (place(own.mean_quality, share)[1] for share in own.held.interval)
        x, y = place(own.mean_quality, own.held.value)
        parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="#1668b3" stroke-width="2"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1668b3"/>')
        parts.append(f'<text x="{x - 6:.1f}" y="{y - 7:.1f}" text-anchor="end" fill="#1668b3">{own.held.total}</text>')
    middle = left + side / 2
    parts.append(f'<text x="{middle:g}" y="{top + side + 38}" text-anchor="middle">mean quality of a bin</text>')
    turned = f'transform="translate(18 {top + side / 2:g}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">share that held, 95 % interval</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + side + 20} {top + side + 50}" width="380" '
        f'font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


_TABLES = (
    ("failures", ("scene", "planner", "count", "what happened", "what was wrong with the grasp")),
    ("objects left", ("scene", "planner", "families")),
    ("quality", ("object seen", "quality", "mean", "held [95 %]")),
)


def tables(rounds: Sequence[RoundRecord], max_opening_m: float) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    """Every table: title, headers, rows."""
    figures = figures_of(rounds, max_opening_m)
    rows = (cause_rows(figures), left_rows(figures), calibration_rows(rounds))
    return [
        ("rounds", _HEADERS, figures_rows(figures)),
        *((title, headers, own) for (title, headers), own in zip(_TABLES, rows, strict=True)),
    ]


def as_text(rounds: Sequence[RoundRecord], max_opening_m: float) -> str:
    """All tables for a terminal."""
    return "\n\n".join(
        tabulate(rows, headers=headers, disable_numparse=True)
        for _, headers, rows in tables(rounds, max_opening_m)
        if rows
    )


def write_report(folder: Path, options: dict[str, Any], rounds: Sequence[RoundRecord], max_opening_m: float) -> None:
    """Writes metrics.json, reliability.svg and index.html; the failures' pictures are there already."""
    content: dict[str, Any] = {"options": options}
    for title, headers, rows in tables(rounds, max_opening_m):
        content[title] = [dict(zip(headers, row, strict=True)) for row in rows]
    write_atomically(folder / "metrics.json", (json.dumps(content, indent=1) + "\n").encode())
    diagram = reliability_svg(rounds)
    write_atomically(folder / "reliability.svg", diagram.encode())
    parts = [
        f"<h2>{html.escape(title)}</h2>{_table(headers, rows)}"
        for title, headers, rows in tables(rounds, max_opening_m)
    ]
    figures = [
        _figure(record, number, attempt, max_opening_m)
        for record in rounds
        for number, attempt in enumerate(record.attempts)
        if not attempt.success
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>grasp simulation</title>'
        f"<style>{_STYLE}</style></head><body><h1>Grasp simulation</h1>{''.join(parts)}{diagram}"
        f"<h2>failures, picture by picture</h2>{''.join(figures)}<h2>options</h2>"
        f"<pre>{html.escape(json.dumps(options, indent=1))}</pre></body></html>\n"
    )
    write_atomically(folder / "index.html", page.encode())


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in headers)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def strip_name(scene: str, planner: str, seed: int, number: int) -> str:
    """The file of an attempt's pictures, below the results' folder."""
    return f"failures/{scene}_{planner}_{seed}_{number}.jpg"


def _figure(record: RoundRecord, number: int, attempt: AttemptRecord, max_opening_m: float) -> str:
    name = html.escape(strip_name(record.scene, record.planner, record.seed, number))
    quality = "" if attempt.quality is None else f", quality {attempt.quality:.2f}"
    text = (
        f"{record.scene}, {record.planner}, seed {record.seed}, attempt {number}: "
        f"{attempt.family or 'no single object'}{quality}; {Cause[attempt.cause].value}; "
        f"{explanation(attempt, max_opening_m) or _NOTHING_WRONG}"
    )
    return f'<figure><figcaption>{html.escape(text)}</figcaption><img src="{name}" alt="" loading="lazy"></figure>'


def write_strip(path: Path, attempt: Attempt, stage: Stage) -> None:
    """Writes the moments of an attempt beside each other, seen along the gripper's y axis."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tiles: list[NDArray[np.uint8]] = []
    for name, moment in attempt.moments.items():
        across = moment.T_world_gripper[:3, 1]
        tile = np.ascontiguousarray(stage.picture(moment, float(np.arctan2(across[1], across[0]))))
        for ink, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(tile, name, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, thickness, cv2.LINE_AA)
        tiles.append(tile)
    write_image(path, cv2.cvtColor(np.concatenate(tiles, axis=1), cv2.COLOR_RGB2BGR))
