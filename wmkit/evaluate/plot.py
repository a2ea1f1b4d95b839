"""An evaluation as a picture: both paths from above, and how far apart the cameras are frame by frame."""

from pathlib import Path

import numpy as np

from wmkit.camera import Trajectory, invert_rigid
from wmkit.errors import InputError
from wmkit.evaluate.controls import control_paths
from wmkit.evaluate.report import EvalReport
from wmkit.metrics import align, rotation_angle_rad

__all__ = ["check_plot", "write_plot"]


def check_plot(out: Path) -> None:
    """InputError, before minutes of work, for a name that is no PNG's or that is in no folder."""
    if out.suffix.lower() != ".png":
        raise InputError(f"--plot: expected a name ending in .png, got {out}")
    if out.is_dir() or not out.parent.is_dir():
        what = "a folder of that name" if out.is_dir() else f"no folder {out.parent}"
        raise InputError(f"--plot: expected a file that can be written at {out}, got: {what}; name another")


def write_plot(report: EvalReport, out: Path) -> None:
    """A PNG of a measured report; InputError for an unmeasured one, without matplotlib, or where it cannot be put."""
    check_plot(out)
    if report.estimate is None or report.reference is None or report.problem:
        raise InputError(f"--plot: expected a measured video, got: {report.problem or 'no cameras'}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("--plot: expected the package matplotlib; run: pip install 'wmkit[bench]'") from error
    estimate, asked = report.estimate, report.reference
    both = estimate.posed & asked.posed
    found = align(estimate.position[both], asked.position[both], with_scale=True).apply(estimate.position[both])
    figure = Figure(figsize=(12, 5), layout="constrained")
    above, turned = figure.subplots(1, 2)
    above.plot(asked.position[both, 0], asked.position[both, 2], label="asked")
    above.plot(found[:, 0], found[:, 2], label="found, after Sim(3)")
    above.set(xlabel="x", ylabel="z", aspect="equal", title="from above")
    above.set_adjustable("datalim")
    above.legend()
    frames = np.flatnonzero(both)
    turned.plot(frames, _angle_deg(estimate, asked, both), label="asked", linewidth=2)
    for name, path in control_paths(asked).items():
        turned.plot(frames, _angle_deg(estimate, path, both), label=name, linestyle="--")
    turned.set(xlabel="frame", ylabel="deg", title="rotation from what was asked, and from null controls")
    turned.legend()
    try:
        figure.savefig(out, dpi=100, metadata={"Software": None})
    except OSError as error:
        raise InputError(
            f"--plot: expected a file that can be written at {out}, got: {error.strerror}; name another"
        ) from error


def _angle_deg(estimate: Trajectory, path: Trajectory, both: np.ndarray) -> np.ndarray:
    """(n,) geodesic angles, both paths relative to their first common frame."""
    ours, theirs = (invert_rigid(p.world_from_cam[both][:1]) @ p.world_from_cam[both] for p in (estimate, path))
    return np.degrees(rotation_angle_rad(np.swapaxes(theirs[:, :3, :3], 1, 2) @ ours[:, :3, :3]))
