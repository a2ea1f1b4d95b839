"""A picture and a camera path to a video of the model's, with all it takes to make it again beside it."""

from wmkit.sample.run import SampleOptions, SampleSummary, run_sample

__all__ = ["SampleOptions", "SampleSummary", "run_sample"]
