"""The ROS 2 layer: nothing outside this package imports ROS. `settings` and `worker` in it need no ROS either."""
