"""Commands of ``python -m ml``: one module each, with ``HELP``, ``add_arguments(parser)`` and ``run(args) -> int``."""

# Name on the command line to module; a module is imported only when its command runs or shows its help.
COMMANDS: dict[str, str] = {
    "verify-bundle": "ml.commands.verify_bundle",
}
