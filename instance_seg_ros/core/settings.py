"""How settings are defined: each once, as a field with its default, range and help, and checked when it is made.

The ROS parameters and their descriptors, the YAML file, the command line's options and docs/parameters.md are all made
from these fields (`fields_of`), so every default and every sentence of help exists in one place only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_type_hints

SettingsType = TypeVar("SettingsType", bound="Settings")
SettingValue = bool | int | float | str


def setting(
    default: SettingValue,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with the facts that every surface shows; numbers need both bounds, `inf` for none.

    Raises:
        TypeError: for a number without them.
    """
    if isinstance(default, (int, float)) and not isinstance(default, bool) and (minimum is None or maximum is None):
        raise TypeError(f"a number needs minimum and maximum: {help}")
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting as the surfaces need it."""

    name: str
    type: type
    default: SettingValue
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None

    @property
    def range(self) -> str | None:
        """The bounds of a number, such as "0.005 to 1" or "1 to 1000000"; None for anything else."""
        if self.minimum is None or self.maximum is None:
            return None
        return f"{_plain(self.minimum)} to {_plain(self.maximum)}"

    def check(self, value: SettingValue) -> SettingValue:
        """The value, an int widened where a float is meant.

        Raises:
            ValueError: naming the setting, the value and what is allowed.
        """
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.type:
            raise ValueError(f"{self.name} must be of type {self.type.__name__}, not {value!r}")
        if (
            isinstance(value, (int, float))
            and self.minimum is not None
            and self.maximum is not None
            and (math.isnan(value) or not self.minimum <= value <= self.maximum)
        ):
            allowed = f"{_plain(self.minimum)} and {_plain(self.maximum)}"
            raise ValueError(f"{self.name} must be between {allowed}, not {value}")
        if self.choices is not None and value not in self.choices:
            raise ValueError(f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}")
        return value


def _plain(number: float) -> str:
    """The number without an exponent where that is shorter to read: 1000000, 0.0005."""
    return f"{number:.15g}"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of all settings: every value is checked against its field when the object is made."""

    def __post_init__(self) -> None:
        for field in fields_of(type(self)):
            object.__setattr__(self, field.name, field.check(getattr(self, field.name)))


def fields_of(settings_type: type[Settings]) -> Iterator[Setting]:
    """The settings of a type in the order in which they are defined: the fields that `setting` made."""
    types = get_type_hints(settings_type)
    for field in dataclasses.fields(settings_type):
        if not field.metadata:
            continue
        yield Setting(field.name, types[field.name], field.default, **field.metadata)  # type: ignore[arg-type]


def from_mapping(settings_type: type[SettingsType], values: Mapping[str, SettingValue]) -> SettingsType:
    """The settings with these values, the defaults for what is not named.

    Raises:
        ValueError: for a name that the type does not have (with the names it has) or a value out of range.
    """
    known = [field.name for field in fields_of(settings_type)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{settings_type.__name__} has no {', '.join(unknown)}; it has {', '.join(known)}")
    return settings_type(**values)


def describe(field: Setting) -> str:
    """The help with the allowed values, as one line."""
    if field.choices is not None:
        return f"{field.help} One of: {', '.join(field.choices)}."
    return f"{field.help} Range: {field.range}." if field.range else field.help
