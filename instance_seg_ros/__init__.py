"""RGB-D instance segmentation, lifting to 3D, grasps and tracking; the ROS 2 layer is `instance_seg_ros.ros`."""

from pkgutil import extend_path

# In a ROS workspace the generated msg and srv modules lie in the install tree, in a folder of this package's name.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
