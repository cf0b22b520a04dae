"""Scenes, rounds, their figures and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from claims import claimed_by_another
from scipy.stats import binomtest

from instance_seg_ros.commands.main import main
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.parameters import GripperSettings, PipelineSettings
from instance_seg_ros.learning.grasp_simulation.object_sets import OBJECT_SETS
from instance_seg_ros.learning.grasp_simulation.objects import DEVELOPMENT_FAMILIES, block, shape_of
from instance_seg_ros.learning.grasp_simulation.planners import Perception, Proposal, Seen, top_down
from instance_seg_ros.learning.grasp_simulation.report import calibration_rows, reliability_svg
from instance_seg_ros.learning.grasp_simulation.rounds import (
    AttemptRecord,
    RoundRecord,
    RoundSettings,
    contacts_against_truth,
    explanation,
    run_round,
)
from instance_seg_ros.learning.grasp_simulation.scenes import (
    SCENES,
    Stage,
    packed_scene,
    piled_scene,
    shelf_scene,
    tote_scene,
)
from instance_seg_ros.learning.grasp_simulation.statistics import Share, calibration, figures_of
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS

SETTINGS = RoundSettings("development", "ideal", friction=0.5, with_color=False)
HELD = AttemptRecord("jar", 0.8, 0.05, "HELD", "nothing", (0.001, 0.0), (3.0, 4.0), "jar")
LOST = replace(HELD, cause="SLIPPED", held_family="")


@pytest.mark.parametrize("name", [f"{group} {name}" for group, families in OBJECT_SETS.items() for name in families])
def test_an_object_stands_on_the_table_and_something_of_it_fits_the_gripper(name: str) -> None:
    group, family = name.split()
    for seed in range(5):
        shape = shape_of(family, OBJECT_SETS[group][family](np.random.default_rng(seed)))
        vertices_m = np.asarray(shape.mesh.vertices)
        assert abs(shape.bottom_m) < 1e-6 and 0.004 < shape.height_m < 0.2 and shape.footprint_radius_m < 0.12
        pieces_m = np.concatenate(
            [np.asarray(g.vertices_m) for g in shape.geoms if g.vertices_m is not None] or [vertices_m]
        )
        assert (np.abs(pieces_m).max(axis=0) <= np.abs(vertices_m).max(axis=0) + 1e-9).all()  # what collides is seen


def test_no_family_is_in_two_sets() -> None:
    names = [name for families in OBJECT_SETS.values() for name in families]
    assert len(names) == len(set(names))


def test_packed_objects_stand_apart() -> None:
    for seed in range(3):
        world = packed_scene(np.random.default_rng(seed), DEVELOPMENT_FAMILIES, GripperSettings(), 0.5)
        poses = world.poses()
        assert np.degrees(np.arccos(np.clip(poses[:, 2, 2], -1, 1))).max() < 3
        for i in range(5):
            for j in range(i):
                distance_m = np.linalg.norm(poses[i, :2, 3] - poses[j, :2, 3])
                assert distance_m > world.shapes[i].footprint_radius_m + world.shapes[j].footprint_radius_m


def test_a_pile_is_at_rest_without_its_walls_and_follows_from_its_seed() -> None:
    first, second = (
        piled_scene(np.random.default_rng(4), DEVELOPMENT_FAMILIES, GripperSettings(), 0.5) for _ in range(2)
    )
    before = first.poses()
    np.testing.assert_array_equal(before, second.poses())
    first.settle()
    assert np.abs(first.poses()[:, :3, 3] - before[:, :3, 3]).max() < 0.005
    assert before[:, 2, 3].max() < 0.2 and np.abs(before[:, :2, 3]).max() < 0.25


def test_what_fell_into_a_tote_lies_between_its_walls_and_follows_from_its_seed() -> None:
    first, second = (
        tote_scene(np.random.default_rng(4), DEVELOPMENT_FAMILIES, GripperSettings(), 0.5) for _ in range(2)
    )
    np.testing.assert_array_equal(first.poses(), second.poses())
    low_m, high_m = (
        np.array([pick(own.centre_m[axis] for own in first.walls) for axis in (0, 1)]) for pick in (min, max)
    )
    for shape, T in zip(first.shapes, first.poses(), strict=True):
        vertices_m = np.asarray(shape.mesh.vertices) @ T[:3, :3].T + T[:3, 3]
        assert (vertices_m[:, :2] > low_m).all() and (vertices_m[:, :2] < high_m).all()


def test_objects_stand_apart_on_a_shelf_under_its_board() -> None:
    for seed in range(3):
        world = shelf_scene(np.random.default_rng(seed), DEVELOPMENT_FAMILIES, GripperSettings(), 0.5)
        *_, above = world.walls
        lowest_m = above.centre_m[2] - above.size_m[2] / 2
        assert len(world.shapes) >= 3
        for shape, T in zip(world.shapes, world.poses(), strict=True):
            vertices_m = np.asarray(shape.mesh.vertices) @ T[:3, :3].T + T[:3, 3]
            assert np.degrees(np.arccos(min(T[2, 2], 1.0))) < 3 and vertices_m[:, 2].max() < lowest_m
            assert np.abs(vertices_m[:, 0]).max() < 0.25 and np.abs(vertices_m[:, 1]).max() < 0.16


@pytest.mark.parametrize(("kind", "low_deg", "high_deg", "cut"), [("shelf", 12, 35, False), ("cut", 40, 60, True)])
def test_a_scene_is_seen_from_where_its_kind_says(kind: str, low_deg: float, high_deg: float, cut: bool) -> None:
    for seed in range(6):
        T_world_camera = SCENES[kind].view.draw(np.random.default_rng(seed))
        forward = T_world_camera.rotation[:, 2]
        assert low_deg - 1e-6 <= np.degrees(np.arcsin(-forward[2])) <= high_deg + 1e-6
        middle_m = T_world_camera.inverse().apply(np.array([0.0, 0.0, SCENES[kind].view.height_m]))
        beside_px = np.abs(middle_m[:2] / middle_m[2] * 610) / (320, 240)
        assert bool(beside_px.max() > 0.69) is cut and beside_px.max() < 1.11


def test_walls_are_seen_where_they_are() -> None:
    rng = np.random.default_rng(2)
    world = shelf_scene(rng, DEVELOPMENT_FAMILIES, GripperSettings(), 0.5)
    frame, labels = Stage(world, rng, PRESETS["ideal"], SCENES["shelf"].view).frame(0, with_color=False)
    again = np.random.default_rng(2)
    bare = replace(shelf_scene(again, DEVELOPMENT_FAMILIES, GripperSettings(), 0.5), walls=())
    without, as_many = Stage(bare, again, PRESETS["ideal"], SCENES["shelf"].view).frame(0, with_color=False)
    around = (labels == 0) & (as_many == 0) & (without.depth_m > 0)
    nearer = frame.depth_m < without.depth_m - 0.01
    assert nearer[around].mean() > 0.1 and not (frame.depth_m > without.depth_m + 0.01)[around].any()


def test_a_frame_shows_every_object_where_it_is() -> None:
    rng = np.random.default_rng(0)
    world = packed_scene(rng, DEVELOPMENT_FAMILIES, GripperSettings(), 0.5)
    stage = Stage(world, rng, PRESETS["ideal"])
    frame, labels = stage.frame(0, with_color=False)
    assert frame.color_rgb is None and set(np.unique(labels)) == {0, 1, 2, 3, 4, 5}
    rows, columns = np.nonzero(labels == 2)
    rays = np.column_stack([frame.intrinsics.rays[rows, columns], np.ones(len(rows))])
    seen_m = stage.T_world_camera.apply(rays * frame.depth_m[rows, columns, None])
    mesh = world.shapes[1].mesh.copy()
    mesh.apply_transform(world.poses()[1])
    assert (seen_m > mesh.bounds[0] - 1e-3).all() and (seen_m < mesh.bounds[1] + 1e-3).all()


def nothing(frame: RgbdFrame, seen: Seen) -> Proposal | None:
    return None


def test_a_round_without_a_grasp_ends_at_once() -> None:
    pipeline = PipelineSettings()
    record = run_round("packed", ("none", nothing), 0, SETTINGS, pipeline, Perception(pipeline, None))
    assert (record.ended, record.cleared, record.objects, record.attempts) == ("no grasp", 0, 5, ())
    assert len(record.left) == 5


def test_a_round_ends_after_two_failures_in_a_row() -> None:
    pipeline = PipelineSettings()
    planner = top_down(pipeline)

    def above(frame: RgbdFrame, seen: Seen) -> Proposal | None:
        proposal = planner(frame, seen)
        assert proposal is not None
        T = proposal.T_camera_grasp
        return replace(proposal, T_camera_grasp=type(T)(T.rotation, T.translation_m - 0.3 * T.rotation[:, 2]))

    record = run_round("packed", ("above", above), 3, SETTINGS, pipeline, Perception(pipeline, None))
    assert record.ended == "two failures" and [attempt.cause for attempt in record.attempts] == ["MISSED"] * 2


def test_a_round_is_the_same_again_and_survives_its_file() -> None:
    pipeline = PipelineSettings()
    first, second = (
        run_round("packed", ("top-down", top_down(pipeline)), 1, SETTINGS, pipeline, Perception(pipeline, None))
        for _ in range(2)
    )
    assert first == second and len(first.attempts) >= 2
    assert RoundRecord.from_json(json.loads(json.dumps(first.as_json()))).cleared == first.cleared
    assert first.cleared + len(first.left) + first.out_of_reach == first.objects
    angles_deg = [max(own.surface_angles_deg) for own in first.attempts if own.success and own.surface_angles_deg]
    assert angles_deg and max(angles_deg) < 90  # whichever way a mesh's faces wind


@pytest.mark.parametrize(("count", "total"), [(0, 10), (5, 10), (10, 10), (97, 100), (1, 1)])
def test_intervals_are_those_that_scipy_gives(count: int, total: int) -> None:
    expected = binomtest(count, total).proportion_ci(method="wilson")
    assert Share(count, total).interval == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_of_nothing_nothing_is_known() -> None:
    assert Share(0, 0).interval == (0.0, 1.0) and math.isnan(Share(0, 0).value) and str(Share(0, 0)) == "-"


def test_figures_count_grasps_and_objects_by_scene_and_planner() -> None:
    rounds = [
        RoundRecord("packed", "pipeline", 0, 5, 1, 0, "no grasp", (HELD, LOST), ("egg",) * 4),
        RoundRecord("packed", "pipeline", 1, 5, 2, 0, "empty", (HELD, HELD), ()),
        RoundRecord("pile", "pipeline", 0, 5, 0, 1, "two failures", (LOST, LOST), ("cup",) * 4),
    ]
    packed, pile = figures_of(rounds, max_opening_m=0.08)
    assert (packed.rounds, packed.success, packed.cleared) == (2, Share(3, 4), Share(3, 10))
    assert packed.left == {"egg": 4} and packed.ended == {"no grasp": 1, "empty": 1}
    assert pile.causes == {("SLIPPED", ""): 2} and pile.success == Share(0, 2)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ""),
        ({"contact_error_m": None, "surface_angles_deg": None}, "the closing line misses the object"),
        ({"contact_error_m": (0.0, -0.009)}, "a contact lies inside the body"),
        (
            {"touched": "itself", "contact_error_m": (0.0, -0.009)},
            "the open gripper met the object itself, a contact lies inside the body",
        ),
        ({"touched": "object 3"}, "it met another object"),
        ({"touched": "wall"}, "it met a wall or a board"),
        ({"contact_error_m": (0.02, 0.0)}, "a contact lies outside the body"),
        ({"surface_angles_deg": (3.0, 41.0)}, "a surface is turned by more than 30 degrees"),
        ({"width_m": 0.075}, "wider than nine tenths of the opening"),
    ],
)
def test_truth_tells_what_was_wrong_with_a_grasp(changes: dict[str, object], wrong: str) -> None:
    assert explanation(replace(LOST, **changes), max_opening_m=0.08) == wrong  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("middle_x_m", "width_m", "errors_m"),
    [
        pytest.param(0.0, 0.05, (0.0, 0.0), id="right"),
        pytest.param(0.0, 0.056, (0.003, 0.003), id="planned too wide"),
        pytest.param(-0.002, 0.05, (0.002, -0.002), id="planned aside"),
        pytest.param(-0.01, 0.03, (0.0, -0.02), id="planned far inside the body on one side"),
        pytest.param(0.0, 0.01, (-0.02, -0.02), id="planned far inside on both"),
    ],
)
def test_planned_contacts_are_held_against_the_true_surface(
    middle_x_m: float, width_m: float, errors_m: tuple[float, float]
) -> None:
    """Of a block 50 mm wide, along its y, which is the grasp's x."""
    mesh, T_object_grasp = block((0.08, 0.05, 0.07)).mesh, np.eye(4)
    T_object_grasp[:3] = [[0, 0, 1, 0.003], [1, 0, 0, middle_x_m], [0, 1, 0, 0.03]]
    found = contacts_against_truth(mesh, T_object_grasp, width_m)
    assert found is not None
    assert found[0] == pytest.approx(errors_m, abs=1e-5) and found[1] == pytest.approx((0, 0), abs=0.1)
    T_object_grasp[2, 3] = 0.08
    assert contacts_against_truth(mesh, T_object_grasp, width_m) is None


