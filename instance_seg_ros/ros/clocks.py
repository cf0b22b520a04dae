"""A node that follows /clock while nothing publishes there."""

from __future__ import annotations

from rclpy.clock import ROSClock

NO_CLOCK_TEXT = (
    "use_sim_time is set but nothing has come on /clock, so that time stands still and no frame has an age; start what "
    "publishes /clock (a simulator, `ros2 bag play --clock`), or set use_sim_time to false"
)


def clock_stands(clock: ROSClock) -> bool:
    """Whether the clock follows /clock and nothing has come there."""
    return bool(clock.ros_time_is_active and clock.now().nanoseconds == 0)
