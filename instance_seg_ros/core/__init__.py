"""What every stage knows: the camera and its frames, geometry, instances, status flags, settings and errors."""
