"""``python -m ml <command>``: the machine-learning package without the web application."""

import argparse
import importlib
import sys

from ml.commands import COMMANDS
from ml.commands._common import add_common_arguments
from ml.errors import MLError
from ml.runtime import prepare_tensorflow


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Command line without the program's name; ``sys.argv`` when None.

    Returns:
        Exit status: the command's own, or 1 after an error that the package raised on purpose.
    """
    words = sys.argv[1:] if arguments is None else arguments
    prepare_tensorflow()
    args = _parser(words).parse_args(words)
    try:
        return int(args.run(args))
    except MLError as error:
        sys.stderr.write(f"error: {error.code}: {error.message}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # The list of all commands needs each module's line of help; a single command needs only itself.
    wanted = [words[0]] if words and words[0] in COMMANDS else list(COMMANDS)
    for name in wanted:
        module = importlib.import_module(COMMANDS[name])
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        add_common_arguments(command)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
