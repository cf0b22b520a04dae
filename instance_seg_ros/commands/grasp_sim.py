"""`instance-seg grasp-sim`: the pipeline's grasps, judged by physics."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instance_seg_ros.commands.helpers.pipeline_options import (
    add_pipeline_arguments,
    parse_count,
    pipeline_settings,
    refuse_prompt_options,
)
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.files.writable import check_folder, claimed_folder

if TYPE_CHECKING:
    from instance_seg_ros.core.parameters import PipelineSettings
    from instance_seg_ros.learning.grasp_simulation.planners import Planner
    from instance_seg_ros.learning.grasp_simulation.rounds import AttemptRecord, RoundRecord, RoundSettings
    from instance_seg_ros.learning.grasp_simulation.scenes import Stage
    from instance_seg_ros.learning.grasp_simulation.world import Attempt

_SETTINGS, _ROUNDS = "run.json", "rounds.jsonl"
_ROUND_S = 1.2
"""How long a round takes on an idle core of 2025."""
EPILOG = """\
A free parallel-jaw gripper of the size that the gripper settings name clears scenes of five objects in MuJoCo, after
the protocol of VGN (Breyer et al., CoRL 2020). "packed" scenes stand upright beside each other, "pile" scenes were
dropped from 20 cm. One depth camera looks at them from 40 to 60 degrees. "tote" scenes were dropped into a tote, seen
from 55 to 80 degrees; "shelf" scenes stand on a board between walls, with a board above, seen from the front at 12 to
35 degrees; "cut" scenes are piles that the border of the image goes through, of which cleared says little. The planner
names a grasp; the gripper comes straight in along the approach with its fingers open and stops where it touches
something; it closes with its force, lifts by 20 cm, from a shelf by 2 cm and out to the front, and shakes. A grasp
succeeds when the object is still held. What is held is taken away and the camera
looks again. A round ends when the table is empty, without a grasp, or after two failures in a row; success is the share
of executed grasps that held, cleared the share of objects that were taken away, each with its 95 % interval (Wilson).

--planners pipeline,top-down runs both on the same scenes; top-down is the plain recipe, straight down across the
narrower side of the box, and what a planner has to beat; ordered leaves what carries another object for later; any
takes any of the pipeline's grasps, not the best.
--masks true takes the network out of the question.
All --objects but reserved are for work; keep reserved for the last run before figures are published.

With --out every finished round is kept: the same command goes on where an interrupted one stopped, and with more
--rounds it adds to them. There it writes rounds.jsonl (every attempt, with the true error of its contacts),
metrics.json, reliability.svg (quality against what held), and index.html with a strip of pictures of each failure.

