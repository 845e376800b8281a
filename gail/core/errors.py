"""The one exception that means "the input is wrong", as opposed to a bug of ours."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that names the file or flag, the field, what was found and what was
    expected. The command line prints it without a traceback and exits with status 2.
    """
