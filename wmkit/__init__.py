"""wmkit: raw clips to a training corpus with metric 6-DoF cameras, and the camera-controlled world model on it."""

__all__ = ["__version__"]

__version__ = "0.1.0"
