"""`python -m tests.clients.declarations` writes `clients/js/holdfast.d.ts` anew: the types of holdfast.js, which
tsc makes of its comments."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.generators.install import Missing, node_modules

FOLDER = Path(__file__).parents[2] / "clients" / "js"
MODULE, DECLARATIONS = FOLDER / "holdfast.js", FOLDER / "holdfast.d.ts"
OPTIONS = {
    "allowJs": True,
    "checkJs": True,
    "strict": True,
    "target": "es2022",
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "lib": ["es2023", "dom", "dom.iterable"],
    "types": [],
    "skipDefaultLibCheck": True,  # TypeScript's own, which take half of the time
}


class Rejected(Exception):
    """tsc found mistakes: the text has them."""


def declarations(*programs: Path) -> str:
    """The types, as they are now; `programs` are checked, too. Raises Rejected, Missing."""
    with tempfile.TemporaryDirectory() as folder:
        _compile(
            Path(folder), {"declaration": True, "emitDeclarationOnly": True, "outDir": folder}, MODULE, *programs
        )
        (made,) = Path(folder).rglob(DECLARATIONS.name)
        return made.read_text()


def check(*scripts: Path) -> None:
    """Checks the types of scripts that browsers load as modules. Raises Rejected, Missing."""
    # The gateway serves holdfast.js beside them.
    beside = [str(each) for each in {FOLDER, *(script.parent for script in scripts)}]
    options = {"noEmit": True, "module": "es2022", "moduleResolution": "bundler", "rootDirs": beside}
    with tempfile.TemporaryDirectory() as folder:
        _compile(Path(folder), options, *scripts)


def _compile(folder: Path, options: dict[str, Any], *files: Path) -> None:
    compiler = node_modules() / "typescript" / "bin" / "tsc"
    settings = {"compilerOptions": OPTIONS | options, "files": [str(file) for file in files]}
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(["node", compiler, "-p", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Rejected(done.stdout + done.stderr)


def main() -> int:
    """The exit code: 0, or 1 when they cannot be made."""
    try:
        DECLARATIONS.write_text(declarations())
    except (Rejected, Missing) as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
