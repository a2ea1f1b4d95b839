"""Pose backends: each a file with a frozen config; this union is what the command line offers."""

from wmkit.annotate.pose.command import CommandConfig
from wmkit.annotate.pose.given import GivenConfig
from wmkit.annotate.pose.track_sfm import TrackSfmConfig

__all__ = ["POSE_BACKENDS", "CommandConfig", "GivenConfig", "PoseBackend", "TrackSfmConfig"]

PoseBackend = TrackSfmConfig | GivenConfig | CommandConfig
POSE_BACKENDS = (TrackSfmConfig(),)
