"""A picture and a camera path to a video of the model's, with all it takes to make it again beside it."""

from wmkit.sample.benchmark import BenchSummary, sample_benchmark
from wmkit.sample.options import SampleOptions
from wmkit.sample.repeat import repeat_sample
from wmkit.sample.run import SampleSummary, run_sample

__all__ = ["BenchSummary", "SampleOptions", "SampleSummary", "repeat_sample", "run_sample", "sample_benchmark"]
