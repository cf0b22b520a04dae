"""From two images and the camera's intrinsics to objects with grasps: Python without ROS."""

import json
from pathlib import Path

import cv2

from instance_seg_ros import Intrinsics, Pipeline, RgbdFrame, decode_depth, reason_of

meta = json.loads(Path("meta.json").read_text())
color_rgb = cv2.cvtColor(cv2.imread("color.png"), cv2.COLOR_BGR2RGB)
depth_m = decode_depth(cv2.imread("depth.png", cv2.IMREAD_UNCHANGED), meta["depth_unit_m"])  # registered to colour
height, width = depth_m.shape
camera = Intrinsics(width, height, meta["fx"], meta["fy"], meta["cx"], meta["cy"])

pipeline = Pipeline.from_settings()  # once: it loads the model and measures what runs it fastest here
scene = pipeline.run(RgbdFrame(color_rgb, depth_m, camera))  # for each frame
for item in scene.objects():  # the highest score first; metres, in the colour camera's optical frame
    best = item.grasps[0].T_camera_grasp.matrix if item.grasps else reason_of(item.status)  # +z approaches, +x closes
    print(f"#{item.track_id} {item.class_name} {item.score:.2f} at {item.lifted.centroid_m}, grasp:\n{best}")
