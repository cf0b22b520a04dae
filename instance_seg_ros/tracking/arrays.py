"""Records of arrays that share their first axis: taking some of the rows, and putting records together."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Record = TypeVar("Record")


def rows_at(record: Record, index: NDArray[Any]) -> Record:
    """The rows of every array, and of records inside, that an array of indices or a boolean mask selects."""
    if index.dtype == np.bool_:
        index = np.flatnonzero(index)
    values = (getattr(record, name) for name in _names(record))
    return type(record)(*(v.take(index, axis=0) if isinstance(v, np.ndarray) else rows_at(v, index) for v in values))


def joined(first: Record, second: Record) -> Record:
    """The rows of both, the first's before the second's."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in _names(first))
    return type(first)(*(np.concatenate([a, b]) if isinstance(a, np.ndarray) else joined(a, b) for a, b in pairs))


def _names(record: Any) -> tuple[str, ...]:
    """The names of its fields, looked up once for each type: this is called often."""
    kind = type(record)
    if kind not in _NAMES:
        _NAMES[kind] = tuple(field.name for field in dataclasses.fields(kind))
    return _NAMES[kind]


_NAMES: dict[type, tuple[str, ...]] = {}
