"""The text of an error that a user's code raised."""


def error_text(error: BaseException) -> str:
    """Type and message of an error, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
