"""Choose keyframes from tracks: enough parallax to triangulate, enough survivors to stay connected."""

from dataclasses import dataclass

from wmkit.annotate.pose.tracks import Tracks

__all__ = ["KeyframeConfig", "choose_keyframes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeConfig:
    """When the next keyframe is due.

    parallax   median displacement of the shared tracks since the last keyframe, as a share of the diagonal.
    survival   share of the last keyframe's tracks that must still be alive.
    fewest     keyframes wanted of a clip that moves little: parallax is halved until there are as many, but not
               below `least`.
    most       keyframes of a clip that moves much: parallax is raised until there are as few, but not above `widest`;
               those that `survival` demands stay, for without them the clip falls apart.
    """

    parallax: float = 0.025
    survival: float = 0.6
    fewest: int = 8
    least: float = 0.006
    most: int = 400
    widest: float = 0.1


def choose_keyframes(tracks: Tracks, config: KeyframeConfig) -> tuple[int, ...]:
    """Frame indices, increasing, first and last frame included so that no frame lies outside the keyframes.

    A frame becomes a keyframe when it shows `parallax`; the frame *before* the one where `survival` fails becomes
    one, so that neighbours always share tracks.
    """
    parallax = config.parallax
    chosen = _choose(tracks, parallax, config.survival)
    while len(chosen) < config.fewest and parallax / 2 >= config.least:
        parallax /= 2
        chosen = _choose(tracks, parallax, config.survival)
    while len(chosen) > config.most and parallax * 1.25 <= config.widest:
        parallax *= 1.25
        chosen = _choose(tracks, parallax, config.survival)
    return chosen


def _choose(tracks: Tracks, parallax: float, survival: float) -> tuple[int, ...]:
    chosen = [0]
    limit_px = parallax * tracks.diagonal_px
    for frame in range(1, len(tracks)):
        last = chosen[-1]
        shared, _ = tracks.common(last, frame)
        if len(shared) < survival * len(tracks.ids[last]) and frame - 1 > last:
            chosen.append(frame - 1)
        if tracks.parallax_px(chosen[-1], frame) >= limit_px:
            chosen.append(frame)
    if chosen[-1] != len(tracks) - 1:
        chosen.append(len(tracks) - 1)
    return tuple(chosen)
