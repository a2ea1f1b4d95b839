"""One clip's folder: an `Annotation` as files, and back, exactly but for depth, which is rounded to a stated bound.

::

    annotation.json   everything that is not an array of cameras, points or depth; its view holds the source's lens and
                      the pinhole that the frames were undistorted to, both null when they were not
    trajectory.npz    world_from_cam (N, 4, 4) f8, time_s (N,) f8, posed (N,) bool, intrinsics (N, 4) f8 fx fy cx cy px,
                      covariance (N, 6, 6) f8 when the backend gave one; NaN rows are unposed frames
    points.ply        binary little endian; x y z double (world, the trajectory's unit), red green blue uchar,
                      error_px float, track_length int
    depth.npz         distance along the camera's z axis in the trajectory's unit as 16-bit inverse depth, and its
                      confidence, for K frames: see `wmkit.corpus.depth_file`, which states the error bound and how
                      numpy alone reads it; intrinsics are the frame's, resized to w x h
    mask.npz          where the picture moves on its own: frame (K,) i8 output-frame indices, mask (K, h, w) bool of
                      h x w equal cells of the output frame from its top left corner
    quality.npz       when the backend measured its own result: (N,) f8 reprojection_px, inlier_ratio, parallax_deg,
                      rotation_disagreement_deg, position_disagreement (share of the path), NaN where unknown; the
                      clip-level features, p_good and its calibration are in annotation.json (null for NaN)

A clip without a trajectory has annotation.json alone, and one whose camera only turned

::

    rotation.npz      world_from_cam (N, 3, 3) f8, the first frame's is the identity; focal_px is in annotation.json

Neither time nor host is in any of them, so the same input,
config and packages give the same bytes.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmkit.atomic import HEADER_LOCK, json_bytes, npz_bytes
from wmkit.camera import CameraPrior, Intrinsics, Lens, ScaleEstimate, ScaleKind, ScaleVote, Trajectory
from wmkit.caption import Caption
from wmkit.clip import (
    QUALITY_ROWS,
    Absence,
    Annotation,
    BackendRecord,
    Clip,
    Confidence,
    DynamicMask,
    MeasureState,
    NoTrajectory,
    Points,
    PoseQuality,
    Provenance,
    SidecarRecord,
    SourceView,
    Verdict,
)
from wmkit.corpus.depth_file import depth_bytes, depth_of_arrays
from wmkit.errors import InputError
from wmkit.json_object import read_json

__all__ = ["DEPTH", "annotation_files", "points_bytes", "points_from_bytes", "read_annotation", "read_record"]

ANNOTATION, TRAJECTORY, POINTS, DEPTH = "annotation.json", "trajectory.npz", "points.ply", "depth.npz"
ROTATION = "rotation.npz"
QUALITY = "quality.npz"
MASK = "mask.npz"
POINT_ROW = np.dtype(
    [("xyz", "<f8", 3), ("rgb", "u1", 3), ("error_px", "<f4"), ("track_length", "<i4")]
)  # packed, in the order of the header below
PLY_PROPERTIES = (
    *(f"property double {axis}" for axis in "xyz"),
    *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
    "property float error_px",
    "property int track_length",
)


def annotation_files(annotation: Annotation) -> dict[str, bytes]:
    """File name to bytes, the whole folder of one clip."""
    files = {ANNOTATION: json_bytes(_record(annotation))}
    trajectory, none = annotation.trajectory, annotation.no_trajectory
    if none is not None and none.rotation is not None:
        files[ROTATION] = npz_bytes({"world_from_cam": none.rotation})
    if trajectory is None:
        return files
    arrays: dict[str, NDArray] = {
        "world_from_cam": trajectory.world_from_cam,
        "time_s": trajectory.time_s,
        "posed": trajectory.posed,
        "intrinsics": annotation.intrinsics_rows,
    }
    if trajectory.covariance is not None:
        arrays["covariance"] = trajectory.covariance
    files[TRAJECTORY] = npz_bytes(arrays)
    if annotation.points is not None:
        files[POINTS] = points_bytes(annotation.points)
    if annotation.depth is not None:
        files[DEPTH] = depth_bytes(annotation.depth)
    if annotation.dynamic is not None:
        files[MASK] = npz_bytes({"frame": annotation.dynamic.frame, "mask": annotation.dynamic.mask})
    if annotation.confidence is not None:
        quality = annotation.confidence.quality
        files[QUALITY] = npz_bytes({name: getattr(quality, name) for name in QUALITY_ROWS})
    return files


def read_record(folder: Path) -> dict[str, Any]:
    """annotation.json as a dict; InputError when it is absent or no JSON object."""
    path = folder / ANNOTATION
    if not path.exists():
        raise InputError(f"{folder}: expected a clip folder with {ANNOTATION}, found none")
    return read_json(path, "delete the clip's folder and annotate again")


def read_annotation(folder: Path) -> Annotation:
    """The annotation a folder was written from; InputError names what is missing or damaged."""
    record = read_record(folder)
    try:
        return _annotation(folder, record)
    except (OSError, EOFError, KeyError, TypeError, ValueError, InputError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{folder}: expected a complete clip folder, got {type(error).__name__}: {error}; "
            "delete the folder and annotate again"
        ) from error


def points_bytes(points: Points) -> bytes:
    """Binary little-endian PLY of the sparse points."""
    lines = ("ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *PLY_PROPERTIES, "end_header")
    rows = np.zeros(len(points), dtype=POINT_ROW)
    rows["xyz"], rows["rgb"] = points.xyz, points.rgb
    rows["error_px"], rows["track_length"] = points.error_px, points.track_length
    return ("\n".join(lines) + "\n").encode() + rows.tobytes()


def points_from_bytes(data: bytes) -> Points:
    """Sparse points from a PLY that `points_bytes` wrote; ValueError for any other PLY or a cut one."""
    header, found, body = data.partition(b"end_header\n")
    lines = header.decode("ascii", errors="replace").splitlines()
    if not found or lines[:2] != ["ply", "format binary_little_endian 1.0"] or tuple(lines[3:]) != PLY_PROPERTIES:
        raise ValueError(f"{POINTS} is not one of ours")
    count = int(lines[2].removeprefix("element vertex "))
    if len(body) != count * POINT_ROW.itemsize:
        raise ValueError(f"{POINTS} has {len(body)} bytes of points, expected {count * POINT_ROW.itemsize}")
    rows = np.frombuffer(body, dtype=POINT_ROW)
    return Points(xyz=rows["xyz"], rgb=rows["rgb"], error_px=rows["error_px"], track_length=rows["track_length"])


def _record(annotation: Annotation) -> dict[str, Any]:
    view, trajectory, none = annotation.view, annotation.trajectory, annotation.no_trajectory
    return {
        "clip": asdict(annotation.clip),
        "view": {
            "decoder": view.decoder,
            "decoded_width": view.decoded_width,
            "decoded_height": view.decoded_height,
            "rotation_deg": view.rotation_deg,
            "sample_aspect_ratio": float(view.sample_aspect_ratio),
            "width": view.width,
            "height": view.height,
            "pts_s": view.pts_s.tolist(),
            "lens": None if view.lens is None else asdict(view.lens),
            "pinhole": None if view.pinhole is None else _plain(view.pinhole),
        },
        "verdicts": [{**asdict(verdict), "state": str(verdict.state)} for verdict in annotation.verdicts],
        "provenance": asdict(annotation.provenance),
        "no_trajectory": None if none is None else _none_record(none),
        "trajectory": None
        if trajectory is None
        else {"scale": str(trajectory.scale), "frames": len(trajectory), "posed": int(trajectory.posed.sum())},
        "scale": None if annotation.scale is None else asdict(annotation.scale),
        "points": None if annotation.points is None else len(annotation.points),
        "depth": None
        if annotation.depth is None
        else {"scale": str(annotation.depth.scale), "maps": len(annotation.depth.frame)},
        "dynamic": None if annotation.dynamic is None else {"masks": len(annotation.dynamic.frame)},
        "absences": [asdict(absence) for absence in annotation.absences],
        "prior": None if annotation.prior is None else asdict(annotation.prior),
        "caption": None if annotation.caption is None else asdict(annotation.caption),
        "metric_hint_sigma_log": annotation.metric_hint_sigma_log,
        "confidence": None if annotation.confidence is None else _confidence_record(annotation.confidence),
    }


def _confidence_record(confidence: Confidence) -> dict[str, Any]:
    features = confidence.quality.features
    return {
        "p_good": confidence.p_good,
        "calibration": confidence.calibration,
        "reason": confidence.reason,
        "features": [[name, None if math.isnan(value) else value] for name, value in features],
    }


def _plain(camera: Intrinsics) -> dict[str, float | int]:
    """As JSON holds it, whatever kind of floats it was made of."""
    focal_and_centre = {name: float(getattr(camera, name)) for name in ("fx", "fy", "cx", "cy")}
    return {**focal_and_centre, "width": int(camera.width), "height": int(camera.height)}


def _annotation(folder: Path, record: Mapping[str, Any]) -> Annotation:
    view = _view(record["view"])
    trajectory, intrinsics = None, ()
    if record["trajectory"] is not None:
        trajectory, intrinsics = _trajectory(folder, ScaleKind(record["trajectory"]["scale"]), view)
    depth = None
    if record["depth"] is not None:
        depth = depth_of_arrays(_load_npz(folder / DEPTH), ScaleKind(record["depth"]["scale"]))
    clip, none, scale = record["clip"], record["no_trajectory"], record["scale"]
    return Annotation(
        clip=Clip(**{**clip, "span_s": tuple(clip["span_s"])}),
        view=view,
        verdicts=tuple(Verdict(**{**row, "state": MeasureState(row["state"])}) for row in record["verdicts"]),
        provenance=_provenance(record["provenance"]),
        trajectory=trajectory,
        no_trajectory=None if none is None else _none(folder, none),
        intrinsics=intrinsics,
        points=None if record["points"] is None else points_from_bytes((folder / POINTS).read_bytes()),
        depth=depth,
        scale=None if scale is None else _scale(scale),
        absences=tuple(Absence(**row) for row in record["absences"]),
        prior=None if record["prior"] is None else CameraPrior(**record["prior"]),
        caption=None if record.get("caption") is None else Caption(**record["caption"]),
        metric_hint_sigma_log=record["metric_hint_sigma_log"],
        confidence=None if record["confidence"] is None else _confidence(folder, record["confidence"]),
        dynamic=None if record["dynamic"] is None else _dynamic(folder),
    )


def _none_record(none: NoTrajectory) -> dict[str, Any]:
    turned = none.rotation is not None
    return {"reason": none.reason, "detail": none.detail, "focal_px": none.focal_px, "rotation": turned}


def _none(folder: Path, record: Mapping[str, Any]) -> NoTrajectory:
    rotation = _load_npz(folder / ROTATION)["world_from_cam"] if record["rotation"] else None
    return NoTrajectory(**{**record, "rotation": rotation})


def _view(record: Mapping[str, Any]) -> SourceView:
    pts_s = np.array(record["pts_s"], dtype=np.float64)
    lens, pinhole = record["lens"], record["pinhole"]
    return SourceView(
        **{
            **record,
            "pts_s": pts_s,
            "lens": None if lens is None else Lens(**{**lens, "params": tuple(lens["params"])}),
            "pinhole": None if pinhole is None else Intrinsics(**pinhole),
        }
    )


def _trajectory(folder: Path, scale: ScaleKind, view: SourceView) -> tuple[Trajectory, tuple[Intrinsics, ...]]:
    arrays = _load_npz(folder / TRAJECTORY)
    trajectory = Trajectory(
        world_from_cam=arrays["world_from_cam"],
        time_s=arrays["time_s"],
        posed=arrays["posed"],
        scale=scale,
        covariance=arrays.get("covariance"),
    )
    intrinsics = tuple(
        Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy, width=view.width, height=view.height)
        for fx, fy, cx, cy in arrays["intrinsics"].tolist()
    )
    return trajectory, intrinsics


def _confidence(folder: Path, record: Mapping[str, Any]) -> Confidence:
    features = tuple((name, math.nan if value is None else value) for name, value in record["features"])
    rows = _load_npz(folder / QUALITY)
    return Confidence(
        quality=PoseQuality(**{name: rows[name] for name in QUALITY_ROWS}, features=features),
        p_good=record["p_good"],
        calibration=record["calibration"],
        reason=record["reason"],
    )


def _dynamic(folder: Path) -> DynamicMask:
    arrays = _load_npz(folder / MASK)
    return DynamicMask(frame=arrays["frame"], mask=arrays["mask"])


def _provenance(record: Mapping[str, Any]) -> Provenance:
    backends = tuple(BackendRecord(**row) for row in record["backends"])
    sidecars = tuple(SidecarRecord(**row) for row in record["sidecars"])
    return Provenance(**{**record, "backends": backends, "sidecars": sidecars})


def _scale(record: Mapping[str, Any]) -> ScaleEstimate:
    votes = tuple(
        ScaleVote(**{**row, "frame_factors": tuple((int(frame), factor) for frame, factor in row["frame_factors"])})
        for row in record["votes"]
    )
    return ScaleEstimate(**{**record, "votes": votes})


def _load_npz(path: Path) -> dict[str, NDArray]:
    with HEADER_LOCK, np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
