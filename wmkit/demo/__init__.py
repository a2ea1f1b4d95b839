"""`wmkit demo`: the whole line on synthetic worlds whose cameras are known exactly.

    OUT/clips/NAME.mp4    what the annotator is given
    OUT/truth/            what it is not: cameras, depth, heights, and stamps of what was made
    OUT/corpus/           the annotations and report.html
    OUT/shards/           training samples
    OUT/run/              the model, trained for about a minute
    OUT/sample/           its video of the first world, along the path filmed there

The truth is only read after the annotator has finished. The same call again makes what is missing.
"""

from wmkit.demo.clips import DemoClip
from wmkit.demo.run import DemoOptions, DemoSummary, run_demo

__all__ = ["DemoClip", "DemoOptions", "DemoSummary", "run_demo"]
