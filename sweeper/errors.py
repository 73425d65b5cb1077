"""What a person is told when something they asked for cannot be done."""


class UserError(Exception):
    """One message that says what is wrong, where, and what to do. Nothing has been started or lost."""
