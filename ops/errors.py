"""The one error that the `holdfast` command prints."""


class StartError(Exception):
    """Something could not be started or done; the message is one line for a person."""
