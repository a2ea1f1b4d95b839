"""A clip of any length mapped for the first time: short ones in one piece, long ones by windows of one camera."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wmkit.annotate.pose.bundle import COMPARING_PX, bundle_adjust
from wmkit.annotate.pose.links import Pair
from wmkit.annotate.pose.mapping import Start
from wmkit.annotate.pose.scene import longest_tracks
from wmkit.annotate.pose.start import DECIDING_TRACKS, PATIENT, CameraSearch, Mapped, map_clip, starts
from wmkit.annotate.pose.tracks import Tracks
from wmkit.annotate.pose.windows import Anchor, Chain, WindowConfig, cut, map_chain, pairs_within
from wmkit.annotate.pose.zoom import ZoomConfig, zoom_gain
from wmkit.camera import CameraPrior

__all__ = ["map_any"]


def map_any(
    tracks: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    prior: CameraPrior | None,
    search: CameraSearch,
    config: WindowConfig,
) -> tuple[Mapped, Chain | None] | None:
    """The clip mapped, and how it was joined if it took more than one window; None when no start pair holds.

    A long clip's lens is that of the first window that maps well.
    """
    windows = [tuple(keyframes[k] for k in numbers) for numbers in cut(len(keyframes), config)]
    if len(windows) == 1:
        whole = map_clip(tracks, keyframes, linked, prior, search)
        return None if whole is None else (whole, None)
    found = _first_good(tracks, windows, linked, prior, search)
    if found is None:
        return None
    number, mapped = found
    anchor = Anchor(window=number, scene=mapped.scene, disjoint=mapped.disjoint)
    start = _continued(mapped, starts(mapped.tracks, prior, search.mapping))
    chain = map_chain(
        mapped.tracks, keyframes, linked, start, search.mapping, config, halves=mapped.disjoint, anchor=anchor
    )
    if chain is not None and not mapped.scene.zooms and not start.fixed and _zooms_later(chain, windows, search.zoom):
        again = replace(start, zooms=True)
        chain = map_chain(mapped.tracks, keyframes, linked, again, search.mapping, config, halves=mapped.disjoint)
    if chain is None:
        return replace(mapped, job=None), None
    return replace(mapped, scene=chain.scene, disjoint=chain.disjoint, job=None), chain


def _first_good(
    tracks: Tracks,
    windows: Sequence[tuple[int, ...]],
    linked: tuple[Pair, ...],
    prior: CameraPrior | None,
    search: CameraSearch,
) -> tuple[int, Mapped] | None:
    """The number and the map of the first window that registers most of its keyframes, else of the best one."""
    best = None
    for number, frames in enumerate(windows):
        near = pairs_within(linked, frames)
        mapped = map_clip(tracks, frames, near, prior, search)
        if mapped is not None and (best is None or mapped.scene.posed.sum() > best[1].scene.posed.sum()):
            best = number, mapped
            if mapped.scene.posed.sum() >= search.mapping.good_share * len(frames):
                break
    return best


def _continued(mapped: Mapped, start: Start) -> Start:
    """The camera other windows begin with: the first one's, then the guesses that it had itself."""
    scene = mapped.scene
    known = (float(np.median(scene.focal[scene.posed])), *scene.centre.tolist())
    guesses = () if mapped.fixed_focal else tuple((params[0], *scene.centre.tolist()) for params in start.params)
    return replace(start, params=(known, *guesses), fixed=mapped.fixed_focal, zooms=scene.zooms)


def _zooms_later(chain: Chain, windows: Sequence[tuple[int, ...]], config: ZoomConfig) -> bool:
    """Whether the windows' focal lengths differ like a zoom's, and one of the windows zooms by itself."""
    if max(chain.focal) <= config.min_range * min(chain.focal):
        return False
    scenes = (longest_tracks(chain.scene.at_frames(np.array(frames)), DECIDING_TRACKS) for frames in windows)
    adjusted = (bundle_adjust(scene, COMPARING_PX, iterations=PATIENT) for scene in scenes if scene.usable.any())
    return any(zoom_gain(scene, config, PATIENT) > 0 for scene in adjusted)
