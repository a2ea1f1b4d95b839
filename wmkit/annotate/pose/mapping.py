"""Keyframes to a self-calibrated sparse model: tracks in a COLMAP database, verified and mapped by pycolmap.

Deterministic: one thread and fixed seeds everywhere (pycolmap's defaults are not). What makes track geometry of
forward and small motion solvable, against the mapper's defaults: initial pairs with as little as 4° and pure
forward motion, points kept and triangulated down to 0.5°.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wmkit.annotate.pose.colmap_import import pycolmap
from wmkit.annotate.pose.epipolar import epipolar_inliers
from wmkit.annotate.pose.links import Pair
from wmkit.annotate.pose.tracks import Tracks
from wmkit.atomic import check_room

__all__ = ["MappingConfig", "Model", "Start", "map_keyframes"]

SCRATCH_BYTES = 16 << 20  # more than the database of a clip takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where the mapper begins with the camera.

    model   COLMAP name of the camera model.
    params  sets of parameters in COLMAP's order, tried in turn until a model holds.
    fixed   they are known and stay.
    zooms   every keyframe has a camera of its own, all of which begin there.
    focal_prior  (mean, sigma) px of what is known of the focal length; None: nothing.
    """

    model: str
    params: tuple[tuple[float, ...], ...]
    fixed: bool = False
    zooms: bool = False
    focal_prior: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """Knobs of mapping.

    neighbours     keyframes before each one with which it is matched by tracks.
    min_matches    of a pair.
    epipolar_px    MAGSAC threshold of the pair's fundamental matrix: what moves on its own falls out here.
    initial_focal  focal lengths tried in turn, as a share of the long side, until a model holds.
    good_share     of the keyframes a model must register, and ...
    explained      ... share of the tracks' observations its points must account for, to be taken at once: less
                   means a wrong start as often as a hard clip.
    """

    neighbours: int = 8
    min_matches: int = 15
    epipolar_px: float = 2.0
    initial_focal: tuple[float, ...] = (1.0, 0.6, 1.7)
    good_share: float = 0.9
    explained: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A mapped model (image id = frame index + 1) and how much of what it was given it accounts for.

    registered  share of the keyframes.
    explained   share of the observations, in keyframes, of tracks that three of them see.
    """

    model: "pycolmap.Reconstruction"
    registered: float
    explained: float

    def rank(self, config: MappingConfig) -> tuple[bool, float]:
        """Greater is better: enough keyframes first, then what is explained of them."""
        return self.registered >= config.good_share, self.registered * self.explained

    def holds(self, config: MappingConfig) -> bool:
        """Whether no other start need be tried."""
        return self.registered >= config.good_share and self.explained >= config.explained


def map_keyframes(
    tracks: Tracks,
    keyframes: tuple[int, ...],
    linked: tuple[Pair, ...],
    start: Start,
    config: MappingConfig,
    *,
    at_once: bool = False,
) -> Model | None:
    """The model that registers enough keyframes and explains most, or None when no start pair holds.

    `linked` pairs of frames are matched besides the `neighbours`. Keyframes are added one by one, from every focal
    length of `start` until a model holds; or all `at_once`, from a usual focal length alone. OSError on a full disk.
    """
    best = None
    count = np.bincount(np.concatenate([tracks.ids[frame] for frame in keyframes]), minlength=1)
    wanted = max(int(count[count >= 3].sum()), 1)
    with TemporaryDirectory(prefix="wmkit-map-") as folder, _telling_no_room(folder):
        database = Path(folder) / "database.db"
        _write_images(database, tracks, keyframes, start)
        _write_matches(database, tracks, keyframes, linked, config)
        for params in _attempts(start, at_once):
            _set_params(database, params, known=start.fixed or at_once)
            for found in _models(database, folder, start.fixed, at_once):
                model = Model(
                    model=found,
                    registered=found.num_reg_images() / len(keyframes),
                    explained=min(found.compute_num_observations() / wanted, 1.0),
                )
                if best is None or model.rank(config) > best.rank(config):
                    best = model
            if best is not None and best.holds(config):
                break
    return best


def _attempts(start: Start, at_once: bool) -> tuple[tuple[float, ...], ...]:
    if not at_once:
        return start.params
    first = start.params[0]
    usual = first[0] if start.fixed or start.focal_prior is None else start.focal_prior[0]
    return ((usual, *first[1:]),)


def _models(database: Path, folder: str, fixed: bool, at_once: bool) -> "list[pycolmap.Reconstruction]":
    if not at_once:
        return list(pycolmap.incremental_mapping(database, folder, folder, _mapper_options(fixed)).values())
    try:
        return list(pycolmap.global_mapping(database, folder, folder, _global_options(fixed)).values())
    except (RuntimeError, ValueError):  # a view graph too weak for it, unless it is the disk
        check_room(Path(folder), SCRATCH_BYTES)
        return []


@contextmanager
def _telling_no_room(folder: str) -> Iterator[None]:
    """A full disk is a RuntimeError of some other words to pycolmap: the disk itself is asked."""
    try:
        yield
    except RuntimeError:
        check_room(Path(folder), SCRATCH_BYTES)
        raise


def _set_params(path: Path, params: tuple[float, ...], *, known: bool) -> None:
    with pycolmap.Database.open(path) as database:
        for camera in database.read_all_cameras():
            camera.params = list(params)
            camera.has_prior_focal_length = known  # without it the mapper refines whatever it is told
            database.update_camera(camera)


def _write_images(path: Path, tracks: Tracks, keyframes: tuple[int, ...], start: Start) -> None:
    with pycolmap.Database.open(path) as database:
        camera_id = rig_id = 0
        for frame in keyframes:
            if camera_id == 0 or start.zooms:
                camera = pycolmap.Camera(
                    model=start.model, width=tracks.width, height=tracks.height, params=list(start.params[0])
                )
                camera.camera_id = camera_id = database.write_camera(camera)
                rig = pycolmap.Rig()
                rig.add_ref_sensor(camera.sensor_id)
                rig_id = database.write_rig(rig)
            image_id = frame + 1
            image = pycolmap.Image(name=f"{frame:06d}", camera_id=camera_id, image_id=image_id)
            database.write_image(image, use_image_id=True)
            database.write_frame(_trivial_frame(rig_id, image), use_frame_id=True)
            database.write_keypoints(image_id, tracks.xy[frame])


def _write_matches(
    path: Path, tracks: Tracks, keyframes: tuple[int, ...], linked: tuple[Pair, ...], config: MappingConfig
) -> None:
    """Pair geometries without a pose: the mapper solves its start pair itself and needs none for the others."""
    near = {(i, j) for at, j in enumerate(keyframes) for i in keyframes[max(0, at - config.neighbours) : at]}
    with pycolmap.Database.open(path) as database:
        for i, j in sorted(near | set(linked)):
            in_i, in_j = tracks.common(i, j)
            if len(in_i) < config.min_matches:
                continue
            keep = epipolar_inliers(tracks.xy[i][in_i], tracks.xy[j][in_j], config.epipolar_px)
            if keep is None or np.count_nonzero(keep) < config.min_matches:
                continue
            geometry = pycolmap.TwoViewGeometry()
            geometry.config = pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED
            geometry.inlier_matches = np.stack([in_i, in_j], axis=1)[keep].astype(np.uint32)
            database.write_two_view_geometry(i + 1, j + 1, geometry)


def _trivial_frame(rig_id: int, image: "pycolmap.Image") -> "pycolmap.Frame":
    """COLMAP 4 groups images into rig frames; ours hold one image each, under the image's own id."""
    frame = pycolmap.Frame(frame_id=image.image_id, rig_id=rig_id)
    frame.add_data_id(image.data_id)
    return frame


