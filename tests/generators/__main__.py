"""`python -m tests.generators` installs the tools; with `--lock` it resolves npm's packages anew into `npm.txt`."""

from __future__ import annotations

import sys

from tests.generators.install import Missing, node_modules, python
from tests.generators.npm import LIST, resolved


def main(arguments: list[str]) -> int:
    """The exit code: 0, 1 when a tool cannot be installed, 2 for wrong arguments."""
    if arguments not in ([], ["--lock"]):
        sys.stderr.write("usage: python -m tests.generators [--lock]\n")
        return 2
    try:
        if arguments:
            LIST.write_text(resolved())
        for installed in (node_modules(), python()):
            sys.stdout.write(f"{installed}\n")
    except Missing as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
