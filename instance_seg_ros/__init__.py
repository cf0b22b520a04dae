"""RGB-D instance segmentation, lifting to 3D, grasp candidates and tracking; the ROS 2 layer is `instance_seg_ros.ros`."""

__version__ = "0.1.0"
