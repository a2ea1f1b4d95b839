"""Choose keyframes from tracks: enough parallax to triangulate, enough survivors to stay connected."""

from dataclasses import dataclass

from wmkit.annotate.pose.tracks import Tracks

__all__ = ["KeyframeConfig", "choose_keyframes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeConfig:
    """When the next keyframe is due.

    parallax   median displacement of the shared tracks since the last keyframe, as a share of the diagonal.
    survival   share of the last keyframe's tracks that must still be alive.
    """

    parallax: float = 0.025
    survival: float = 0.6


def choose_keyframes(tracks: Tracks, config: KeyframeConfig) -> tuple[int, ...]:
    """Frame indices, increasing, first and last frame included so that no frame lies outside the keyframes.

    A frame becomes a keyframe when it shows `parallax`; the frame *before* the one where `survival` fails becomes
    one, so that neighbours always share tracks.
    """
    chosen = [0]
    limit_px = config.parallax * tracks.diagonal_px
    for frame in range(1, len(tracks)):
        last = chosen[-1]
        shared, _ = tracks.common(last, frame)
        if len(shared) < config.survival * len(tracks.ids[last]) and frame - 1 > last:
            chosen.append(frame - 1)
        if tracks.parallax_px(chosen[-1], frame) >= limit_px:
            chosen.append(frame)
    if chosen[-1] != len(tracks) - 1:
        chosen.append(len(tracks) - 1)
    return tuple(chosen)
