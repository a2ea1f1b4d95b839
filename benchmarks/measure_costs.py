"""Write the costs that `wmkit annotate --dry-run` falls back on, from a corpus annotated with the default settings.

wmkit annotate CLIPS... --out CORPUS --executor local --workers 1
python benchmarks/measure_costs.py CORPUS [--out FILE]
"""

import argparse
import sys
from pathlib import Path

from wmkit.annotate.costs import SHIPPED_COSTS, costs_of_corpus
from wmkit.annotate.defaults import default_config
from wmkit.annotate.pipeline import config_hash
from wmkit.atomic import json_bytes, write_atomic
from wmkit.corpus import Corpus


def main() -> int:
    """2 when the corpus has no clip finished under the default config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED_COSTS)
    options = parser.parse_args()
    corpus, digest = Corpus.open(options.corpus), config_hash(default_config())
    costs = costs_of_corpus(corpus, corpus.columns().finished(digest, corpus.config_hashes(digest)))
    if costs is None:
        print(f"error: {options.corpus}: expected clips finished under the default config, found none", file=sys.stderr)
        return 2
    write_atomic(options.out, json_bytes(costs.to_json()))
    print(f"costs of {costs.clips} clips, {costs.frames} frames written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
