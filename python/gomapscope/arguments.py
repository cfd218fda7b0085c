"""From arguments that somebody else has split to a command line of our own."""

from __future__ import annotations


def argument_line(arguments: list[str], files: bool = False) -> str:
    """The arguments as a command line; values of options and ``files`` keep their spaces."""
    line: list[str] = []
    after_option = False
    for argument in arguments:
        if (after_option or files) and any(char.isspace() for char in argument):
            quote = '"' if "'" in argument else "'"
            line.append(f"{quote}{argument}{quote}")
        else:
            line.append(argument)
        after_option = argument.startswith("-") and argument[1:2] not in ("", "-", *"0123456789")
    return " ".join(line)
