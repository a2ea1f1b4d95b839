"""Bundle adjustment of a scene by pycolmap (Ceres), one thread, robust loss."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wmkit.annotate.pose.colmap_import import pycolmap
from wmkit.annotate.pose.scene import Indices, Scene
from wmkit.camera import Array

__all__ = [
    "COMPARING_PX",
    "FINAL_TOLERANCE",
    "bundle_adjust",
    "bundle_adjust_camera",
    "focal_of_all",
    "focal_penalty",
    "to_reconstruction",
]

COMPARING_PX = 1.0  # loss of adjustments whose outcomes are compared
TOLERANCE = 1e-4  # an adjustment ends when a step takes away less than this share of the cost: enough to compare by ...
FINAL_TOLERANCE = 1e-6  # ... and of what poses or a lens rest on: a turn trades against a shift at next to no cost
FIRST_GAUGE = 10**8  # image ids of the prior's images begin here, beyond every frame's
PRIOR_PX = 0.5  # a focal length one sigma off is worth an error of this many px: that of an ordinary observation ...
PRIOR_WEIGHT = 20  # ... of this many points: errors along a track and of its neighbours are alike, a prior's is its own


def bundle_adjust(
    scene: Scene,
    loss_px: float,
    *,
    fixed_focal: bool = False,
    iterations: int = 50,
    held: Sequence[int] = (),
    floating: bool = False,
    tolerance: float = TOLERANCE,
) -> Scene:
    """The scene with poses, points and focal length at the minimum of the Cauchy reprojection loss.

    Frames share one focal length unless the scene zooms; frames that see nothing then take theirs from
    those around them. The poses of the frames `held` stay; two of them or more fix where the scene lies and how
    large it is. `floating`: nothing does, for a scene whose cameras begin too close together to measure it by. It ends
    when a step takes away less than a share `tolerance` of the cost.
    """
    shared = not scene.zooms
    model, track_of_point = to_reconstruction(scene, "SIMPLE_PINHOLE", shared=shared)
    _solve(model, loss_px, tolerance, fixed_focal, iterations, held, scene.focal_prior, floating)
    seeing = np.unique(scene.obs_frame[scene.usable])
    found = np.array([model.camera(model.image(frame + 1).camera_id).params[0] for frame in seeing.tolist()])
    focal = np.full_like(scene.focal, found[0]) if shared else focal_of_all(scene.focal, seeing, found)
    return replace(_moved(scene, model, track_of_point), focal=focal)


def focal_of_all(before: Array, seeing: Indices, found: Array) -> Array:
    """(N,) focal lengths from those `found` for the frames `seeing`, between and beyond them as their neighbours'.

    A frame with few points may be adjusted to 0 or behind itself: that is none. Without any they stay as `before`.
    """
    sound = found > 0
    if not sound.any():
        return before.copy()
    return np.exp(np.interp(np.arange(len(before)), seeing[sound], np.log(found[sound])))


def bundle_adjust_camera(
    scene: Scene, loss_px: float, camera_model: str, *, iterations: int = 50, start: tuple[float, ...] = ()
) -> tuple[Scene, Array]:
    """The scene adjusted under another COLMAP camera model of one focal length, and that camera's parameters.

    It begins at the parameters `start`, else at the scene's focal length without distortion. The scene's own error
    functions know nothing of the distortion: only poses and points are of use.
    """
    model, track_of_point = to_reconstruction(scene, camera_model, shared=True)
    if start:
        model.camera(1).params = list(start)
    _solve(model, loss_px, FINAL_TOLERANCE, False, iterations, (), scene.focal_prior)
    return _moved(scene, model, track_of_point), np.array(model.camera(1).params)


def _solve(
    model: "pycolmap.Reconstruction",
    loss_px: float,
    tolerance: float,
    fixed_focal: bool,
    iterations: int,
    held: Sequence[int],
    focal_prior: tuple[float, float] | None,
    floating: bool = False,
) -> None:
    seeing = sorted(model.reg_image_ids())
    gauges = [] if fixed_focal or focal_prior is None else _add_gauges(model, focal_prior)
    options = pycolmap.BundleAdjustmentOptions(print_summary=False)
    options.refine_focal_length = not fixed_focal
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = loss_px
    options.ceres.solver_options.function_tolerance = tolerance
    options.ceres.solver_options.num_threads = 1
    options.ceres.solver_options.max_num_iterations = iterations
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in seeing:
        config.add_image(image_id)
    for image_id in gauges:
        config.add_image(image_id)
        config.set_constant_rig_from_world_pose(model.image(image_id).frame_id)
        config.add_constant_point(model.image(image_id).points2D[0].point3D_id)
    constant = [frame + 1 for frame in held if model.exists_image(frame + 1)]
    for image_id in constant:
        config.set_constant_rig_from_world_pose(model.image(image_id).frame_id)
    if len(constant) < 2 and not floating:
        config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_ceres_bundle_adjuster(options, config, model).solve()


def _add_gauges(model: "pycolmap.Reconstruction", focal_prior: tuple[float, float]) -> list[int]:
    """What is known of the focal length as observations: images in which known points stand where it says.

    COLMAP's adjusters take priors on positions, not on cameras. A point at (s, 0, 1) seen by a camera at the origin
    is `s (f - mean)` px from where the prior's mean puts it.
    """
    mean_px, sigma_px = focal_prior
    cameras = sorted({model.image(i).camera_id for i in model.reg_image_ids()})
    side = PRIOR_PX / sigma_px / np.sqrt(len(cameras))
    added = []
    for number, camera_id in enumerate(cameras):
        camera = model.camera(camera_id)
        image_id = FIRST_GAUGE + number
        seen = np.tile([side * mean_px + camera.principal_point_x, camera.principal_point_y], (PRIOR_WEIGHT, 1))
        image = pycolmap.Image(name=f"gauge{number}", keypoints=seen, camera_id=camera_id, image_id=image_id)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.eye(4)[:3]))
        track = pycolmap.Track([pycolmap.TrackElement(image_id, place) for place in range(PRIOR_WEIGHT)])
        model.add_point3D(np.array([side, 0.0, 1.0]), track, np.zeros(3, np.uint8))
        added.append(image_id)
    return added


def focal_penalty(scene: Scene) -> float:
    """What the prior adds to the cost of a scene, in the units of an observation's at a loss of 1 px."""
    if scene.focal_prior is None:
        return 0.0
    mean_px, sigma_px = scene.focal_prior
    off_px = PRIOR_PX * (float(np.median(scene.focal)) - mean_px) / sigma_px
    return PRIOR_WEIGHT * float(np.log1p(off_px**2))


