"""A scene for people: the picture and the coloured cloud."""
