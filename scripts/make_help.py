"""Print the targets of a Makefile that carry a ``## comment``."""

import re
import sys
from pathlib import Path

TARGET = re.compile(r"^([a-z][\w-]*):.*?## (.*)$", re.MULTILINE)


def main(path):
    """Print one line per documented target, in the file's order."""
    for name, text in TARGET.findall(Path(path).read_text(encoding="utf-8")):
        print(f"make {name:<9} {text}")


if __name__ == "__main__":
    main(sys.argv[1])
