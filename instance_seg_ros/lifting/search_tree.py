"""A search tree that is built quickly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


def search_tree(points_m: NDArray[np.floating]) -> cKDTree:
    """For what lies nearest among (N, 3) points: built in half the usual time, as few questions are asked of it."""
    return cKDTree(points_m, compact_nodes=False, balanced_tree=False)
