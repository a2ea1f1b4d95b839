"""Other beginnings of a map, for bundle adjustment has local minima: whichever fits the tracks best goes on.

A short motion before a shallow scene leaves several answers that nearly fit, and a mapper that began with the wrong one
stays there. The beginnings, of a few keyframes and their longest tracks:

* the map as it is, adjusted to those alone, and at a usual focal length;
* its depth-reversed twin (Necker reversal: Szeliski & Kang, Shape ambiguities in structure from motion, PAMI 1997):
  inverse depth mirrored, the cameras turned the other way;
* flat: cameras that only turn before points at one depth (Yu & Gallup, 3D reconstruction from accidental motion, CVPR
  2014), and its twin.

Each is adjusted under a loss that narrows, since the narrow one sees no way out of a wrong minimum.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from wmkit.annotate.pose.bundle import COMPARING_PX, bundle_adjust, focal_penalty
from wmkit.annotate.pose.majority import MajorityConfig, best_majority
from wmkit.annotate.pose.mapping import Start
from wmkit.annotate.pose.rotation import turn_between
from wmkit.annotate.pose.scene import Indices, Scene, longest_tracks, span, triangulate
from wmkit.annotate.pose.tracks import Tracks
from wmkit.camera import Array, invert_rigid
from wmkit.spread import evenly_spread

__all__ = [
    "RestartConfig",
    "best_beginning",
    "flat_map",
    "majority_beginning",
    "reversed_twin",
    "robust_cost",
    "turning_focal",
    "turning_start",
    "usual_beginning",
    "whole_beginning",
]

MUCH_PX = 30.0  # between frames, where parallax is an error too
MIRROR = np.diag([1.0, 1.0, -1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartConfig:
    """Knobs of the search for a better beginning.

    keyframes    at most so many take part, evenly spread; tracks: the longest ones. Where these see fewer than
                 `long_tracks` keyframes in the mean, `all_keyframes` and `all_tracks` take part instead.
    least_gain   share of the map's cost another beginning must save to be taken.
    loose        share of the map's cost, on those tracks alone, that an adjustment to them must save for the outcome to
                 be a beginning of its own.
    unusual      log ratio of a map's focal length to the usual one from which the map is tried at the usual one too.
    hopeless     times the map's cost from which another beginning is given up before its last adjustment.
    settled      mean robust cost (loss 1 px) of a map that needs no other beginning.
    wide_px      losses at which a beginning is adjusted first; iterations of each adjustment.
    judging_tracks  longest tracks of all keyframes by which maps are compared.
    min_inliers  of a keyframe resected then.
    point_px, min_angle_deg  what a point of another track must satisfy, where another beginning is taken.
    far_px       errors count as this much at most: an outlier is one from every beginning.
    turning_focal  shares of the long side among which turning may speak for a focal length, and the log ratio to the
                 usual one from which it is tried.
    """

    keyframes: int = 16
    tracks: int = 250
    long_tracks: float = 7.0
    all_keyframes: int = 40
    all_tracks: int = 600
    least_gain: float = 0.05
    loose: float = 0.25
    unusual: float = 0.35
    hopeless: float = 3.0
    settled: float = 0.1
    wide_px: tuple[float, ...] = (10.0, 3.0)
    iterations: tuple[int, int] = (30, 50)
    judging_tracks: int = 400
    min_inliers: int = 12
    point_px: float = 4.0
    min_angle_deg: float = 0.05
    far_px: float = 10.0
    turning_focal: tuple[float, ...] = (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5)
    other_focal: float = 0.15
    majority: MajorityConfig = MajorityConfig()


def best_beginning(scene: Scene, config: RestartConfig, *, fixed_focal: bool) -> Scene:
    """The scene, or the beginning that fits its longest tracks notably better, with all their points.

    Of another beginning the keyframes that took part have poses; the others are to be resected.
    """
    thin = _thinned(scene, config)
    if thin.posed.sum() < 3 or thin.zooms or thin.focal_prior is None:
        return scene
    here = bundle_adjust(thin, COMPARING_PX, fixed_focal=fixed_focal, iterations=config.iterations[1])
    cost = _cost(here, config, fixed_focal)
    best, best_cost = None, cost
    if cost < (1 - config.loose) * _cost(thin, config, fixed_focal):  # a piece of the map was held wrong by the rest
        best = here
    if not fixed_focal and here.unusual > config.unusual:
        usual = _annealed(_usual_focal(thin, fixed_focal), config, fixed_focal)
        found = _cost(usual, config, fixed_focal)
        if found < cost:  # however little: between equals the usual focal length wins
            best, best_cost = usual, found
    if best_cost > config.settled:
        for other in _others(thin, config, fixed_focal, config.hopeless * cost):
            found = _cost(other, config, fixed_focal)
            if found < min(best_cost, (1 - config.least_gain) * cost):
                best, best_cost = other, found
    if best is None:
        return scene
    return whole_beginning(best, scene, config)


def majority_beginning(scene: Scene, config: RestartConfig, *, fixed_focal: bool) -> Scene:
    """The scene, or the cameras that notably more of its longest tracks agree on, with all their points."""
    thin = _thinned(scene, config)
    agreed = best_majority(thin, config.majority, fixed_focal=fixed_focal) if thin.posed.sum() > 2 else None
    return scene if agreed is None else whole_beginning(agreed, scene, config)


def whole_beginning(thin: Scene, scene: Scene, config: RestartConfig) -> Scene:
    """The cameras of `thin` and all observations of the scene that it is a part of."""
    whole = replace(scene, cam_from_world=thin.cam_from_world, focal=thin.focal, xyz=thin.xyz, zooms=thin.zooms)
    return triangulate(whole, config.point_px, config.min_angle_deg)


def usual_beginning(scene: Scene, config: RestartConfig) -> Scene:
    """The scene's keyframes and points adjusted at the focal length that its prior names."""
    scene = _usual_focal(replace(scene, zooms=False), False)
    for loss_px in (*config.wide_px, COMPARING_PX):
        scene = bundle_adjust(scene, loss_px, fixed_focal=True, iterations=config.iterations[1])
    return scene


