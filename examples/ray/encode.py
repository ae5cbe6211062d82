#!/usr/bin/env python3
"""Units of `gleaner manifest`, run by Ray: on this machine, or on a cluster that is there.

    encode.py MANIFEST [--gleaner PROGRAM] [--address ADDRESS] [--cpus N]

Each unit is a task that starts the program. A task whose worker dies, and one that says that
trying again may help (exit status 75), is run again, wherever there is room; a unit that can
never succeed is reported, and the others are run all the same. Running a unit twice is
harmless, so nothing else has to be remembered. Prints a line of JSON for each unit; ends with
1 if one has no shard.

The program, the models and the sources have to be where the workers find them: GLEANER_MODELS,
AWS_* and the like come from the environment of the cluster's machines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import ray

#: What gleaner encode ends with where trying again may help.
TRY_AGAIN = 75


class TryAgain(Exception):
    pass


def encode(program: str, unit: dict, definition: str) -> dict:
    command = [program, "encode", unit["source"], unit["target"], "--definition", definition]
    done = subprocess.run([*command, "--json", "--quiet"], capture_output=True, text=True)
    said = (done.stderr.strip().splitlines() or [""])[-1]
    # Killed, for want of memory perhaps, counts as worth trying again.
    if done.returncode == TRY_AGAIN or done.returncode < 0:
        raise TryAgain(said)
    if done.returncode != 0:
        return {"state": "failed", **unit, "error": said}
    return {**json.loads(done.stdout), "worker": os.getpid()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="encode.py", description=__doc__.split("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--gleaner", default="gleaner")
    parser.add_argument("--address", help="of a cluster; one is started here without it")
    parser.add_argument("--cpus", type=int, default=1, help="cores that a unit takes")
    parser.add_argument("--workers", type=int, help="most units at once, where a cluster is started here")
    options = parser.parse_args()

    units = [json.loads(line) for line in options.manifest.read_text(encoding="utf-8").splitlines()]
    definition = str(options.manifest.parent.absolute() / "definition.toml")
    # Standard output is for outcomes; what Ray has to say of its workers goes beside.
    outcomes, sys.stdout = sys.stdout, sys.stderr
    if options.address:
        ray.init(address=options.address, log_to_driver=False)
    else:
        cpus = options.workers and options.workers * options.cpus
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    task = ray.remote(num_cpus=options.cpus, max_retries=8, retry_exceptions=[TryAgain])(encode)
    waiting = {task.remote(options.gleaner, unit, definition): unit for unit in units}
    failed = False
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        unit = waiting.pop(done)
        try:
            outcome = ray.get(done)
        except Exception as error:  # given up: the others may succeed
            outcome = {"state": "failed", **unit, "error": str(error).strip().splitlines()[-1]}
        failed |= outcome["state"] == "failed"
        print(json.dumps(outcome), file=outcomes, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
