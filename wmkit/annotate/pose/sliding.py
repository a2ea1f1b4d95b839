"""Bundle adjustment of a long clip: all keyframes on a thinned choice of points, then window by window on all of them.

The first spreads what loops close and finds the focal length; its observations are bounded by the number of
keyframes. The second holds a window's border keyframes, which its neighbours adjust, so that nothing drifts.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.bundle import FINAL_TOLERANCE, bundle_adjust
from wmkit.annotate.pose.scene import Indices, Scene
from wmkit.annotate.pose.windows import WindowConfig, cut

__all__ = ["adjust_keyframes", "thinned"]


def adjust_keyframes(
    core: Scene, keyframes: Indices, loss_px: float, config: WindowConfig, *, fixed_focal: bool, iterations: int
) -> Scene:
    """`core`, the scene at its keyframes, adjusted: in one piece up to `longest` keyframes, else in windows."""
    posed = keyframes[core.posed[keyframes]]
    if len(posed) <= config.longest:
        return bundle_adjust(core, loss_px, fixed_focal=fixed_focal, iterations=iterations, tolerance=FINAL_TOLERANCE)
    thin = thinned(core, config.observations, config.size)
    rough = bundle_adjust(thin, loss_px, fixed_focal=fixed_focal, iterations=iterations)
    scene = replace(
        core,
        cam_from_world=rough.cam_from_world,
        focal=rough.focal,
        xyz=rough.xyz,
    )
    hold = config.overlap // 2
    windows = cut(len(posed), config)
    for number, window in enumerate(windows):
        frames = posed[window.start : window.stop]
        before = frames[:hold] if number > 0 else frames[:0]
        after = frames[-hold:] if number + 1 < len(windows) else frames[:0]
        local = scene.at_frames(frames, min_length=2)
        if local.usable.any():
            held = [*before.tolist(), *after.tolist()]
            local = bundle_adjust(
                local, loss_px, fixed_focal=True, iterations=iterations, held=held, tolerance=FINAL_TOLERANCE
            )
            scene = _with(scene, local)
    return scene


def _with(scene: Scene, part: Scene) -> Scene:
    """The poses and points of `part` where it has any."""
    return replace(
        scene,
        cam_from_world=np.where(part.posed[:, None, None], part.cam_from_world, scene.cam_from_world),
        xyz=np.where(np.isfinite(part.xyz[:, :1]), part.xyz, scene.xyz),
    )


def thinned(scene: Scene, observations: int, size: int) -> Scene:
    """The scene with the points alone that give every posed frame about `observations`.

    First those seen over more than `size` posed frames (revisits), then by length: long tracks tie most.
    """
    at = np.flatnonzero(scene.usable)
    order = np.argsort(scene.obs_track[at], kind="stable")
    at = at[order]
    track, start, length = np.unique(scene.obs_track[at], return_index=True, return_counts=True)
    rank = np.cumsum(scene.posed)
    first, last = scene.obs_frame[at[start]], scene.obs_frame[at[start + length - 1]]
    spans = rank[last] - rank[first] > size
    missing = np.full(len(scene.cam_from_world), observations)
    chosen: list[int] = []
    for k in np.lexsort((track, -length, ~spans)).tolist():
        seen = scene.obs_frame[at[start[k] : start[k] + length[k]]]
        if spans[k] or 2 * np.count_nonzero(missing[seen] > 0) >= length[k]:
            missing[seen] -= 1
            chosen.append(int(track[k]))
    return scene.keep(_among(scene.obs_track, chosen, len(scene.xyz)))


def _among(values: Indices, chosen: list[int], count: int) -> NDArray[np.bool_]:
    table = np.zeros(count, np.bool_)
    table[chosen] = True
    return table[values]
