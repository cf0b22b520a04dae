"""What cameras do to whole batches of clean frames, on the device that trains."""
