"""The loss curve as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TERMS = ("class", "box", "centerness", "dice", "mask", "neighbours", "foreground")


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Moving average over `window` values, as long as the input less window - 1 (unchanged where it is too short)."""
    if window <= 1 or len(values) < window:
        return values
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def plot_losses(log_path: Path, picture_path: Path) -> None:
    """Draws every loss term of a training log over the steps; does nothing for a log with no lines yet."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = [json.loads(line) for line in log_path.read_text().splitlines()]
    if not records:
        return
    steps = np.array([record["step"] for record in records], dtype=np.float64)
    window = max(1, len(steps) // 60)
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for term in TERMS:
        if not all(term in record for record in records):
            continue  # a training that began before there was such a loss
        values = smoothed(np.array([record[term] for record in records], dtype=np.float64), window)
        axes.plot(steps[len(steps) - len(values) :], values, label=term, linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel(f"loss term, mean of {window} steps")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    figure.legend(ncols=len(TERMS), loc="outside upper center")
    figure.savefig(picture_path, dpi=110)
    plt.close(figure)
