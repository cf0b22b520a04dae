"""ROS messages, of whatever library: what comes in becomes frames, scenes become what goes out."""
