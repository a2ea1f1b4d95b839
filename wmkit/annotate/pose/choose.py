"""Which of several maps of the same tracks goes on: the one that leaves least of the keyframes' tracks unexplained.

Mapping frame by frame ends in a wrong minimum now and then, and so do mapping all at once and any other beginning. Each
leaves its own part of the tracks unexplained, frames without a pose included, and that tells them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wmkit.annotate.pose.bundle import COMPARING_PX, bundle_adjust
from wmkit.annotate.pose.links import Pair
from wmkit.annotate.pose.mapping import MappingConfig, Model, Start, map_keyframes
from wmkit.annotate.pose.restart import RestartConfig, best_beginning, majority_beginning, robust_cost, whole_beginning
from wmkit.annotate.pose.scene import Scene, longest_tracks, resect, scene_from_model, triangulate
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array

__all__ = ["MapJob", "better_map", "least_unexplained", "looked_again", "map_at_once", "unexplained", "with_zoom"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapJob:
    """What is to be mapped.

    tracks     every track; the scene holds all their observations.
    half       those of them that are mapped.
    keyframes  frame indices, increasing; linked: pairs of them matched besides the neighbours.
    start      the camera to begin with.
    """

    tracks: Tracks
    half: Tracks
    keyframes: tuple[int, ...]
    linked: tuple[Pair, ...]
    start: Start

    def scene(self, model: Model) -> Scene:
        """The model as a scene with every observation."""
        centre = np.array(self.start.params[0][1:])
        scene = scene_from_model(self.tracks, model.model, self.half, centre)
        return replace(scene, focal_prior=self.start.focal_prior)


def better_map(job: MapJob, raw: Scene, restart: RestartConfig) -> Scene:
    """The scene `raw`, or that of another beginning, if it leaves notably less unexplained."""
    if job.start.zooms or job.start.focal_prior is None:
        return raw
    begun = best_beginning(raw, restart, fixed_focal=job.start.fixed)
    best = raw if begun is raw else least_unexplained([raw, begun], job, restart)
    return majority_beginning(best, restart, fixed_focal=job.start.fixed)


def looked_again(
    job: MapJob, known: Scene, theirs: tuple[Array, Array], mapping: MappingConfig, restart: RestartConfig
) -> Scene:
    """The scene `known`, or all keyframes mapped at once, or `theirs`: whichever leaves notably less unexplained.

    `theirs` are another estimate's cameras: (N, 4, 4) cam_from_world, NaN where unposed, and focal lengths (N,) px.
    They are judged by the job's own tracks alone, so that agreement still means something.
    """
    return _with_cameras(job, map_at_once(job, known, mapping, restart), *theirs, restart)


def map_at_once(job: MapJob, known: Scene, mapping: MappingConfig, restart: RestartConfig) -> Scene:
    """The scene `known`, or that of all keyframes mapped at once, if it leaves notably less unexplained."""
    if job.start.zooms:
        return known
    found = map_keyframes(job.half, job.keyframes, job.linked, job.start, mapping, at_once=True)
    return known if found is None else least_unexplained([known, job.scene(found)], job, restart)


def _with_cameras(job: MapJob, known: Scene, cam_from_world: Array, focal: Array, restart: RestartConfig) -> Scene:
    """The scene `known`, or that of another estimate's cameras, if they leave notably less unexplained.

    `cam_from_world` (N, 4, 4), NaN where unposed, `focal` (N,) px; the job's own tracks then adjust them.
    """
    wanted = np.isin(np.arange(len(cam_from_world)), job.keyframes)[:, None, None]
    other = replace(
        known,
        cam_from_world=np.where(wanted, cam_from_world, np.nan),
        focal=focal,
        xyz=np.full_like(known.xyz, np.nan),
    )
    half = other.keep(np.isin(other.obs_track, np.concatenate(job.half.ids)))
    core = triangulate(half, restart.point_px, restart.min_angle_deg).at_frames(np.array(job.keyframes))
    if not core.usable.any():
        return known
    core = bundle_adjust(core, COMPARING_PX, fixed_focal=job.start.fixed, iterations=restart.iterations[1])
    other = replace(other, cam_from_world=core.cam_from_world, focal=core.focal, xyz=core.xyz)
    return least_unexplained([known, other], job, restart)


def with_zoom(scene: Scene, job: MapJob, restart: RestartConfig) -> Scene:
    """A map made with one focal length, adjusted with a focal length each; all points where its cameras put them."""
    thin = longest_tracks(scene.at_frames(np.array(job.keyframes)), restart.judging_tracks)
    if not thin.usable.any():
        return replace(scene, zooms=True)
    straight = bundle_adjust(thin, COMPARING_PX, iterations=restart.iterations[1])
    each = bundle_adjust(replace(straight, zooms=True), COMPARING_PX, iterations=2 * restart.iterations[1])
    return whole_beginning(each, scene, restart)


def least_unexplained(scenes: Sequence[Scene], job: MapJob, restart: RestartConfig) -> Scene:
    """The scene that leaves least; an earlier one stays unless a later one is notably better.

    Of two that both leave next to nothing, at very different focal lengths, the one of the more usual camera.
    """
    best, least = scenes[0], unexplained(scenes[0], job, restart)
    for other in scenes[1:]:
        left = unexplained(other, job, restart)
        better = left < (1 - restart.least_gain) * least
        if max(left, least) < restart.settled and abs(best.unusual - other.unusual) > restart.unusual:
            better = other.unusual < best.unusual
        if better:
            best, least = other, left
    return best


def unexplained(scene: Scene, job: MapJob, config: RestartConfig) -> float:
    """Mean robust cost (loss 1 px) of the longest tracks' observations in all keyframes, after a short adjustment.

    The points are those that the cameras alone put there: who has mapped longer must not win by having more of them.
    Keyframes without a pose are resected first; whatever stays without pose or point costs as much as an outlier.
    """
    here = np.isin(scene.obs_frame, job.keyframes) & np.isin(scene.obs_track, np.concatenate(job.half.ids))
    length = np.bincount(scene.obs_track[here], minlength=len(scene.xyz))
    chosen = np.argsort(-length, kind="stable")[: config.judging_tracks]
    mask = here & np.isin(scene.obs_track, chosen[length[chosen] >= 3])
    part = replace(scene.keep(mask), xyz=np.full_like(scene.xyz, np.nan))
    part = triangulate(part, config.far_px, 0.0, robust=True)
    for _ in range(2):
        part = resect(part, config.point_px, config.min_inliers)
        part = triangulate(part, config.far_px, 0.0, robust=True)
    core = part.at_frames(np.array(job.keyframes))
    if not core.usable.any():
        return float(np.log1p(config.far_px**2))
    core = bundle_adjust(core, COMPARING_PX, fixed_focal=job.start.fixed, iterations=config.iterations[0])
    return float(robust_cost(core.error_px(), config.far_px).mean())  # NaN where pose or point is missing
