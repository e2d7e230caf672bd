"""Options that several commands share: who changes something and why; JSON, not tables."""

import getpass
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


class Words(click.ParamType[str]):
    """Text that says something and that Postgres can keep."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The text without blanks around it."""
        text = str(value).strip()
        if not text:
            self.fail("it must not be empty", param, ctx)
        if not text.isprintable():
            self.fail("it must be one line of readable text", param, ctx)
        return text


def login_name() -> str:
    """Who is logged in here, or the user's number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def change(command: _F) -> _F:
    """Give a command `--reason`, which it requires, and `--who`: both are kept for ever."""
    with_reason = click.option(
        "--reason", required=True, type=Words(), help="Why: kept with the change."
    )
    with_who = click.option(
        "--who",
        default=login_name,
        type=Words(),
        show_default="the login name",
        help="Who decided: kept with the change.",
    )
    return with_reason(with_who(command))


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""Adds the argument `as_json` to a command that shows something."""