def _moved(scene: Scene, model: "pycolmap.Reconstruction", track_of_point: dict[int, int]) -> Scene:
    cam_from_world = scene.cam_from_world.copy()
    for image_id in model.reg_image_ids():
        if image_id >= FIRST_GAUGE:
            continue
        cam_from_world[image_id - 1, :3] = model.image(image_id).cam_from_world().matrix()
    xyz = scene.xyz.copy()
    for point_id, track in track_of_point.items():
        xyz[track] = model.point3D(point_id).xyz
    return replace(scene, cam_from_world=cam_from_world, xyz=xyz)


def to_reconstruction(
    scene: Scene, camera_model: str, *, shared: bool
) -> "tuple[pycolmap.Reconstruction, dict[int, int]]":
    """The usable part of a scene as a COLMAP model (image id = frame + 1), and the track of each point id.

    One camera when `shared`, else one a frame under the image's id; distortion begins at 0.
    """
    model = pycolmap.Reconstruction()
    width, height = scene.size
    at = np.flatnonzero(scene.usable)
    seeing, begin, count = np.unique(scene.obs_frame[at], return_index=True, return_counts=True)
    for index, first, length in zip(seeing.tolist(), begin.tolist(), count.tolist(), strict=True):
        camera_id = 1 if shared else index + 1
        if not model.exists_camera(camera_id):
            camera = pycolmap.Camera.create_from_model_name(
                camera_id, camera_model, float(scene.focal[index]), width, height
            )
            camera.principal_point_x, camera.principal_point_y = scene.centre.tolist()
            model.add_camera_with_trivial_rig(camera)
        xy = scene.obs_xy[at[first : first + length]]
        image = pycolmap.Image(name=f"{index:06d}", keypoints=xy, camera_id=camera_id, image_id=index + 1)
        pose = pycolmap.Rigid3d(scene.cam_from_world[index, :3])
        model.add_image_with_trivial_frame(image, pose)
    place = np.arange(len(at)) - np.repeat(begin, count)
    order = np.argsort(scene.obs_track[at], kind="stable")
    image_id = scene.obs_frame[at[order]] + 1
    elements = list(map(pycolmap.TrackElement, image_id.tolist(), place[order].tolist()))
    owner, begin, count = np.unique(scene.obs_track[at[order]], return_index=True, return_counts=True)
    black = np.zeros(3, np.uint8)
    track_of_point: dict[int, int] = {}
    for track, first, length in zip(owner.tolist(), begin.tolist(), count.tolist(), strict=True):
        seen = pycolmap.Track(elements[first : first + length])
        track_of_point[model.add_point3D(scene.xyz[track], seen, black)] = track
    return model, track_of_point