def flat_map(tracks: Tracks, keyframes: tuple[int, ...], start: Start, config: RestartConfig) -> Scene:
    """A map of a few keyframes and the longest tracks from the flat beginning or its twin, without a mapper."""
    frame = np.concatenate([np.full(len(tracks.ids[index]), index) for index in keyframes]).astype(np.intp)
    cam_from_world = np.full((len(tracks), 4, 4), np.nan)
    cam_from_world[list(keyframes)] = np.eye(4)
    scene = Scene(
        cam_from_world=cam_from_world,
        focal=np.full(len(tracks), start.params[0][0]),
        centre=np.array(start.params[0][1:]),
        xyz=np.zeros((len(tracks.rgb), 3)),
        obs_frame=frame,
        obs_track=np.concatenate([tracks.ids[index] for index in keyframes]).astype(np.intp),
        obs_xy=np.concatenate([tracks.xy[index] for index in keyframes]).astype(np.float64),
        size=(tracks.width, tracks.height),
        focal_prior=start.focal_prior,
    )
    thin = _thinned(scene, config)
    if thin.posed.sum() < 3:
        return thin
    return min(_flat_beginnings(thin, config, start.fixed), key=lambda found: _cost(found, config, start.fixed))


def _thinned(scene: Scene, config: RestartConfig) -> Scene:
    """A few of the posed keyframes and mapped tracks where they hold together, else more.

    A fast turn leaves no track for long.
    """
    thin = longest_tracks(_spread(scene, config.keyframes), config.tracks)
    length = np.bincount(thin.obs_track[thin.usable])
    if (length > 0).any() and length[length > 0].mean() >= config.long_tracks:
        return thin
    return longest_tracks(_spread(scene, config.all_keyframes), config.all_tracks)


