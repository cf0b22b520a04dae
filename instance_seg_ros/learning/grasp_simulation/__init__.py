"""The grasps of the pipeline, judged by physics: a free gripper clears generated scenes in MuJoCo."""
