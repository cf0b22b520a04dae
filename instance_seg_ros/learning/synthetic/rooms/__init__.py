"""Rooms, surfaces and what stands on them: how a scene is furnished, settled and looked at."""
