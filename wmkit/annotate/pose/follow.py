"""Points followed through a clip whatever its steps: tracks where they hold, matched features where they break.

Given poses are checked and their points triangulated from these; nothing here estimates a pose.
"""

from wmkit.annotate.pose.features import FeatureConfig
from wmkit.annotate.pose.links import LinkConfig, link_keyframes
from wmkit.annotate.pose.tracks import TrackConfig, Tracks, track_points
from wmkit.video.frames import FrameSource

__all__ = ["follow_points"]

NEIGHBOURS = LinkConfig(
    features=FeatureConfig(max_features=2000),  # a megabyte a frame: all frames of a clip of stills may be described
    weak_tracks=60,
    reach=2,  # a chain survives one bad frame
    similar=0,
    max_revisits=0,
)


def follow_points(frames: FrameSource, config: TrackConfig) -> Tracks:
    """Tracks of a clip, and chains of matched features across the steps that too few of them survive."""
    tracks = track_points(frames, config)
    linked, _ = link_keyframes(frames, tracks, tuple(range(len(tracks))), NEIGHBOURS)
    return linked
