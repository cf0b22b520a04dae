"""Print how long lifting and grasping take of scenes with ten and with fifty objects, in CPU time on one core.

    python scripts/time_objects.py [--objects 10 50] [--scenes 3] [--rounds 10] [--parts]

Generated objects of any shape stand on a table, row by row, in front of a 640x480 camera with noise; the masks are the
true ones. CPU time, in which a busy machine shows least; of the rounds of a scene the shortest counts.

With --parts, in wall time: in kernels, and in the Python, NumPy and OpenCV between them. What is called is the same in
each round, so that of every call, and of every gap between two, the shortest counts; a busy machine hardly shows in it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import cv2
import numpy as np
from tabulate import tabulate

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.compiled import Kernel, compile_kernels
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import PipelineSettings
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.room import Room
from instance_seg_ros.learning.synthetic.rooms.world import Placed
from instance_seg_ros.lifting import Lifter

CAMERA = Intrinsics(640, 480, 600.0, 600.0, 319.5, 239.5)
PITCH_M = 0.11
ELEVATION_DEG = 55.0
NOISE_M = 0.0015
"""Standard deviation of depth at 1 m; it grows with the square of the distance."""
PLAIN = Appearance("plain", (0.5, 0.5, 0.5))
WHOLE = "lifting, ms", "grasps, ms"
PARTS = "lifting: kernels, ms", "between them, ms", "grasps: kernels, ms", "between them, ms"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 50], help="in a scene (default: 10 50)")
    parser.add_argument("--scenes", type=int, default=3, help="of each number of objects (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="for each scene (default: %(default)s)")
    parser.add_argument("--parts", action="store_true", help="in kernels and between them")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    compile_kernels(print)
    settings = PipelineSettings()
    lifter, sampler = Lifter(settings.lifting), GraspSampler(settings.grasping, settings.gripper)
    measured, headers = (parts_ms, PARTS) if args.parts else (whole_ms, WHOLE)
    rows = []
    for count in args.objects:
        scenes = [scene(count, seed) for seed in range(args.scenes)]
        times_ms = [measured(lifter, sampler, *each, args.rounds) for each in scenes]
        seen = np.mean([len(instances) for _, instances in scenes])
        rows.append([f"{value:.1f}" for value in (seen, *np.mean(times_ms, axis=0))])
    print(tabulate(rows, ("objects seen", *headers), tablefmt="github", disable_numparse=True))


def whole_ms(
    lifter: Lifter, sampler: GraspSampler, frame: RgbdFrame, instances: Instances, rounds: int
) -> tuple[float, ...]:
    """What `WHOLE` names, of the shortest of some rounds each."""
    times_ms = [round_ms(lifter, sampler, frame, instances) for _ in range(rounds)]
    return tuple(np.min(times_ms, axis=0))


def parts_ms(
    lifter: Lifter, sampler: GraspSampler, frame: RgbdFrame, instances: Instances, rounds: int
) -> tuple[float, ...]:
    """What `PARTS` names, of the shortest of each call and each gap."""
    lifted = lifter.lift(frame, instances)
    return (
        *shortest_parts_ms(lambda: lifter.lift(frame, instances), rounds),
        *shortest_parts_ms(lambda: sampler.sample(frame, lifted, instances), rounds),
    )


def shortest_parts_ms(run: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Wall time of a function in kernels, and outside of them."""
    stamps_ns: list[int] = []
    called = Kernel.__call__

    def stamped(own: Kernel[..., object], *args: object, **kwargs: object) -> object:
        stamps_ns.append(time.perf_counter_ns())
        result = called(own, *args, **kwargs)
        stamps_ns.append(time.perf_counter_ns())
        return result

    spans_ns = []
    Kernel.__call__ = stamped  # type: ignore[assignment, method-assign]
    try:
        for _ in range(rounds):
            stamps_ns.clear()
            start_ns = time.perf_counter_ns()
            run()
            spans_ns.append(np.diff([start_ns, *stamps_ns, time.perf_counter_ns()]))
    finally:
        Kernel.__call__ = called  # type: ignore[method-assign]
    shortest_ms = np.min(spans_ns, axis=0) / 1e6
    return shortest_ms[1::2].sum(), shortest_ms[::2].sum()


def round_ms(lifter: Lifter, sampler: GraspSampler, frame: RgbdFrame, instances: Instances) -> tuple[float, float]:
    """CPU time of lifting and of grasping a frame once."""
    start_s = time.process_time()
    lifted = lifter.lift(frame, instances)
    middle_s = time.process_time()
    sampler.sample(frame, lifted, instances)
    return 1e3 * (middle_s - start_s), 1e3 * (time.process_time() - middle_s)


def scene(count: int, seed: int) -> tuple[RgbdFrame, Instances]:
    """So many objects in rows that are half as many again as they are long, and the masks of those that are seen."""
    rng = np.random.default_rng([seed, count])
    room = Room(rng)
    room.add_box((2.0, 2.0, 0.02), (0.0, 0.0, -0.02), solid=True)
    across = math.ceil(math.sqrt(1.5 * count))
    along = math.ceil(count / across)
    placed = []
    for index in range(count):
        shape, turn = small_shape(rng), yaw_rotation(rng.uniform(0, 2 * np.pi))
        vertices_m = np.asarray(shape.mesh.vertices) @ turn.T
        low_m, high_m = vertices_m.min(axis=0), vertices_m.max(axis=0)
        x_m, y_m = (index % across - (across - 1) / 2) * PITCH_M, (index // across - (along - 1) / 2) * PITCH_M
        place_m = np.array([x_m, y_m, 0.0]) - [*(low_m + high_m)[:2] / 2, low_m[2]]
        placed.append(Placed(shape, Transform(turn, place_m), index + 1, PLAIN))
    distance_m = 0.3 + across * PITCH_M * CAMERA.fx / CAMERA.width
    T_world_camera = camera_pose(distance_m * direction(math.radians(ELEVATION_DEG), -np.pi / 2), np.zeros(3), 0.0)
    cast = RayCaster([*room.solid, *placed]).cast(CAMERA, T_world_camera)
    depth_m = cast.depth_m + rng.normal(0, NOISE_M, cast.depth_m.shape) * cast.depth_m**2
    frame = RgbdFrame(None, np.maximum(depth_m, 0).astype(np.float32), CAMERA)
    return frame, Instances.from_labels(np.where(cast.ids <= count, cast.ids, 0))


def small_shape(rng: np.random.Generator) -> ObjectShape:
    """A shape that fits into its place however it is turned."""
    names = sorted(FAMILIES)
    while True:
        shape = FAMILIES[names[int(rng.integers(len(names)))]](rng)
        extents_m = np.ptp(np.asarray(shape.mesh.vertices), axis=0)
        if math.hypot(*extents_m[:2].tolist()) < PITCH_M and extents_m[2] < 2 * PITCH_M:
            return shape


if __name__ == "__main__":
    main()
