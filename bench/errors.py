"""What makes a run worthless."""

from __future__ import annotations


class BenchError(Exception):
    """Something went wrong in a measured run; the message is one line for a person."""
