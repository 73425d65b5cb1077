"""What a person is told when a model or a data set cannot be had."""


class ProblemError(Exception):
    """One message that says what is missing or does not fit, and what to do."""