def test_calibration_puts_each_grasp_into_the_bin_of_its_quality() -> None:
    attempts = [replace(HELD, quality=q) for q in (0.0, 0.85, 0.9, 1.0)] + [replace(LOST, quality=0.88)]
    attempts.append(replace(LOST, quality=None))
    bins = [(own.low, own.high, own.held.count, own.held.total) for own in calibration(attempts)]
    assert bins == [(0.0, 0.1, 1, 1), (0.8, 0.9, 1, 2), (0.9, 1.0, 2, 2)]


def test_calibration_tells_what_was_seen_in_part_apart() -> None:
    attempts = (
        *[replace(HELD, quality=0.95, in_part=False)] * 2,
        replace(HELD, quality=0.95, in_part=True),
        *[replace(LOST, quality=0.95, in_part=True)] * 3,
        replace(HELD, quality=0.55),
    )
    rows = calibration_rows([RoundRecord("pile", "any", 0, 5, 3, 0, "empty", attempts, ())])
    assert [(row[0], row[1], row[3].split("(")[1]) for row in rows] == [
        ("whole", "0.9 to 1.0", "2/2)"),
        ("not known", "0.5 to 0.6", "1/1)"),
        ("in part", "0.9 to 1.0", "1/4)"),
    ]


def test_the_reliability_diagram_has_a_point_for_each_bin_at_its_mean_quality_and_share() -> None:
    attempts = (*[replace(HELD, quality=0.95)] * 3, replace(LOST, quality=0.95), replace(LOST, quality=0.15))
    svg = ElementTree.fromstring(reliability_svg([RoundRecord("pile", "any", 0, 5, 3, 0, "empty", attempts, ())]))
    circles = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in svg.iter("{http://www.w3.org/2000/svg}circle")]
    assert circles == pytest.approx(np.array([(60 + 300 * 0.15, 320.0), (60 + 300 * 0.95, 20 + 300 * 0.25)]))


