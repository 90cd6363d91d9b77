"""One simulation in a process of its own: ``python -m cimforge_verif.sim.child job.json``.

cocotb's runner waits for the simulator without a limit, and a bench that fails to import never ends
it. So the runner works here, in a process group that :mod:`.run` can kill.
"""

import json
import os
import sys
from pathlib import Path

from cocotb_tools.runner import get_runner


def main(path: str) -> None:
    """Run the simulation that a JSON file describes."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # the runner would rename and judge the results
    get_runner("verilator").test(
        test_module=job["bench"], hdl_toplevel=job["top"], hdl_toplevel_lang="verilog",
        build_dir=job["build"], test_dir=job["folder"], results_xml=job["results"],
        seed=job["seed"], test_filter=job["test_filter"], extra_env=job["env"],
        plusargs=job["plusargs"])


if __name__ == "__main__":
    main(sys.argv[1])
