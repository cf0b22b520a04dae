"""The `instance-seg` command. Each subcommand is imported only when it is the one that was asked for."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from instance_seg_ros import __version__
from instance_seg_ros.core.arguments import CommandParser
from instance_seg_ros.core.errors import InputError

PROGRAM = "instance-seg"
EXIT_INPUT_ERROR, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 2, 130, 141


class CommandModule(Protocol):
    """What a subcommand's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the subcommand's options."""

    def run(self, args: argparse.Namespace) -> int:
        """Does the work; returns the exit status."""


@dataclass(frozen=True)
class Command:
    """A subcommand: where it is, what it is for, and what to install when a module that it needs is missing."""

    module: str
    summary: str
    extra: str | None = None


COMMANDS = {
    "segment": Command("instance_seg_ros.commands.segment", "segment single RGB-D frames: files in, files out"),
    "bag": Command("instance_seg_ros.commands.bag", "segment a rosbag2 (sqlite3 or mcap), without ROS"),
    "view": Command("instance_seg_ros.commands.view", "look at a result of segment in a window"),
    "models": Command("instance_seg_ros.commands.models", "list model files: name, digest, classes, input"),
    "build-engine": Command(
        "instance_seg_ros.commands.build_engine", "build the TensorRT engine of a model ahead of time"
    ),
    "synth": Command("instance_seg_ros.commands.synth", "generate scenes to train on", "synth"),
    "train": Command("instance_seg_ros.commands.train", "train a network", "train"),
    "export": Command("instance_seg_ros.commands.export", "export a trained network to a model file", "train"),
    "import-weights": Command(
        "instance_seg_ros.commands.import_weights", "import the weights of a CondInst of AdelaiDet", "train"
    ),
    "calibrate": Command(
        "instance_seg_ros.commands.calibrate", "make a model's scores probabilities, by labelled frames", "train"
    ),
    "eval": Command("instance_seg_ros.commands.evaluate", "measure a model on labelled images or scenes", "train"),
    "grasp-sim": Command("instance_seg_ros.commands.grasp_sim", "judge grasps by physics, in simulation", "synth"),
    "gripper": Command("instance_seg_ros.commands.gripper", "list grippers, and import new ones from a URDF", "synth"),
    "bench": Command("instance_seg_ros.commands.bench", "measure how long each stage takes on this machine", "synth"),
}


class _Parser(CommandParser):
    """A parser that tells a misspelt option before what is missing because of it."""

    def error(self, message: str) -> NoReturn:
        """Raises, where argparse would print and exit; `main` knows the words."""
        raise _UsageError(self, message)


class _UsageError(Exception):
    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        super().__init__(message)
        self.parser = parser


EXAMPLES = """\
examples:
  one frame; depth is a 16-bit PNG, meta.json holds {"fx", "fy", "cx", "cy", "depth_unit_m"}:
    instance-seg segment --color color.png --depth depth.png --camera meta.json --out results
  every capture in a folder (each a folder with color.png, depth.png and meta.json):
    instance-seg segment --capture captures --out results
  a recording; the results are a new bag:
    instance-seg bag recording --out recording_segmented
  what a command takes:
    instance-seg segment --help
