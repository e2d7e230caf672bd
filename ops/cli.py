"""The table of commands. A command's module is imported when the command is used."""

import importlib

import click

# Module in ops/commands, and the commands in it; each is a function of the same name (with _
# for -). A module holds heavy imports inside its functions, so that `--help` stays quick.
COMMANDS: dict[str, tuple[str, ...]] = {
    "stack": ("up", "down", "status", "doctor", "env"),
    "quality": ("test", "check"),
    "processes": ("migrate", "api", "worker", "beat", "flower"),
    "demo": ("demo",),
    "verify": ("verify",),
    "bench": ("bench",),
    "torture": ("torture",),
    "clients": ("client",),
    "partner": ("partner",),
    "partitions": ("partition",),
    "parked": ("parked",),
    "callbacks": ("callbacks",),
}


class LazyGroup(click.Group):
    """A group that finds its commands in the table above."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All commands, in the table's order: the daily ones first."""
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; one that is missing is an error, never ignored."""
        for module, names in COMMANDS.items():
            if cmd_name in names:
                loaded = importlib.import_module(f"ops.commands.{module}")
                command: click.Command = getattr(loaded, cmd_name.replace("-", "_"))
                return command
        return None

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; Ctrl-C ends it with the code that shells expect, 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Tekana, an e-wallet back-end: run it, test it, operate it."""
