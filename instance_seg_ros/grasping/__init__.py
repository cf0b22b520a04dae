"""Parallel-jaw grasps: the gripper's geometry, candidates, the collision check and the ranking."""
