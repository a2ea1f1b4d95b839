"""`python -m tests.faults.precompute_driver SOURCE OUT [DIE_AT]`: one run in one process, for tests that kill it.

DIE_AT as in `tests.faults.driver`; in one process the worker's own renames are points too.
"""

import json
import sys
from pathlib import Path

from tests.faults.driver import die_at
from tests.precompute_doubles import in_this_process
from wmkit.train import precompute as module
from wmkit.train.encoders import CodecChoice, TextChoice


def main(source: str, out: str, point: str = "") -> None:
    if point:
        die_at(point)
    module.run_items = in_this_process  # pyright: ignore[reportPrivateImportUsage]
    options = module.PrecomputeOptions(
        vae=CodecChoice.parse("pixel-unshuffle=2x4"), text=TextChoice.parse("hashed=8x4"), frames=9, size=(24, 32)
    )
    print(json.dumps(module.precompute(Path(source), Path(out), options).to_json()))


if __name__ == "__main__":
    main(*sys.argv[1:])