def _spread(scene: Scene, count: int) -> Scene:
    posed = np.flatnonzero(scene.posed)
    chosen = posed[evenly_spread(len(posed), count)]
    return scene.at_frames(chosen)


def _others(thin: Scene, config: RestartConfig, fixed_focal: bool, limit: float) -> Iterator[Scene]:
    """The other beginnings, adjusted; roughly only, where they still cost more than `limit` then."""
    twin = reversed_twin(thin)
    yield bundle_adjust(twin, COMPARING_PX, fixed_focal=fixed_focal, iterations=config.iterations[1])
    yield _annealed(_usual_focal(twin, fixed_focal), config, fixed_focal, limit)
    yield from _flat_beginnings(thin, config, fixed_focal, limit)


def _flat_beginnings(
    thin: Scene, config: RestartConfig, fixed_focal: bool, limit: float = float("inf")
) -> Iterator[Scene]:
    """The flat beginning and its twin, adjusted: from a usual focal length, and from the one turning speaks for."""
    usual = _usual_focal(thin, fixed_focal)
    begun = [usual]
    if not fixed_focal:
        turning_px = turning_focal(usual, config.turning_focal)
        if abs(np.log(turning_px / usual.focal[0])) > config.other_focal:
            begun.append(replace(usual, focal=np.full(len(usual.focal), turning_px)))
    for scene in begun:
        flat = _annealed(turning_start(scene), config, fixed_focal, limit)
        yield flat
        yield _annealed(replace(reversed_twin(flat), focal=scene.focal), config, fixed_focal, limit)


def _annealed(scene: Scene, config: RestartConfig, fixed_focal: bool, limit: float = float("inf")) -> Scene:
    """Adjusted under narrower and narrower losses, first at its own focal length, then at whichever fits.

    The narrowest is left out where it still costs more than `limit`.
    """
    few, more = config.iterations
    fixed = True
    for loss_px in config.wide_px:
        scene = bundle_adjust(scene, loss_px, fixed_focal=fixed, iterations=few, floating=True)
        fixed = fixed_focal
    if _cost(scene, config, fixed_focal) > limit:
        return scene
    scene = _retriangulated(scene, config)
    return bundle_adjust(scene, COMPARING_PX, fixed_focal=fixed, iterations=more, floating=True)


def _retriangulated(scene: Scene, config: RestartConfig) -> Scene:
    """Points where the cameras alone put them: some may have got stuck behind the cameras or far away."""
    again = triangulate(replace(scene, xyz=np.full_like(scene.xyz, np.nan)), config.far_px, 0.0)
    return replace(scene, xyz=np.where(np.isfinite(again.xyz), again.xyz, scene.xyz))


def _usual_focal(scene: Scene, fixed_focal: bool) -> Scene:
    if fixed_focal or scene.focal_prior is None:
        return scene
    return replace(scene, focal=np.full(len(scene.focal), scene.focal_prior[0]))


