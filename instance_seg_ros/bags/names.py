"""What recordings call things: the message types and topics that are read, and the namespace of the results."""

from __future__ import annotations

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TF_MESSAGE = "tf2_msgs/msg/TFMessage"

TF_TOPIC, TF_STATIC_TOPIC = "/tf", "/tf_static"
RESULT_NAMESPACE = "/instance_seg"
