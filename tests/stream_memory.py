"""Stream a checkpoint and print what memory it took, as JSON; its own process, for its own RSS."""

import json
import sys
import threading
from pathlib import Path

from cimforge_sw.plan import Plan
from cimforge_sw.stream import stream_prune


def anonymous():
    """Return this process's anonymous memory now, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def main(source, out):
    """Stream with a thread that looks at the memory all the time."""
    before = anonymous()
    peak, done = [before], threading.Event()

    def watch():
        while not done.wait(0.002):
            peak[0] = max(peak[0], anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    rows = [[token % 64 for token in range(start, start + 16)] for start in range(4)]
    result = stream_prune(source, Plan.uniform("2:4"), rows, out)
    done.set()
    thread.join()
    print(json.dumps({"before": before, "peak": peak[0], "sparsity": result.sparsity}))


if __name__ == "__main__":
    main(*sys.argv[1:])
