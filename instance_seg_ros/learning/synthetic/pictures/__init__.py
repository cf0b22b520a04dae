"""What a scene looks like: materials, textures, light and ray casting."""
