"""`instance-seg eval --geometry`: lifting on generated scenes with exact truth, in tables, a file and a plot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.learning.evaluation.breakdown import without_nan
from instance_seg_ros.learning.evaluation.geometry_errors import (
    RECIPES,
    SILENT_M,
    ErrorRow,
    ObjectError,
    PlaneError,
    error_rows,
    planes_right,
    scene_errors,
    silently_wrong,
)
from instance_seg_ros.learning.evaluation.geometry_scenes import SENSORS, geometry_scenes
from instance_seg_ros.learning.evaluation.published import Published, published, shown_rows
from instance_seg_ros.learning.evaluation.silence import Verdict
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.segmentation.segmenter import Segmenter

COLUMNS = (
    *("objects", "n", "centre mm", "box centre mm", "size %", "worst side %", "bottom right %", "invented %"),
    *("in 90 % intervals", "sides in bounds %", "bounds apart mm"),
    *("best recipe mm", "recipe"),
)
SHOWN_COLUMNS = "masks that show", "n", "status OK", "of these wrong in silence"


def evaluate_geometry(
    scenes: int, seed: int, sensor: str, settings: LiftingSettings, out: Path | None, segmenter: Segmenter | None = None
) -> str:
    """The tables over this many scenes; with `out`, also writes geometry.json and geometry.png there.

    Args:
        segmenter: makes the masks, of frames with colour; without it they are the true ones.

    Raises:
        InputError: no sensor for geometry has this name.
    """
    if sensor not in SENSORS:
        raise InputError(f"--sensor of --geometry must be one of {', '.join(SENSORS)}, not {sensor}")
    lifter = Lifter(settings)
    errors: list[ObjectError] = []
    planes: list[PlaneError] = []
    found: list[Published] = []
    generated = geometry_scenes(scenes, seed, sensor=sensor, colored=segmenter is not None)
    for scene in tqdm(generated, "geometry", scenes, unit="scene", leave=False):
        if segmenter is None:
            own, plane = scene_errors(scene, lifter)
        else:
            instances, plane = published(scene, segmenter, lifter)
            own = [each.error for each in instances if each.error is not None]
            found += instances
        errors += own
        planes += [plane] if plane is not None else []
    rows = error_rows(errors)
    if out is not None:
        masks = "true" if segmenter is None else segmenter.info.name
        _write(out, {"scenes": scenes, "seed": seed, "sensor": sensor, "masks": masks}, rows, errors, planes)
    table = tabulate([_cells(row) for row in rows], COLUMNS, disable_numparse=True)
    if segmenter is not None:
        table += "\n\n" + tabulate(shown_rows(found), SHOWN_COLUMNS)
    whose = "their true masks" if segmenter is None else f"the masks of {segmenter.info.name}"
    fine, wrong = silently_wrong(errors)
    right, informed = planes_right(planes)
    silent = sum(error.verdict.is_silent for error in errors)
    bounded = sum(error.verdict is Verdict.BOUNDED for error in errors)
    return (
        f"{table}\n\n{scenes} scenes of seed {seed} seen by the {sensor} sensor, "
        f"{len(errors)} objects under {whose}; errors as median / "
        f"90th percentile; support plane within 2 mm and 0.5 degrees: {right:.1f} % of {len(planes)} scenes with one "
        f"({informed:.1f} % by a fit to what is known to be the support's); status OK: {fine} objects, {wrong} of them "
        f"more than {1e3 * SILENT_M:.0f} mm off, "
        f"{silent} with a centre outside of what its covariance allows, or a box far off and not within its bounds; "
        f"of {bounded} more a box is far off within its bounds"
    )


def _cells(row: ErrorRow) -> tuple[str, ...]:
    pairs = [f"{median:.1f} / {high:.1f}" for median, high in (row.centre_mm, row.box_centre_mm)]
    pairs += [f"{median:.1f} / {high:.0f}" for median, high in (row.size, row.worst_side)]
    shares = (f"{value:.0f}" for value in (row.bottom_right, row.invented, row.covered, row.in_bounds))
    apart = "{:.0f} / {:.0f}".format(*row.bounds_mm)
    # Errors are those of objects with a centre; of the others it is told that there are some.
    count = str(row.count) if row.lifted == row.count else f"{row.lifted} of {row.count}"
    return (row.name, count, *pairs, *shares, apart, f"{row.recipe_mm:.1f}", row.recipe)


def _write(
    out: Path,
    asked: dict[str, object],
    rows: Sequence[ErrorRow],
    errors: Sequence[ObjectError],
    planes: Sequence[PlaneError],
) -> None:
    from matplotlib.figure import Figure

    out.mkdir(parents=True, exist_ok=True)
    content = {
        **asked,
        "planes_right_percent": planes_right(planes)[0],
        "informed_planes_right_percent": planes_right(planes)[1],
        "rows": [dataclasses.asdict(row) for row in rows],
        "objects": [
            {**dataclasses.asdict(error), "status": int(error.status), "verdict": error.verdict.value}
            for error in errors
        ],
    }
    # NaN, where an object without a centre has no error, is null in JSON.
    write_atomically(out / "geometry.json", json.dumps(without_nan(content), indent=1).encode())
    figure = Figure((7, 5), layout="constrained")
    axes = figure.subplots()
    share = np.arange(1, len(errors) + 1) / len(errors)
    curves = {"lifting": [error.centre_m if error.lifted else np.inf for error in errors]}
    curves |= {name: [error.recipes_m[name] for error in errors] for name in RECIPES}
    for name, values in curves.items():
        axes.plot(1e3 * np.sort(np.nan_to_num(values, nan=np.inf)), 100 * share, label=name)
    axes.set(xlim=(0, 60), ylim=(0, 100), xlabel="error of the volume's centre, mm", ylabel="objects, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(out / "geometry.png", dpi=120)