def reversed_twin(scene: Scene) -> Scene:
    """Inverse depth mirrored in the middle camera, every camera turned the other way to match.

    What the middle camera sees stays where it is; the points' middle stays where each camera sees it.
    """
    posed = np.flatnonzero(scene.posed)
    middle = scene.cam_from_world[posed[len(posed) // 2]]
    usable = np.unique(scene.obs_track[scene.usable])
    xyz = scene.xyz @ middle[:3, :3].T + middle[:3, 3]
    centre = np.median(xyz[usable], axis=0)
    relative = scene.cam_from_world @ invert_rigid(middle)
    turned = relative.copy()
    turned[:, :3, :3] = MIRROR @ relative[:, :3, :3] @ MIRROR
    kept = relative[:, :3, :3] @ centre + relative[:, :3, 3]
    turned[:, :3, 3] = kept - turned[:, :3, :3] @ centre
    depth = np.maximum(xyz[:, 2:], 1e-3 * abs(centre[2]))
    return replace(scene, cam_from_world=turned, xyz=xyz * (centre[2] / depth) ** 2)


def turning_focal(scene: Scene, shares: Sequence[float]) -> float:
    """The focal length, of some shares of the long side, at which turning alone explains the tracks best."""
    choices = np.array([share * max(scene.size) for share in shares])
    rays = np.stack([replace(scene, focal=np.full(len(scene.focal), focal_px)).rays() for focal_px in choices.tolist()])
    costs = np.zeros(len(choices))
    for _, before, here in _steps(scene):
        a, b = rays[:, before], rays[:, here]
        left = np.linalg.norm(b - a @ np.swapaxes(turn_between(a, b), 1, 2), axis=2)
        costs += robust_cost(choices[:, None] * left, MUCH_PX).sum(axis=1)
    return float(choices[int(np.argmin(costs))])


def turning_start(scene: Scene) -> Scene:
    """Cameras that only turn, each by what its tracks did since the one before, and points about one unit away.

    A little noise of a fixed seed: with every camera at one place no point's depth would change any error.
    """
    rng = np.random.default_rng(0)
    posed = np.flatnonzero(scene.posed)
    ray = scene.rays()
    turn = np.tile(np.eye(3), (len(scene.cam_from_world), 1, 1))
    here = dict.fromkeys(posed.tolist(), np.eye(3))
    here |= {frame: turn_between(ray[a], ray[b]) for frame, a, b in _steps(scene)}
    for last, frame in pairwise(posed.tolist()):
        turn[frame] = here[frame] @ turn[last]
    cam_from_world = np.full_like(scene.cam_from_world, np.nan)
    cam_from_world[posed] = np.eye(4)
    cam_from_world[posed, :3, :3] = turn[posed]
    cam_from_world[posed, :3, 3] = rng.normal(0, 1e-3, (len(posed), 3))
    usable = scene.usable
    total = np.zeros_like(scene.xyz)
    np.add.at(total, scene.obs_track[usable], np.einsum("kji,kj->ki", turn[scene.obs_frame[usable]], ray[usable]))
    seen = np.unique(scene.obs_track[usable])
    xyz = np.full_like(scene.xyz, np.nan)
    direction = total[seen] / np.linalg.norm(total[seen], axis=1, keepdims=True)
    xyz[seen] = direction / np.maximum(direction[:, 2:], 0.2) * np.exp(rng.normal(0, 0.1, (len(seen), 1)))
    return replace(scene, cam_from_world=cam_from_world, xyz=xyz)


def _steps(scene: Scene) -> Iterator[tuple[int, Indices, Indices]]:
    """For each posed frame but the first: the frame, and the observations there and here of what both see."""
    posed = np.flatnonzero(scene.posed).tolist()
    before = span(scene, posed[0])
    for frame in posed[1:]:
        here = span(scene, frame)
        _, a, b = np.intersect1d(scene.obs_track[before], scene.obs_track[here], return_indices=True)
        if len(a) >= 3:
            yield frame, before[a], here[b]
        before = here


def robust_cost(error_px: Array, far_px: float) -> Array:
    """(K,) what observations cost under a loss of 1 px; one without an error, or beyond `far_px`, is an outlier."""
    known = np.nan_to_num(error_px, nan=far_px, posinf=far_px)
    return np.log1p(np.minimum(known, far_px) ** 2)


def _cost(scene: Scene, config: RestartConfig, fixed_focal: bool) -> float:
    """Mean robust cost of the observations, and what the prior says of the focal length."""
    each = robust_cost(scene.error_px()[scene.usable], config.far_px)
    prior = 0.0 if fixed_focal else focal_penalty(scene)
    return float((each.sum() + prior) / len(each))
