"""The command table, and the one place where an error becomes a line and an exit code.

Exit codes: 0 done; 1 done, and there is something to look at (``doctor`` found a problem, a file
ended before its end), or wayline itself failed; 2 the command or what it was given cannot be used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import typer

from wayline.cli.commands.backup import backup
from wayline.cli.commands.bench import bench
from wayline.cli.commands.build import build
from wayline.cli.commands.config import config
from wayline.cli.commands.demo import demo
from wayline.cli.commands.doctor import doctor
from wayline.cli.commands.evaluate import evaluate
from wayline.cli.commands.explain import explain_app
from wayline.cli.commands.export import export
from wayline.cli.commands.feed import feed
from wayline.cli.commands.forget import forget
from wayline.cli.commands.import_ import import_
from wayline.cli.commands.init import init
from wayline.cli.commands.interest import interest
from wayline.cli.commands.journey import journey
from wayline.cli.commands.judge import judge
from wayline.cli.commands.keys import keys_app
from wayline.cli.commands.notify import notify
from wayline.cli.commands.recipe import recipe_app
from wayline.cli.commands.restore import restore
from wayline.cli.commands.rollback import rollback
from wayline.cli.commands.serve import serve
from wayline.cli.commands.show import show_app
from wayline.cli.commands.train import train
from wayline.cli.commands.version import version
from wayline.cli.output import print_error
from wayline.errors import WaylineError

app = typer.Typer(
    help="Interests, journeys and feeds from an action log: init, import, serve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: tuple[Callable[..., None], ...] = (
    init, import_, build, train, evaluate, judge, serve, feed, interest, journey, notify, forget,
    export, backup, restore, rollback, doctor, config, demo, version,
)  # fmt: skip
for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(show_app, name="show")
app.add_typer(explain_app, name="explain")
app.add_typer(keys_app, name="keys")
app.add_typer(recipe_app, name="recipe")
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}  # to the benchmark itself
app.command("bench", context_settings=PASSED_ON)(bench)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; give its exit code.

    ``WAYLINE_DEBUG=1`` lets errors through with their trace.
    """
    as_json = "--json" in arguments
    try:
        result = app(args=list(arguments), prog_name="wayline", standalone_mode=False)
    except (WaylineError, KeyboardInterrupt, BrokenPipeError, Exception) as error:
        if os.environ.get("WAYLINE_DEBUG") == "1" and not hasattr(error, "format_message"):
            raise
        return _exit_code_of(error, as_json)
    return result if isinstance(result, int) else 0


def _exit_code_of(error: BaseException, as_json: bool) -> int:
    if isinstance(error, WaylineError):
        print_error(error.code, error.message, error.field, as_json=as_json)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        print_error("interrupted", "Interrupted; what was acknowledged is kept.", as_json=as_json)
        return 130
    if isinstance(error, BrokenPipeError):  # `wayline export | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    usage = getattr(error, "format_message", None)  # typer's, from whichever click it carries
    if usage is not None:
        return _usage(error, str(usage()), as_json)
    message = f"wayline failed ({type(error).__name__}: {error}): set WAYLINE_DEBUG=1 to see where."
    print_error("internal", message, as_json=as_json)
    return 1


def _usage(error: BaseException, message: str, as_json: bool) -> int:
    if not message:  # no arguments: typer has printed the help
        return 2
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "wayline"
    line = f"{message.rstrip('.')}: see `{command} --help`."
    print_error("usage", line, as_json=as_json)
    return 2
