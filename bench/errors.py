"""What makes a run worthless."""

from __future__ import annotations


class BenchError(Exception):
    """Something did not go as it must in a measured run; the message is one line for a person."""
