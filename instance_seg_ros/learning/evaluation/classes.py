"""Which classes of a model are which classes of a data set: those of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import NO_STUFF, Instances

UNKNOWN_CLASS = -1


@dataclass(frozen=True)
class ClassNames:
    """The names that a model and a data set have for their classes.

    Attributes:
        model, data: class names, by class index.
    """

    model: tuple[str, ...]
    data: tuple[str, ...]

    @property
    def counted(self) -> tuple[str, ...]:
        """The data set's names where figures by class say more than those without; else none.

        That takes a name that is in both, and a class to confuse it with.
        """
        alone = len(self.model) == len(self.data) == 1
        return self.data if self._any_shared and not alone else ()

    def summary(self) -> str:
        """One line for each kind of class that the two do not share; empty where they have the same classes."""
        if not self._any_shared:
            return (
                f"classes do not count: those of the model ({_listed(self.model)}) and those of the data "
                f"({_listed(self.data)}) have no name in common"
            )
        lines = []
        if unknown := [name for name in self.data if name not in self.model]:
            lines.append(f"classes that the model does not know, so that it never finds them: {_listed(unknown)}")
        if surplus := [name for name in self.model if name not in self.data]:
            lines.append(f"classes of the model that the data lack, left out of figures by class: {_listed(surplus)}")
        return "\n".join(lines)

    @property
    def _any_shared(self) -> bool:
        return not set(self.model).isdisjoint(self.data)


def class_ids_in(instances: Instances, names: Sequence[str]) -> NDArray[np.int64]:
    """(N,) int64: the index in `names` of each instance's class name, UNKNOWN_CLASS where it is not among them."""
    index_of = {name: index for index, name in enumerate(names)}
    return np.array([index_of.get(name, UNKNOWN_CLASS) for name in instances.names()], dtype=np.int64)


def in_classes(instances: Instances, names: tuple[str, ...]) -> Instances:
    """The instances and the stuff whose class has one of the names, with the classes that these are."""
    class_ids = class_ids_in(instances, names)
    known, stuff = class_ids != UNKNOWN_CLASS, instances.stuff
    if stuff is not None:
        index_of = {name: index for index, name in enumerate(names)}
        own = [*(index_of.get(name, NO_STUFF) for name in instances.class_names), NO_STUFF]
        stuff = np.array(own, dtype=np.int32)[stuff]
    return replace(instances[known], class_ids=class_ids[known], class_names=names, stuff=stuff)


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
