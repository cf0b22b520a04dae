"""A planner's loop that clears a pile in simulation: look, take what carries nothing by its best grasp, look again."""

import sys

import numpy as np

from instance_seg_ros import Pipeline
from instance_seg_ros.core.parameters import GraspingSettings, PipelineSettings
from instance_seg_ros.learning.grasp_simulation.object_sets import OBJECT_SETS
from instance_seg_ros.learning.grasp_simulation.scenes import Stage, piled_scene, steady
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS

settings = PipelineSettings(grasping=GraspingSettings(instance_order="picking"))
rng = np.random.default_rng(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
world = piled_scene(rng, OBJECT_SETS["development"], settings.gripper, settings.gripper.pad_friction)
stage = Stage(world, rng, steady(PRESETS["active_stereo"]))
pipeline = Pipeline.from_settings(settings)

failures = 0
for look in range(20):
    frame, _ = stage.frame(seed=look, with_color=True)
    scene = pipeline.run(frame)
    first_to_last = [each for each in scene.objects_in_order(settings.grasping.instance_order) if each.grasps]
    if not first_to_last or failures == 2:
        break
    grasp = first_to_last[0].grasps[0]
    T_world_grasp = stage.T_world_camera @ grasp.T_camera_grasp
    attempt = world.attempt(T_world_grasp.matrix, grasp.opening_m, grasp.approach_distance_m)
    failures = 0 if attempt.success else failures + 1
    print(f"{len(first_to_last)} objects to take; quality {grasp.quality:.2f}: {attempt.cause.value}")
    if attempt.held is not None:
        world.remove(attempt.held)
    world.settle()
print(f"{sum(world.present)} of {len(world.shapes)} objects left")
