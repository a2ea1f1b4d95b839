"""Confidence that means something: a pose backend's evidence and the calibrated probability that it is right.

judge.py        the part `annotate` runs: evidence in, `wmkit.clip.Confidence` out
calibration.py  the model: monotone terms, a map to a probability, its JSON file
p_good.json     the shipped calibration, written by benchmarks/calibrate_p_good.py
held_out.py     its reliability on cases it had not seen (p_good_held_out.json, written with it)
fit.py          from cases with a known truth to a calibration
reliability.py  reliability bins, calibration error, intervals of rates
"""

from wmkit.annotate.confidence.judge import NO_CALIBRATION, ConfidenceConfig

__all__ = ["NO_CALIBRATION", "ConfidenceConfig"]
