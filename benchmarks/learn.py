"""`make learn`: does a model trained through the whole line use its cameras? Prints the table; exit 1 if it does not.

`python benchmarks/learn.py [--out DIR] [--set KEY=VALUE]...`. Minutes on idle cores; a second call with
the same DIR goes on where the first one stopped. `--ablate` also trains with each camera branch alone (both are the
default), with none, and by the token-wise rule, on the same shards: reported, not judged.
"""

import argparse
import json
import sys
from pathlib import Path

from wmkit.annotate.progress import progress_for
from wmkit.demo.learn import LearnOptions, run_learn
from wmkit.errors import WmkitError
from wmkit.train.progress import progress_for as training_progress_for

ABLATIONS = {
    "no_cameras": ("model.camera_attention=null", "model.camera_map=null"),
    "plucker": ("model.camera_attention=null",),
    "ucpe": ("model.camera_map=null",),
    "prope": ('model.camera_attention={"kind": "prope"}', "model.camera_map=null"),
    "token_gdn": ("model.mixer=token-gdn",),
}


def main() -> int:
    """Run, print, and say by the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("learn"))
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--ablate", action="store_true")
    arguments = parser.parse_args()
    runs = {"run": (), **(ABLATIONS if arguments.ablate else {})}
    missed = False
    for name, settings in runs.items():
        options = LearnOptions(settings=(*arguments.settings, *settings), run=name)
        verdict = run_learn(arguments.out, options, progress_for(sys.stderr), training_progress_for(sys.stderr))
        print("\n".join([name, *verdict.lines()]))
        print(json.dumps({"run": name, **verdict.to_json()}))
        missed |= name == "run" and bool(verdict.misses)
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WmkitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
