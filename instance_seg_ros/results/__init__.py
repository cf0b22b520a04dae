"""A scene for people and for disk: the overlay, the coloured cloud, the result files."""
