"""A second estimate that shares no track with the first and runs backwards in time: where they differ, one is wrong.

Of many keyframes it poses some only, so that it costs a fraction of the first. Where the first had to use all tracks
(few were alive), the two are not disjoint, and `Disagreement.disjoint` says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.pose.bundle import COMPARING_PX, bundle_adjust
from wmkit.annotate.pose.choose import MapJob, better_map, least_unexplained, looked_again, with_zoom
from wmkit.annotate.pose.links import Pair
from wmkit.annotate.pose.mapping import MappingConfig, Start, map_keyframes
from wmkit.annotate.pose.restart import RestartConfig
from wmkit.annotate.pose.scene import Scene, resect, triangulate
from wmkit.annotate.pose.seams import Seam
from wmkit.annotate.pose.sliding import thinned
from wmkit.annotate.pose.tracks import Tracks
from wmkit.annotate.pose.windows import WindowConfig, map_chain
from wmkit.camera import Array, invert_rigid
from wmkit.metrics import rotation_angle_rad

__all__ = ["Disagreement", "Second", "SecondConfig", "compare", "second_estimate", "settled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondConfig:
    """Knobs of the second estimate.

    apart_deg, apart_share  median rotation and position by which two estimates differ so much that both look again.
    thin_from   keyframes from which every second one is left out, ...
    min_shared  ... as long as those that stay share so many tracks.
    resect_px, min_inliers  of a keyframe posed after another beginning of the map was taken.
    observations  of a keyframe, and iterations, in the adjustment of each estimate before they are compared.
    """

    thin_from: int = 40
    min_shared: int = 60
    apart_deg: float = 1.0
    apart_share: float = 0.02
    resect_px: float = 4.0
    min_inliers: int = 20
    observations: int = 300
    iterations: int = 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Disagreement:
    """Two estimates compared after the best similarity between them.

    rotation_deg  (N,) degrees, NaN where either has no pose.
    position      (N,) distance as a share of the path, likewise.
    focal         |log ratio| of the focal lengths; NaN without a second estimate.
    posed_share   of the second estimate's keyframes that it posed; 0 without one.
    disjoint      the two share no track.
    seams         of a clip mapped in windows: where they were joined.
    """

    rotation_deg: Array
    position: Array
    focal: float
    posed_share: float
    disjoint: bool
    seams: tuple[Seam, ...] = ()

    def apart(self, config: SecondConfig) -> bool:
        """Whether one of the two must be wrong; so they are when there is no second one."""
        known = np.isfinite(self.rotation_deg)
        if not known.any():
            return True
        turned, moved = np.median(self.rotation_deg[known]), np.median(self.position[known])
        return bool(turned > config.apart_deg or moved > config.apart_share)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Second:
    """The second estimate, in time running backwards.

    scene      of its keyframes; one that was `mapped` (N,) and has no pose there can be posed against its points.
    picked     how many keyframes it was to pose.
    job        what was mapped; None of a long clip, mapped in windows.
    """

    scene: Scene
    mapped: NDArray[np.bool_]
    picked: int
    job: MapJob | None

    def poses(self, config: SecondConfig, *, fixed_focal: bool) -> tuple[Array, float, float]:
        """(N, 4, 4) cam_from_world, time running forwards, NaN where unposed; focal px; share of keyframes posed."""
        frames = np.flatnonzero(self.mapped | self.scene.posed)
        scene = resect(self.scene.at_frames(frames, min_length=0), config.resect_px, config.min_inliers)
        scene = settled(scene, config, fixed_focal=fixed_focal)
        focal_px = float(np.median(scene.focal[frames]))
        return scene.cam_from_world[::-1], focal_px, float(self.scene.posed.sum() / self.picked)

    def again(self, cam_from_world: Array, focal: Array, mapping: MappingConfig, restart: RestartConfig) -> "Second":
        """`looked_again`, at the first estimate's cameras (N, 4, 4) and focal lengths (N,), time running forwards."""
        if self.job is None:
            return self
        theirs = (cam_from_world[::-1], focal[::-1])
        return replace(self, scene=looked_again(self.job, self.scene, theirs, mapping, restart))