"""


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser with all subcommands listed and the options of the chosen one.

    Raises:
        ImportError: when the chosen one needs a module that is not installed.
    """
    parser = _Parser(
        prog=PROGRAM,
        description="RGB-D frames in, segmented objects with clouds, centres, oriented boxes and grasps out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen:
            module = _load(command)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    subparsers.add_parser("version", help="print the version").set_defaults(run=_print_version)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status: 0, or 2 when the user's input is at fault."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # No option before the subcommand takes a value, so the first word without a dash is the subcommand.
    chosen = next((word for word in words if not word.startswith("-")), None)
    try:
        if fault := _fault_before_options(words, chosen):
            raise InputError(fault)
        args, unknown = build_parser(chosen).parse_known_args(words)
        if unknown:
            raise InputError(unknown_text(unknown, args.command))
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of the output has seen enough, as `| head` has; Python must not fail on that again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except _UsageError as error:
        if chosen is not None and chosen in COMMANDS and (misspelt := misspelt_options(words, chosen)):
            return _fail(unknown_text(misspelt, chosen))
        error.parser.print_usage(sys.stderr)
        print(f"{error.parser.prog}: error: {error}", file=sys.stderr)
        return EXIT_INPUT_ERROR
    except ImportError as error:
        return _fail(_missing_module(error, chosen))
    except OSError as error:
        path = error.filename2 or error.filename  # for a file that is written under another name, its own name
        return _fail(f"{path}: {error.strerror}" if path and error.strerror else str(error))
    except InputError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted", status=EXIT_INTERRUPTED)


def _fault_before_options(words: Sequence[str], chosen: str | None) -> str:
    """What is wrong with the options before the subcommand, or else with its name; empty for nothing."""
    before = words if chosen is None else words[: words.index(chosen)]
    known = "-h", "--help", "--version"
    unknown = [word for word in before if word == "--" or not any(option.startswith(word) for option in known)]
    if unknown:
        return _unknown(unknown, PROGRAM, known, f"{PROGRAM} --help")
    names = [*COMMANDS, "version"]
    if chosen is None or chosen in names or before:
        return ""  # whatever follows --help or --version
    near = difflib.get_close_matches(chosen, names, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"there is no command {chosen}{meant}; `{PROGRAM} --help` lists them all"


def unknown_text(words: Sequence[str], command: str) -> str:
    """A message about words of a command line that its command does not know, with the options that were meant."""
    return _unknown(words, command, _options_of(command), f"{PROGRAM} {command} --help")


def _unknown(words: Sequence[str], program: str, known: Sequence[str], help_call: str) -> str:
    faults = []
    for word in words:
        option = word.partition("=")[0]
        near = difflib.get_close_matches(option, known, n=1) if option.startswith("-") else []
        near = near or [name for name in known if option.endswith(name[1:])]  # --segmentation-backend for --backend
        faults.append(f"{word} (did you mean {near[0]}?)" if near else word)
    return f"{program} does not know {', '.join(faults)}; `{help_call}` lists what it takes"


def misspelt_options(words: Sequence[str], command: str) -> list[str]:
    """The words of a command line that are options which its command does not know, not even shortened."""
    known = _options_of(command)
    options = [word for word in words if re.match(r"--\w", word)]
    return [word for word in options if not any(name.startswith(word.partition("=")[0]) for name in known)]


def _options_of(command: str) -> list[str]:
    parser = argparse.ArgumentParser()
    if command in COMMANDS:
        _load(COMMANDS[command]).add_arguments(parser)
    return list(dict.fromkeys(re.findall(r"--[a-z][\w-]*", parser.format_help())))


def _load(command: Command) -> CommandModule:
    module: CommandModule = importlib.import_module(command.module)  # type: ignore[assignment]
    return module


def _missing_module(error: ImportError, chosen: str | None) -> str:
    """One line with the cure for a dependency that is not installed; any other error is our fault and is raised."""
    name = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not name or name == "instance_seg_ros":
        raise error
    command = COMMANDS.get(chosen or "")
    if command is not None and command.extra:
        cure = f"in a clone, pip install '.[{command.extra}]' or `make setup`"
    else:
        cure = f"pip install {'opencv-python-headless' if name == 'cv2' else name}"
    return f"'{chosen}' needs the module {name}, which is not installed; {cure}"


def _fail(message: str, status: int = EXIT_INPUT_ERROR) -> int:
    print(f"{PROGRAM}: error: {message}", file=sys.stderr)
    return status


def _print_version(args: argparse.Namespace) -> int:
    print(f"{PROGRAM} {__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
