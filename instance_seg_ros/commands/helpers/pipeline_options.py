"""Options that several subcommands share: the model and the settings of every stage."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

from instance_seg_ros.core import arguments
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import PipelineSettings, SegmentationSettings, stages
from instance_seg_ros.core.settings import SettingsType
from instance_seg_ros.files.writable import check_file
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.results.rerun_recording import RerunRecording

ONLY_FOR_PROMPTS = ("prompt_model_path", "text_model_path", "text_score_threshold")
"""Settings of the segmentation that do something only where points, rectangles or words are asked for."""


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--model` and one option for each setting of each stage, such as `--lifting-min-points`."""
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="model file, name of a shipped one (`instance-seg models`), or folder or hub name of one of transformers "
        "(default: tabletop_rgbd)",
    )
    for stage, settings_type in stages().items():
        arguments.add_arguments(parser, settings_type, f"{stage} settings", prefix=f"{stage}_")


def add_rerun_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--rrd`."""
    parser.add_argument(
        "--rrd", type=Path, metavar="FILE", help="also write the scenes as a Rerun recording: `rerun FILE` shows it"
    )


def check_rerun(path: Path | None) -> None:
    """Raises, before a model is loaded, where no Rerun recording can be written to a path; nothing for None.

    Raises:
        InputError: rerun-sdk is not installed, or the file cannot be written.
    """
    if path is not None and importlib.util.find_spec("rerun") is None:
        raise InputError("--rrd needs the module rerun, which is not installed; pip install rerun-sdk")
    check_file(path, "--rrd")


@contextlib.contextmanager
def rerun_listener(path: Path | None) -> Iterator[Callable[[Scene], None]]:
    """What to call with each scene: writes it into the Rerun recording at `path`, or does nothing for None."""
    if path is None:
        yield lambda scene: None
        return
    with RerunRecording(path) as recording:
        yield recording.write


def load_pipeline(args: argparse.Namespace) -> Pipeline:
    """The pipeline that the options ask for.

    Raises:
        InputError: for a setting out of range or a model file that cannot be used.
    """
    return Pipeline.from_settings(pipeline_settings(args), args.model)


def pipeline_settings(args: argparse.Namespace) -> PipelineSettings:
    """The settings of all stages that the options ask for.

    Raises:
        InputError: for a setting out of range.
    """
    return PipelineSettings(**{stage: settings_of(args, kind, stage) for stage, kind in stages().items()})  # type: ignore[arg-type]


def settings_of(args: argparse.Namespace, settings_type: type[SettingsType], stage: str) -> SettingsType:
    """The settings of one stage that the options ask for.

    Raises:
        InputError: for a setting out of range.
    """
    try:
        return arguments.from_arguments(args, settings_type, prefix=f"{stage}_")
    except InputError as error:
        raise InputError(f"{stage} settings: {error}") from error


def refuse_prompt_options(args: argparse.Namespace, command: str) -> None:
    """Refuses the settings of what answers prompts where nothing is asked for.

    Raises:
        InputError: naming them.
    """
    settings, defaults = settings_of(args, SegmentationSettings, "segmentation"), SegmentationSettings()
    given = [name for name in ONLY_FOR_PROMPTS if getattr(settings, name) != getattr(defaults, name)]
    if given:
        options = ", ".join(f"--segmentation-{name.replace('_', '-')}" for name in given)
        raise InputError(f"{options} cannot be used with {command}, which asks for no single objects")


def parse_size_wh(text: str) -> tuple[int, int]:
    """(width, height) of "640x480", as a type of argparse.

    Raises:
        argparse.ArgumentTypeError: the text is no size.
    """
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 640x480")
    return int(width), int(height)


def parse_count(text: str) -> int:
    """A whole number of at least 1, as a type of argparse.

    Raises:
        argparse.ArgumentTypeError: the text is none.
    """
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def model_line(pipeline: Pipeline) -> str:
    """Which model runs on what, as one line."""
    info = pipeline.segmenter.info
    return f"model {info.name} {info.version} ({info.digest[:12]}) on {pipeline.segmenter.backend}"
