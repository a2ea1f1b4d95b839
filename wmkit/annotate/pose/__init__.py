"""Pose backends: each a file with a frozen config; this union is what the command line offers."""

from wmkit.annotate.pose.track_sfm import TrackSfmConfig

__all__ = ["POSE_BACKENDS", "PoseBackend", "TrackSfmConfig"]

PoseBackend = TrackSfmConfig
POSE_BACKENDS = (TrackSfmConfig(),)
