"""The error that says: what the user gave cannot be used."""


class InputError(Exception):
    """A file, an option or a model cannot be used; the message names it, the cause and the cure."""
