"""Command-line options made from settings."""

from __future__ import annotations

import argparse

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.settings import Setting, Settings, SettingsType, fields_of


def add_arguments(parser: argparse.ArgumentParser, settings_type: type[Settings], title: str, prefix: str = "") -> None:
    """Add one `--name` option for each setting, with its help, range and default; `prefix` keeps stages apart."""
    group = parser.add_argument_group(title)
    for field in fields_of(settings_type):
        option = "--" + f"{prefix}{field.name}".replace("_", "-")
        shown = _option_help(field).replace("%", "%%")
        if field.type is bool:
            group.add_argument(option, action=argparse.BooleanOptionalAction, default=field.default, help=shown)
        elif field.choices is not None:
            group.add_argument(option, type=field.type, default=field.default, choices=field.choices, help=shown)
        else:
            metavar = _METAVARS[field.type]
            group.add_argument(option, type=field.type, default=field.default, metavar=metavar, help=shown)


_METAVARS = {int: "N", float: "X", str: "TEXT"}


def _option_help(field: Setting) -> str:
    """The help of an option: argparse itself shows the choices, and for an empty text the help says what that means."""
    default = ("on" if field.default else "off") if field.type is bool else str(field.default)
    allowed = f" Range: {field.range}." if field.range else ""
    return f"{field.help}{allowed}" + (f" (default: {default})" if default else "")


def names_of(settings_type: type[Settings], prefix: str = "") -> tuple[str, ...]:
    """The names that `add_arguments` options of the same prefix have in the parsed arguments."""
    return tuple(prefix + field.name for field in fields_of(settings_type))


def from_arguments(arguments: argparse.Namespace, settings_type: type[SettingsType], prefix: str = "") -> SettingsType:
    """The settings that `add_arguments` options of the same prefix carry.

    Raises:
        InputError: naming the setting, the value and what is allowed.
    """
    values = {field.name: getattr(arguments, prefix + field.name) for field in fields_of(settings_type)}
    try:
        return settings_type(**values)
    except ValueError as error:
        raise InputError(str(error)) from error
