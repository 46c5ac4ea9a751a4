"""The two ways a user's request can fail; scripts print them as one line and never as a traceback."""


class UsageError(Exception):
    """The request cannot be carried out as asked (exit code 2): says what, where, and what would work."""


class RunError(Exception):
    """The run failed on what it found: a dataset, an image, a file, a download (exit code 1)."""


def reason(error: Exception) -> str:
    """The message of another library's error, in one line."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text; save it as UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the file, which the caller names
    return (str(error).strip() or type(error).__name__).splitlines()[0]
