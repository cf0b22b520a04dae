"""The main job without a robot: a simulated camera or a recording, the node, and a planner-like subscriber."""
