"""Recordings: a rosbag2 in, a rosbag2 with the results out, without ROS."""