examples:
  a first look, a few minutes:
    instance-seg grasp-sim --rounds 10 --masks true
  figures to publish:
    instance-seg grasp-sim --rounds 200 --objects reserved --out grasps
  the weights of the quality, from all rounds that two runs kept (put the line into grasping/quality.py):
    instance-seg grasp-sim --rounds 100 --masks true --planners any --out any
    instance-seg grasp-sim --rounds 100 --masks true --planners pipeline --out best
    instance-seg grasp-sim --fit-quality any best
  another gripper:
    instance-seg grasp-sim --rounds 50 --masks true --gripper-preset onrobot_rg2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg grasp-sim`."""
    from instance_seg_ros.learning.grasp_simulation.object_sets import OBJECT_SETS
    from instance_seg_ros.learning.grasp_simulation.scenes import SCENES
    from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS

    parser.usage = "%(prog)s [--rounds N] [--masks true] [--out DIR] [options]"
    parser.epilog = EPILOG
    parser.add_argument(
        "--rounds",
        type=parse_count,
        metavar="N",
        default=20,
        help="rounds of each scene and planner (default: 20, so 80 in all)",
    )
    parser.add_argument(
        "--scenes",
        metavar="NAMES",
        default="packed,pile",
        help=f"comma-separated: {', '.join(SCENES)} (default: %(default)s)",
    )
    parser.add_argument(
        "--planners",
        metavar="NAMES",
        default="pipeline,top-down",
        help="comma-separated: pipeline, ordered, top-down, any (default: %(default)s)",
    )
    parser.add_argument(
        "--masks",
        choices=("network", "true"),
        default="network",
        help="who segments: the network, or truth, which needs no model and is faster (default: network)",
    )
    parser.add_argument(
        "--objects", choices=tuple(OBJECT_SETS), default="development", help="families of shapes (default: development)"
    )
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of the first round (default: 0)")
    parser.add_argument(
        "--sensor", choices=tuple(PRESETS), default="active_stereo", help="the depth camera (default: active_stereo)"
    )
    parser.add_argument(
        "--pad-friction",
        type=float,
        metavar="X",
        default=0.0,
        help="true friction between pads and objects (default: 0, the gripper's pad_friction)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep rounds here, and write the report")
    parser.add_argument(
        "--fit-quality",
        type=Path,
        metavar="DIR",
        nargs="+",
        help="run nothing; fit the weights of the quality to the rounds that are kept there",
    )
    parser.add_argument(
        "--keep-weights",
        action="store_true",
        help="with --fit-quality: fit the curve alone, which needs fewer rounds; the order of grasps stays",
    )
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the rounds that are not there yet and prints the tables; returns the exit status.

    Raises:
        InputError: an option cannot be used, or the folder holds rounds of other options.
    """
    from instance_seg_ros.grasping.quality import WEIGHTS
    from instance_seg_ros.learning.grasp_simulation.calibration import fitted_lines
    from instance_seg_ros.learning.grasp_simulation.planners import (
        any_of_pipeline,
        best_of_pipeline,
        first_in_order,
        top_down,
    )
    from instance_seg_ros.learning.grasp_simulation.rounds import RoundSettings
    from instance_seg_ros.learning.grasp_simulation.scenes import SCENES

    if args.keep_weights and args.fit_quality is None:
        raise InputError("--keep-weights says how --fit-quality fits, and was given without it")
    if args.fit_quality is not None:
        for folder in args.fit_quality:
            if not (folder / _ROUNDS).is_file():
                raise InputError(f"--fit-quality {folder}: there is no {_ROUNDS}, so it is no folder of --out")
        kept = [record for folder in args.fit_quality for record in _kept(folder / _ROUNDS)]
        attempts = [attempt for record in kept for attempt in record.attempts]
        print(fitted_lines(attempts, WEIGHTS if args.keep_weights else None))
        return 0
    refuse_prompt_options(args, "grasp-sim")
    check_folder(args.out, "--out")
    pipeline = pipeline_settings(args)
    if args.seed < 0 or not 0 <= args.pad_friction <= 5:
        raise InputError("--seed must be 0 or more, and --pad-friction from 0 to 5")
    scenes = _names(args.scenes, tuple(SCENES), "--scenes")
    makers = {"pipeline": best_of_pipeline, "ordered": first_in_order, "top-down": top_down, "any": any_of_pipeline}
    planners = {name: makers[name](pipeline) for name in _names(args.planners, tuple(makers), "--planners")}
    settings = RoundSettings(
        args.objects, args.sensor, args.pad_friction or pipeline.gripper.pad_friction, args.masks == "network"
    )
    with contextlib.nullcontext() if args.out is None else claimed_folder(args.out, "--out"):
        return _simulate(args, pipeline, scenes, planners, settings)


def _simulate(
    args: argparse.Namespace,
    pipeline: PipelineSettings,
    scenes: list[str],
    planners: dict[str, Planner],
    settings: RoundSettings,
) -> int:
    """Runs the rounds that are missing in `args.out`, prints them all, and writes the report; the exit status."""
    from tqdm import tqdm

    from instance_seg_ros.learning.grasp_simulation import report
    from instance_seg_ros.learning.grasp_simulation.planners import Perception
    from instance_seg_ros.learning.grasp_simulation.rounds import run_round
    from instance_seg_ros.segmentation import load_segmenter

    wanted = [(scene, name, args.seed + index) for index in range(args.rounds) for scene in scenes for name in planners]
    done: dict[tuple[str, str, int], RoundRecord] = {}
    options = _options(args)
    if args.out is not None:
        _check_same_run(args.out / _SETTINGS, options)
        done = {(record.scene, record.planner, record.seed): record for record in _kept(args.out / _ROUNDS)}
    perception = Perception(
        pipeline, load_segmenter(args.model, pipeline.segmentation) if settings.with_color else None
    )
    missing = [key for key in wanted if key not in done]
    print(beginning(len(missing), args.rounds, scenes, list(planners)), file=sys.stderr)
    for key in tqdm(missing, unit="round", leave=False):
        scene, name, seed = key

        def watch(
            number: int, record: AttemptRecord, attempt: Attempt, stage: Stage, key: tuple[str, str, int] = key
        ) -> None:
            if args.out is not None and not record.success:
                report.write_strip(args.out / report.strip_name(*key, number), attempt, stage)

        done[key] = run_round(scene, (name, planners[name]), seed, settings, pipeline, perception, watch)
        if args.out is not None:
            with (args.out / _ROUNDS).open("a") as file:
                file.write(json.dumps(done[key].as_json()) + "\n")
    rounds = [done[key] for key in sorted(wanted, key=lambda key: (scenes.index(key[0]), list(planners).index(key[1])))]
    opening_m = pipeline.gripper.max_opening_m
    print(report.as_text(rounds, opening_m))
    if args.out is not None:
        report.write_report(args.out, options, rounds, opening_m)
        print(f"\nwrote {args.out / 'metrics.json'} and {args.out / 'index.html'}")
    return 0


def beginning(missing: int, rounds: int, scenes: list[str], planners: list[str]) -> str:
    """What is going to run, and how long that takes."""
    kinds = " and ".join([", ".join(scenes), ", ".join(planners)])
    minutes = max(missing * _ROUND_S / 60, 1)
    return f"{missing} rounds to run, {rounds} for each of {kinds}: some {minutes:.0f} min where no other work runs"


def _names(text: str, known: tuple[str, ...], option: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"{option} knows {', '.join(known)}, not {', '.join(unknown)}")
    return names


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The options that decide about a round's outcome, by name."""
    free = ("command", "run", "out", "rounds", "seed", "scenes", "planners", "fit_quality", "keep_weights")
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in sorted(vars(args).items())
        if name not in free
    }


def _check_same_run(path: Path, options: dict[str, Any]) -> None:
    """Writes the options, or compares them with those that are there.

    Raises:
        InputError: naming the options that differ.
    """
    if not path.exists():
        write_atomically(path, (json.dumps(options, indent=1) + "\n").encode())
        return
    try:
        before = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    changed = sorted(name for name in before.keys() | options.keys() if before.get(name) != options.get(name))
    if changed:
        raise InputError(f"{path.parent} holds rounds with other options ({', '.join(changed)}); take another --out")


def _kept(path: Path) -> Iterator[RoundRecord]:
    """The rounds that are there; a last line that was cut short is dropped.

    Raises:
        InputError: for a line that is no round.
    """
    from instance_seg_ros.learning.grasp_simulation.rounds import RoundRecord

    if not path.exists():
        return
    text = path.read_text()
    whole, _, cut = text.rpartition("\n")
    if cut:
        write_atomically(path, (whole + "\n").encode() if whole else b"")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            yield RoundRecord.from_json(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}, line {number}: not a round: {error}") from error
