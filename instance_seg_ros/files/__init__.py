"""Captures in, result files out, each of which appears whole or not at all."""
