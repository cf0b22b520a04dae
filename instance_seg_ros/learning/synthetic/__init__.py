"""Procedural RGB-D scenes: object families, physics, ray casting, depth-sensor defects, scene stores."""
