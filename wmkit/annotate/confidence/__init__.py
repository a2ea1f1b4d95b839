"""Confidence that means something: a pose backend's evidence and the calibrated probability that it is right.

judge.py  the part `annotate` runs: evidence in, `wmkit.clip.Confidence` out
"""

from wmkit.annotate.confidence.judge import ConfidenceConfig

__all__ = ["ConfidenceConfig"]
