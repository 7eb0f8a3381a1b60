"""What stops a process that answers requests from starting."""


class StartError(Exception):
    """The process must not start; the message says why and what to do."""