def _global_options(fixed: bool) -> "pycolmap.GlobalPipelineOptions":
    """Rotations averaged, then positions and points together (GLOMAP: Pan et al., ECCV 2024): no order to get wrong."""
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads = options.mapper.num_threads = 1
    options.random_seed = options.mapper.random_seed = 0
    options.mapper.bundle_adjustment.ceres.use_gpu = options.mapper.global_positioning.use_gpu = False
    options.mapper.bundle_adjustment.refine_focal_length = not fixed
    # as in mapping frame by frame: the engine ends with an adjustment of its own
    options.mapper.ba_num_iterations = 2
    options.mapper.bundle_adjustment.ceres.solver_options.max_num_iterations = 30
    options.mapper.min_tri_angle_deg = options.mapper.retriangulation.min_angle = 0.15
    return options


def _mapper_options(fixed: bool) -> "pycolmap.IncrementalPipelineOptions":
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = 0
    options.extract_colors = False
    options.multiple_models = True
    options.max_num_models = 5
    options.min_model_size = 3
    options.ba_refine_focal_length = options.ba_refine_extra_params = not fixed
    # fewer and shorter adjustments on the way than COLMAP's own: the engine ends with one of its own (LOG.md)
    options.ba_global_frames_ratio = 1.4
    options.ba_global_points_ratio = 1.4
    options.ba_global_max_refinements = 2
    options.ba_global_max_num_iterations = 20
    options.ba_local_max_refinements = 1
    options.ba_local_max_num_iterations = 12
    options.mapper.num_threads = 1
    options.mapper.random_seed = 0
    options.mapper.init_min_tri_angle = 4.0
    options.mapper.init_max_forward_motion = 1.0
    options.mapper.init_min_num_inliers = 50
    options.mapper.filter_min_tri_angle = 0.15
    options.mapper.abs_pose_min_num_inliers = 20
    options.mapper.abs_pose_refine_focal_length = options.mapper.abs_pose_refine_extra_params = not fixed
    options.mapper.image_selection_method = pycolmap.ImageSelectionMethod.MIN_UNCERTAINTY
    options.triangulation.min_angle = 0.15
    options.triangulation.random_seed = 0
    return options
