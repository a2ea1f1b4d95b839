"""`python -m tests.faults.driver IN OUT [--executor ray] [--die-at POINT] ...`: one run, for tests that kill it.

POINT is "before:WORD" or "after:WORD": the process kills itself right before or after the rename that puts a file
with WORD in its name, or in its folder's, in place; a ledger's part ("part-") only once a clip has its folder, since a
clip that fails may have its row before any other is done. Without it the run ends as it ends, and prints its summary.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from tests.faults.dummy import dummy_config, footage_config
from wmkit.annotate.progress import LineProgress
from wmkit.annotate.run import RunOptions, run_annotate
from wmkit.errors import WmkitError
from wmkit.executor import ExecutorOptions


def die_at(point: str, corpus: Path | None = None) -> None:
    when, _, word = point.partition(":")
    replace = os.replace

    def deadly(source: Path, target: Path) -> None:
        hit = word in "/".join(Path(target).parts[-2:])
        hit = hit and (corpus is None or word != "part-" or any(corpus.glob("clips/*/*")))
        if hit and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if hit and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = deadly


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs")
    parser.add_argument("out")
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--die-at", default="")
    parser.add_argument("--retry", action="store_true")
    parser.add_argument("--timeout-s", type=float, default=60.0)
    parser.add_argument("--attempts", type=int, default=2)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--step", type=float, default=1.0, help="of the dummy's camera: another config")
    parser.add_argument("--slow-s", type=float, default=0.3)
    parser.add_argument("--check-s", type=float, default=0.0, help="between looks at Ray's raylet")
    parser.add_argument("--footage", action="store_true", help="the footage filters, for real clips")
    arguments = parser.parse_args()
    if arguments.die_at:
        die_at(arguments.die_at, Path(arguments.out))
    if arguments.check_s:
        import wmkit.executor.ray

        wmkit.executor.ray.CHECK_S = arguments.check_s
    workers = ExecutorOptions(
        kind=arguments.executor, workers=2, timeout_s=arguments.timeout_s, max_attempts=arguments.attempts
    )
    options = RunOptions(executor=workers, retry=arguments.retry, update=arguments.update)
    config = footage_config() if arguments.footage else dummy_config(step=arguments.step, slow_s=arguments.slow_s)
    try:
        summary = run_annotate([arguments.inputs], arguments.out, config, options, LineProgress(sys.stderr))
    except WmkitError as error:  # as the command line does
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(summary.to_json()))
    return summary.exit_code(strict=False)


if __name__ == "__main__":
    sys.exit(main())
