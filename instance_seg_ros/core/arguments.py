"""Command-line options made from settings."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.settings import Setting, Settings, SettingsType, fields_of


class CommandParser(argparse.ArgumentParser):
    """A parser whose help explains the options of a command and only names its settings, of which there may be sixty;
    `--help-all`, which it takes once it has settings, explains those as well.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings: list[tuple[argparse._ArgumentGroup, list[argparse.Action]]] = []

    def add_settings(self, group: argparse._ArgumentGroup, actions: list[argparse.Action]) -> None:
        """Takes what `add_arguments` has added as settings."""
        if not self._settings:
            self.add_argument(
                "--help-all", action=_FullHelp, help="explain the settings, too: meaning, unit, range and default"
            )
        self._settings.append((group, actions))

    def format_help(self) -> str:
        """The help in which settings are named only."""
        explained = [(action, action.help) for _, actions in self._settings for action in actions]
        for group, actions in self._settings:
            group.description = textwrap.fill(
                ", ".join(action.option_strings[0] for action in actions), 76, break_on_hyphens=False
            )
        for action, _ in explained:
            action.help = argparse.SUPPRESS
        try:
            return super().format_help()
        finally:
            for group, _ in self._settings:
                group.description = None
            for action, text in explained:
                action.help = text

    def format_full_help(self) -> str:
        """The help in which settings are explained."""
        return super().format_help()


class _FullHelp(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> None:
        assert isinstance(parser, CommandParser)
        print(parser.format_full_help(), end="")
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser, settings_type: type[Settings], title: str, prefix: str = "") -> None:
    """Add one `--name` option for each setting, with its help, range and default; `prefix` keeps stages apart."""
    group = parser.add_argument_group(title)
    actions: list[argparse.Action] = []
    for field in fields_of(settings_type):
        option = "--" + f"{prefix}{field.name}".replace("_", "-")
        shown = _option_help(field).replace("%", "%%")
        if field.type is bool:
            action = group.add_argument(
                option, action=argparse.BooleanOptionalAction, default=field.default, help=shown
            )
        elif field.choices is not None:
            action = group.add_argument(
                option, type=field.type, default=field.default, choices=field.choices, help=shown
            )
        else:
            metavar = _METAVARS[field.type]
            action = group.add_argument(option, type=field.type, default=field.default, metavar=metavar, help=shown)
        actions.append(action)
    if isinstance(parser, CommandParser):
        parser.add_settings(group, actions)


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