def settled(scene: Scene, config: SecondConfig, *, fixed_focal: bool) -> Scene:
    """The posed frames of a map adjusted, so that two maps differ by what their tracks say, not by how they came about.

    Some observations a frame do: `observations` of those that tie most. A frame that loses its points keeps its pose.
    """
    core = thinned(triangulate(scene, config.resect_px, 0.0), config.observations, len(scene.cam_from_world))
    if not core.usable.any():
        return scene
    core = bundle_adjust(core, COMPARING_PX, fixed_focal=fixed_focal, iterations=config.iterations)
    return replace(scene, cam_from_world=core.cam_from_world, focal=core.focal, xyz=core.xyz)


def second_estimate(
    half: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    start: Start,
    config: SecondConfig,
    windows: WindowConfig | None = None,
) -> Second | None:
    """The second estimate, or None; `windows` says how a long clip is cut, None: in one piece."""
    chosen = keyframes if len(keyframes) < config.thin_from else _thinned(half, keyframes, config.min_shared)
    last = len(half) - 1
    backwards = half.reversed()
    turned = tuple(sorted((last - j, last - i) for i, j in linked if i in chosen and j in chosen))
    picked = tuple(sorted(last - frame for frame in chosen))
    if windows is not None and len(picked) > windows.longest:
        chain = map_chain(backwards, picked, turned, start, MappingConfig(), windows)
        if chain is None:
            return None
        return Second(scene=chain.scene, mapped=chain.scene.posed, picked=len(picked), job=None)
    straight = MapJob(
        tracks=backwards, half=backwards, keyframes=picked, linked=turned, start=replace(start, zooms=False)
    )
    found = map_keyframes(backwards, picked, turned, straight.start, MappingConfig())
    if found is None:
        return None
    raw = straight.scene(found)
    scene = better_map(straight, raw, RestartConfig())
    job = replace(straight, start=start)
    if start.zooms:
        scene = _zooming(job, [raw] if scene is raw else [raw, scene])
    return Second(scene=scene, mapped=raw.posed, picked=len(picked), job=job)


def _zooming(job: MapJob, straight: Sequence[Scene]) -> Scene:
    """Of the maps with one focal length, a focal length freed in each, and a map begun with them: what leaves least."""
    begun = [with_zoom(scene, job, RestartConfig()) for scene in straight]
    found = map_keyframes(job.half, job.keyframes, job.linked, job.start, MappingConfig())
    if found is not None:
        begun.append(job.scene(found))
    return least_unexplained(begun, job, RestartConfig())


def _thinned(half: Tracks, keyframes: tuple[int, ...], min_shared: int) -> tuple[int, ...]:
    """Every second keyframe, where it still shares enough tracks with the one before; first and last stay."""
    chosen = [keyframes[0]]
    for at in range(1, len(keyframes) - 1):
        skips = at + 1 < len(keyframes) and len(half.common(chosen[-1], keyframes[at + 1])[0]) >= min_shared
        left_out_before = keyframes[at - 1] != chosen[-1]
        if not skips or left_out_before:
            chosen.append(keyframes[at])
    return (*chosen, keyframes[-1]) if len(keyframes) > 1 else tuple(chosen)


def compare(first: Array, second: Array, path_length: float) -> tuple[Array, Array]:
    """Rotation (N,) deg and position (N,) as a share of `path_length` between two (N, 4, 4) cam_from_world.

    Rotations are aligned by their chordal mean, positions by the similarity that has this rotation: unlike
    Umeyama's, it is defined for a straight path too.
    """
    both = np.isfinite(first[:, 0, 0]) & np.isfinite(second[:, 0, 0])
    rotation_deg, position = np.full(len(first), np.nan), np.full(len(first), np.nan)
    if both.sum() < 2 or path_length <= 0:
        return rotation_deg, position
    a, b = invert_rigid(first[both]), invert_rigid(second[both])
    u, _, vt = np.linalg.svd((a[:, :3, :3] @ np.swapaxes(b[:, :3, :3], 1, 2)).sum(axis=0))
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    rotation_deg[both] = np.degrees(rotation_angle_rad(np.swapaxes(a[:, :3, :3], 1, 2) @ (turn @ b[:, :3, :3])))
    from_b = b[:, :3, 3] @ turn.T
    a_centred, b_centred = a[:, :3, 3] - a[:, :3, 3].mean(axis=0), from_b - from_b.mean(axis=0)
    spread = float((b_centred**2).sum())
    scale = max(float((a_centred * b_centred).sum()) / spread, 0.0) if spread > 0 else 0.0
    position[both] = np.linalg.norm(a_centred - scale * b_centred, axis=1) / path_length
    return rotation_deg, position
