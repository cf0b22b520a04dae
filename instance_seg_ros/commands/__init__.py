"""Subcommands of `instance-seg` that run the pipeline; those that make models live beside what they use."""
