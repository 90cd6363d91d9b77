"""``python -m cimforge``, and what the command ``cimforge`` runs."""

import sys

from cimforge.interrupts import INTERRUPTED, wait_for_imports

__all__ = ["main"]


def main() -> int:
    """Run the command line; return its exit code, also where Ctrl-C comes before it is loaded."""
    try:
        wait_for_imports()
        from cimforge.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("cimforge: interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())
