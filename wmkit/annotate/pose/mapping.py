"""Keyframes to a self-calibrated sparse model: tracks in a COLMAP database, verified and mapped by pycolmap.

Deterministic: one thread and fixed seeds everywhere (pycolmap's defaults are not). What makes track geometry of
forward and small motion solvable, against the mapper's defaults: initial pairs with as little as 4° and pure
forward motion, points kept and triangulated down to 0.5°.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wmkit.annotate.pose.colmap_import import pycolmap
from wmkit.annotate.pose.tracks import Tracks

__all__ = ["MappingConfig", "map_keyframes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """Knobs of verification and mapping.

    neighbours         keyframes before each one it is matched with.
    min_matches        of a pair, before and after verification.
    max_error_px       RANSAC threshold of the pair geometry.
    initial_focal      focal lengths tried in turn, as a share of the long side, until a model holds.
    good_share         of the keyframes a model must register to be taken at once.
    """

    neighbours: int = 8
    min_matches: int = 25
    max_error_px: float = 2.0
    initial_focal: tuple[float, ...] = (1.0, 0.6, 1.7)
    good_share: float = 0.9


def map_keyframes(
    tracks: Tracks, keyframes: tuple[int, ...], config: MappingConfig
) -> "pycolmap.Reconstruction | None":
    """The model that registers most keyframes (image id = frame index + 1), or None when no start pair holds."""
    best = None
    with TemporaryDirectory(prefix="wmkit-map-") as folder:
        database = Path(folder) / "database.db"
        _write_database(database, tracks, keyframes, config)
        _verify(database, config)
        for focal in config.initial_focal:
            _set_focal(database, focal * max(tracks.width, tracks.height))
            models = pycolmap.incremental_mapping(database, folder, folder, _mapper_options())
            for model in models.values():
                if best is None or _rank(model) > _rank(best):
                    best = model
            if best is not None and best.num_reg_images() >= config.good_share * len(keyframes):
                break
    return best


def _rank(model: "pycolmap.Reconstruction") -> tuple[int, int]:
    return model.num_reg_images(), model.num_points3D()


def _verify(database: Path, config: MappingConfig) -> None:
    """Two-view geometry of every matched pair; without a prior focal length it does not depend on the guess."""
    verifier = pycolmap.GeometricVerifierOptions(num_threads=1)
    geometry = pycolmap.TwoViewGeometryOptions()
    geometry.min_num_inliers = config.min_matches
    geometry.detect_watermark = False
    geometry.ransac.max_error = config.max_error_px
    geometry.ransac.random_seed = 0
    pycolmap.geometric_verification(database, verifier_options=verifier, two_view_geometry_options=geometry)


def _set_focal(path: Path, focal_px: float) -> None:
    with pycolmap.Database.open(path) as database:
        camera = database.read_all_cameras()[0]
        camera.params = [focal_px, *camera.params[1:]]
        database.update_camera(camera)


def _write_database(path: Path, tracks: Tracks, keyframes: tuple[int, ...], config: MappingConfig) -> None:
    with pycolmap.Database.open(path) as database:
        params = [float(tracks.width), tracks.width / 2, tracks.height / 2]
        camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=tracks.width, height=tracks.height, params=params)
        camera.camera_id = database.write_camera(camera)
        rig = pycolmap.Rig()
        rig.add_ref_sensor(camera.sensor_id)
        rig_id = database.write_rig(rig)
        for frame in keyframes:
            image_id = frame + 1
            image = pycolmap.Image(name=f"{frame:06d}", camera_id=camera.camera_id, image_id=image_id)
            database.write_image(image, use_image_id=True)
            database.write_frame(_trivial_frame(rig_id, image), use_frame_id=True)
            database.write_keypoints(image_id, tracks.xy[frame])
        for at, frame in enumerate(keyframes):
            for other in keyframes[max(0, at - config.neighbours) : at]:
                in_other, in_frame = tracks.common(other, frame)
                if len(in_frame) >= config.min_matches:
                    matches = np.stack([in_other, in_frame], axis=1).astype(np.uint32)
                    database.write_matches(other + 1, frame + 1, matches)


def _trivial_frame(rig_id: int, image: "pycolmap.Image") -> "pycolmap.Frame":
    """COLMAP 4 groups images into rig frames; ours hold one image each, under the image's own id."""
    frame = pycolmap.Frame(frame_id=image.image_id, rig_id=rig_id)
    frame.add_data_id(image.data_id)
    return frame


def _mapper_options() -> "pycolmap.IncrementalPipelineOptions":
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = 0
    options.extract_colors = False
    options.multiple_models = True
    options.max_num_models = 5
    options.min_model_size = 3
    options.mapper.num_threads = 1
    options.mapper.random_seed = 0
    options.mapper.init_min_tri_angle = 4.0
    options.mapper.init_max_forward_motion = 1.0
    options.mapper.init_min_num_inliers = 50
    options.mapper.filter_min_tri_angle = 0.5
    options.mapper.abs_pose_min_num_inliers = 20
    options.triangulation.min_angle = 0.5
    options.triangulation.random_seed = 0
    return options
