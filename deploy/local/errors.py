"""What stops a start, in one line for the person at the terminal."""


class CannotStart(Exception):
    """The message says what is wrong and what to do; it is shown without a traceback."""
