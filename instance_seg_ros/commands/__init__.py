"""Subcommands of `instance-seg` that run the pipeline; those that make models live beside what they use."""


class InputError(Exception):
    """What the user gave cannot be used; shown as one line, without a traceback."""
