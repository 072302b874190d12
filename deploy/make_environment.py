"""Make or complete a virtual environment from a lock file and install this project into it, editable.

Run by `make setup`; standard library only, because nothing is installed yet.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

PYTHON_MIN = (3, 11)


def main(folder: Path, lock: Path) -> int:
    """Exit code 0, or 1 with a one-line cause."""
    if sys.version_info < PYTHON_MIN:
        found = ".".join(map(str, sys.version_info[:3]))
        return _refuse(f"Python {found} is too old", "use Python 3.11 or newer: make PYTHON=python3.11 ...")
    if importlib.util.find_spec("ensurepip") is None:
        return _refuse("this Python cannot make virtual environments", "apt-get install python3-venv")
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    print(f"installing {lock} ...", flush=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    for arguments in (["--require-hashes", "-r", str(lock)], ["--no-deps", "--no-build-isolation", "-e", "."]):
        if subprocess.run([*pip, *arguments], check=False).returncode:
            return _refuse("pip failed, see above", "check the network and the package index, then run it again")
    return 0


def _refuse(cause: str, hint: str) -> int:
    sys.stderr.write(f"make_environment: {cause}\n  hint: {hint}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
