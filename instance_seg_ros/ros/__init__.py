"""The ROS 2 layer: beside it only `demo` imports ROS. `settings`, `overrides` and `worker` need none."""
