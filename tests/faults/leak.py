"""`python -m tests.faults.leak FOLDER CLIPS`: one process works on so many clips, FOLDER's over and over.

Prints what the process holds resident after every fiftieth, in MiB.
"""

import itertools
import sys
from contextlib import suppress

from tests.faults.dummy import footage_config
from wmkit.annotate.pipeline import annotate_clip
from wmkit.errors import ClipError
from wmkit.executor.memory import resident_gib
from wmkit.video import discover, identify

EVERY = 50


def main(folder: str, clips: int) -> None:
    config = footage_config()
    for number, clip in enumerate(itertools.islice(itertools.cycle(discover([folder]).clips), clips), start=1):
        with suppress(ClipError):  # a stated outcome as well
            annotate_clip(identify(clip), config)
        if number % EVERY == 0:
            print(round(resident_gib() * 1024, 1), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
