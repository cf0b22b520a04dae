"""Grippers as data: the YAML files of the presets, and a user's own."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PRESET_FOLDER = Path(__file__).parent / "grippers"
_TEXTS = ("name", "source")
_MOST = {"force_n": 1000.0, "pad_friction": 2.0}
_MOST_M = 1.0


@dataclass(frozen=True)
class GripperFile:
    """What a gripper's file says.

    Attributes:
        name: of the gripper, for people.
        source: where the values come from.
        values: by the names of `GripperSettings`, in metres but for `force_n` (newtons) and `pad_friction`.
    """

    name: str
    source: str
    values: Mapping[str, float]


def preset_names() -> tuple[str, ...]:
    """The presets that are shipped, by name."""
    return tuple(sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml")))


def read_gripper(preset: str, names: tuple[str, ...]) -> GripperFile:
    """The file of a preset, or of a path that ends in .yaml; read again only after it was changed.

    Args:
        names: the values that it must have, all of them.

    Raises:
        ValueError: there is no such preset or file, or its content is not these names with positive numbers.
    """
    own = preset.endswith((".yaml", ".yml"))
    if not own and preset not in preset_names():
        raise ValueError(
            f"there is no gripper preset {preset!r}; there are {', '.join(preset_names())}, or the path of a .yaml file"
        )
    path = Path(preset) if own else PRESET_FOLDER / f"{preset}.yaml"
    try:
        state = path.stat()
        return _read_file(path, names, (state.st_ino, state.st_mtime_ns, state.st_size))
    except OSError as error:
        raise ValueError(f"the gripper file {path} cannot be read: {error.strerror}") from error


@functools.lru_cache(maxsize=64)
def _read_file(path: Path, names: tuple[str, ...], state: tuple[int, int, int]) -> GripperFile:
    """The content of a file in the state in which it is now."""
    import yaml  # most programs need it for nothing else

    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"the gripper file {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or set(content) != {*_TEXTS, *names}:
        wrong = sorted(str(key) for key in set(content if isinstance(content, dict) else ()) ^ {*_TEXTS, *names})
        raise ValueError(
            f"the gripper file {path} must have exactly {', '.join([*_TEXTS, *names])}; it lacks or adds "
            f"{', '.join(wrong)}"
        )
    for name in names:
        most = _MOST.get(name, _MOST_M)
        value = content[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
            raise ValueError(f"the gripper file {path}: {name} must be above 0 and at most {most:g}, not {value!r}")
    return GripperFile(str(content["name"]), str(content["source"]), {name: float(content[name]) for name in names})
