"""`instance-seg eval --tracking`: the tracker on generated sequences with exact truth; a table, a file, a plot."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings, TrackingSettings
from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.learning.evaluation.tracking_scenes import FRAMES, KINDS, TrueFrame, tracking_sequence, true_masks
from instance_seg_ros.learning.evaluation.tracking_scores import FrameIds, TrackingScore, frame_ids, tracking_score
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.segmentation import Segmenter
from instance_seg_ros.tracking import Tracker

COLUMNS = (
    *("masks", "camera", "object-frames", "found %", "HOTA", "IDF1", "switches / 1000", "swaps / 1000"),
    *("HOTA with masks", "drift mm", "ms"),
)
ALL = "all"
_AHEAD_M = np.array([0.0, 0.0, 0.9])


@dataclass
class _Run:
    """What came of one kind of masks and one kind of sequence."""

    sequences: list[list[FrameIds]] = field(default_factory=list)
    drift_mm: list[float] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Row:
    masks: str
    kind: str
    score: TrackingScore
    drift_mm: tuple[float, float] | None
    time_ms: float


def check_judge() -> None:
    """Refuses to begin what could not be judged at its end.

    Raises:
        InputError: trackeval is not installed.
    """
    try:
        import trackeval  # noqa: F401
    except ImportError as error:
        raise InputError(
            "--tracking is judged by trackeval, which is not installed: pip install --no-deps trackeval (its own "
            "dependencies would put opencv-python over opencv-python-headless)"
        ) from error


def evaluate_tracking(
    sequences: int,
    seed: int,
    segmenter: Segmenter,
    lifting: LiftingSettings,
    tracking: TrackingSettings,
    out: Path | None,
) -> str:
    """The table over this many sequences, with true masks and with the segmenter's; also writes files into `out`."""
    lifter = Lifter(lifting)
    runs: dict[tuple[str, str], _Run] = defaultdict(_Run)
    with tqdm(total=sequences * FRAMES, desc="tracking", unit="frame", leave=False) as progress:
        for index in range(sequences):
            kind = KINDS[index % len(KINDS)]
            trackers = {name: _Judged(Tracker(tracking), runs[name, kind]) for name in ("true", "network's")}
            for frame in tracking_sequence(index, seed):
                trackers["true"].see(frame, true_masks(frame), lifter)
                trackers["network's"].see(frame, segmenter.segment(frame.frame), lifter)
                progress.update()
    rows = _rows(runs)
    if out is not None:
        _write(out, sequences, seed, rows)
    table = tabulate([_cells(row) for row in rows], COLUMNS, disable_numparse=True)
    return f"{table}\n\n{sequences} sequences of seed {seed}, {FRAMES} frames each"


class _Judged:
    """A tracker on one sequence, and where its results go."""

    def __init__(self, tracker: Tracker, run: _Run) -> None:
        self._tracker, self._run = tracker, run
        self._ids: list[FrameIds] = []
        run.sequences.append(self._ids)
        self._T_world_map: Transform | None = None

    def see(self, frame: TrueFrame, instances: Instances, lifter: Lifter) -> None:
        lifted = lifter.lift(frame.frame, instances)
        start = time.perf_counter()
        track_ids = self._tracker.update(frame.frame, instances, lifted, frame.T_fixed_camera)
        self._run.times_ms.append(1e3 * (time.perf_counter() - start))
        self._ids.append(frame_ids(frame.ids, instances, track_ids))
        T_map_camera = self._tracker.T_map_camera
        if frame.T_fixed_camera is not None or T_map_camera is None:
            return
        if self._T_world_map is None:
            self._T_world_map = frame.T_world_camera @ T_map_camera.inverse()
        told_m, true_m = (T.apply(_AHEAD_M) for T in (self._T_world_map @ T_map_camera, frame.T_world_camera))
        self._run.drift_mm.append(1e3 * float(np.linalg.norm(told_m - true_m)))


def _rows(runs: dict[tuple[str, str], _Run]) -> list[_Row]:
    rows = []
    for masks in dict.fromkeys(name for name, _ in runs):
        own = {kind: run for (name, kind), run in runs.items() if name == masks}
        together = _Run()
        for run in own.values():
            together.sequences += run.sequences
            together.times_ms += run.times_ms
        for kind, run in [*own.items(), (ALL, together)]:
            drift = None
            if run.drift_mm:
                median, high = np.percentile(run.drift_mm, [50, 90])
                drift = float(median), float(high)
            rows.append(_Row(masks, kind, tracking_score(run.sequences), drift, float(np.median(run.times_ms))))
    return rows


def _cells(row: _Row) -> tuple[str, ...]:
    score = row.score
    shares = (f"{score.hota:.3f}", f"{score.idf1:.3f}", f"{score.switches_per_1000:.1f}", f"{score.swaps_per_1000:.1f}")
    drift = "" if row.drift_mm is None else f"{row.drift_mm[0]:.0f} / {row.drift_mm[1]:.0f}"
    counts = (str(score.object_frames), f"{100 * score.found:.1f}")
    return (row.masks, row.kind, *counts, *shares, f"{score.whole_hota:.3f}", drift, f"{row.time_ms:.1f}")


def _write(out: Path, sequences: int, seed: int, rows: Sequence[_Row]) -> None:
    from matplotlib.figure import Figure

    out.mkdir(parents=True, exist_ok=True)
    content = {"sequences": sequences, "seed": seed, "rows": [dataclasses.asdict(row) for row in rows]}
    write_atomically(out / "tracking.json", json.dumps(content, indent=1).encode())
    figure = Figure((9, 4), layout="constrained")
    hota, switches = figure.subplots(1, 2)
    for shift, masks in zip((-0.2, 0.2), dict.fromkeys(row.masks for row in rows), strict=True):
        own = [row for row in rows if row.masks == masks]
        places = np.arange(len(own)) + shift
        hota.barh(places, [row.score.hota for row in own], 0.38, label=f"{masks} masks")
        switches.barh(places, [row.score.switches_per_1000 for row in own], 0.38)
        hota.set_yticks(np.arange(len(own)), [row.kind for row in own])
    hota.set(xlim=(0, 1), xlabel="HOTA of the ids of objects found")
    hota.legend(loc="lower left")
    switches.set(xlabel="switches in 1,000 object-frames", yticks=[])
    for axes in (hota, switches):
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(out / "tracking.png", dpi=120)