def run_command(out: Path, *more: str) -> int:
    words = ["grasp-sim", "--masks", "true", "--scenes", "packed", "--planners", "top-down", "--sensor", "ideal"]
    return main([*words, "--out", str(out), *more])


def test_the_command_keeps_rounds_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(tmp_path, "--rounds", "1") == 0
    lines = (tmp_path / "rounds.jsonl").read_text().splitlines()
    assert len(lines) == 1 and "packed" in (tmp_path / "index.html").read_text()
    with (tmp_path / "rounds.jsonl").open("a") as file:
        file.write('{"scene": "packed", "cut sh')  # as an end without warning leaves it
    assert run_command(tmp_path, "--rounds", "2") == 0
    lines_after = (tmp_path / "rounds.jsonl").read_text().splitlines()
    assert lines_after[0] == lines[0] and len(lines_after) == 2
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["rounds"][0]["rounds"] == "2" and metrics["options"]["masks"] == "true"
    records = [RoundRecord.from_json(json.loads(line)) for line in lines_after]
    failed = sum(not attempt.success for record in records for attempt in record.attempts)
    assert len(list((tmp_path / "failures").glob("*.jpg"))) == failed
    printed = capsys.readouterr()
    assert "cleared [95 %]" in printed.out
    assert "1 rounds to run, 2 for each of packed and top-down: some 1 min where no other work runs" in printed.err
    assert run_command(tmp_path, "--rounds", "2", "--pad-friction", "0.3") == 2
    assert "other options (pad_friction)" in capsys.readouterr().err


def test_two_commands_do_not_keep_rounds_in_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with claimed_by_another(tmp_path):
        assert run_command(tmp_path, "--rounds", "1") == 2
    assert f"another process is at work in --out {tmp_path}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".in_use"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenes", "heap"], "--scenes knows packed, pile, shelf, tote, cut, not heap"),
        (["--planners", "best"], "--planners knows pipeline, ordered, top-down, any, not best"),
        (["--pad-friction", "nan"], "--pad-friction from 0 to 5"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--keep-weights"], "--keep-weights says how --fit-quality fits, and was given without it"),
        (["--fit-quality", "absent"], "--fit-quality absent: there is no rounds.jsonl"),
    ],
)
def test_options_that_cannot_be_are_named(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grasp-sim", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_round_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rounds.jsonl").write_text("{}\n")
    assert run_command(tmp_path, "--rounds", "1") == 2
    assert "rounds.jsonl, line 1: not a round" in capsys.readouterr().err
