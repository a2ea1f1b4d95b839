"""What an evaluation found: every figure with its definition, or the reason why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from wmkit import __version__
from wmkit.camera import Trajectory
from wmkit.evaluate.grid import grid
from wmkit.evaluate.pictures import PICTURE_FIGURES
from wmkit.metrics import CAMERA_CONTROL_CONVENTIONS, Metric

__all__ = ["FIGURES", "EvalReport"]

CONTROL = ("rot_err", "trans_err", "cam_mc")
FIGURES = (
    *(f"{name}_{convention}" for convention in CAMERA_CONTROL_CONVENTIONS for name in CONTROL),
    "ate_sim3",
    "rotation_error",
    "rpe_translation",
    "rpe_rotation",
    "path_length",
    *PICTURE_FIGURES,
)
HEAD = ("convention", "RotErr", "TransErr", "CamMC")
TITLES = {
    "ate_sim3": "ATE",
    "rotation_error": "rotation",
    "rpe_translation": "RPE translation",
    "rpe_rotation": "RPE rotation",
    "path_length": "path",
    "revisit_psnr": "revisit PSNR",
    "revisit_ssim": "revisit SSIM",
    "sharpness_drop": "sharpness lost",
    "contrast_drop": "contrast lost",
}
NEARLY_STRAIGHT = (
    "sana_wm_paper fits its rotation to positions alone: on a short or straight path its RotErr is mostly the fit's; "
    "sana_wm_code's is the cameras'"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvalReport:
    """One video against one trajectory.

    frames      of the video.
    judged      frames for which the trajectory says where the camera should be.
    posed       those of them whose camera was found.
    scale       unit of the estimate, `metric` or `up_to_scale`; None without one.
    metrics     by name; each of FIGURES is here or in `unmeasured`, which says why it is not.
    problem     why nothing could be measured, one line; "" when something was.
    controls    the same figures against paths that nobody asked for, by name; see `wmkit.evaluate.controls`.
    note        what the two had to be cut to, one line; "" when nothing.
    estimate, reference  the cameras, None where there are none; not part of the JSON.
    """

    video: str
    trajectory: str
    annotator: str
    frames: int
    judged: int
    posed: int
    scale: str | None
    metrics: dict[str, Metric]
    unmeasured: dict[str, str]
    problem: str = ""
    controls: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    note: str = ""
    estimate: Trajectory | None = None
    reference: Trajectory | None = None

    @property
    def lost(self) -> int:
        """Judged frames whose camera was not found."""
        return self.judged - self.posed

    @property
    def exit_code(self) -> int:
        """0 when measured, 1 when not."""
        return 1 if self.problem else 0

    def value(self, name: str) -> float | None:
        """A figure, None when it was not measured."""
        metric = self.metrics.get(name)
        return None if metric is None else metric.value

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {
            "wmkit": __version__,
            "video": self.video,
            "trajectory": self.trajectory,
            "annotator": self.annotator,
            "frames": self.frames,
            "judged": self.judged,
            "posed": self.posed,
            "lost": self.lost,
            "scale": self.scale,
            "metrics": {
                name: {"value": m.value, "unit": m.unit, "count": m.count, "definition": m.definition}
                for name, m in self.metrics.items()
            },
            "grid": [asdict(row) for row in grid(self.metrics)],
            "controls": {name: dict(figures) for name, figures in self.controls.items()},
            "unmeasured": dict(self.unmeasured),
            "note": self.note or None,
            "problem": self.problem or None,
            "exit_code": self.exit_code,
        }

    def lines(self) -> list[str]:
        """For people: a row a convention, then what each means; or `UNMEASURED: reason`."""
        head = f"{self.video}: {self.frames} frames, {self.judged} judged, {self.posed} posed, {self.lost} lost"
        head += f" ({self.note})" if self.note else ""
        if self.problem:
            return [head, f"UNMEASURED: {self.problem}"]
        measured = [name for name in CAMERA_CONTROL_CONVENTIONS if f"{CONTROL[0]}_{name}" in self.metrics]
        rows: list[tuple[str, ...]] = [HEAD]
        rows += [(name, *(self._shown(f"{figure}_{name}") for figure in CONTROL)) for name in measured]
        lines = [f"{head}; estimate {self.scale}", *_columns(rows)]
        for name, title in TITLES.items():
            metric = self.metrics.get(name)
            lines.append(f"{title} {self._shown(name)}: {metric.definition if metric else self.unmeasured[name]}")
        lines.append("RotErr: geodesic angle; TransErr: L2 distance; CamMC: Frobenius norm of the [R|t] difference")
        lines += [f"{name}: {self.metrics[f'{CONTROL[1]}_{name}'].definition}" for name in measured]
        return [*lines, *self._unmeasured_lines(), NEARLY_STRAIGHT, *self._grid_lines(), *self._control_lines()]

    def _grid_lines(self) -> list[str]:
        """Every form of the three figures, a row each."""
        head = ("normalisation", "aggregate", "RotErr", "TransErr", "CamMC", "printed so by")
        rows: list[tuple[str, ...]] = [head]
        for row in grid(self.metrics):
            angle, length = f"{row.rot_err:.4g} {row.angle_unit}", f"{row.trans_err:.4g} {row.length_unit}".rstrip()
            rows.append((row.normalisation, row.aggregate, angle, length, f"{row.cam_mc:.4g}", row.paper))
        return _columns(rows) if len(rows) > 1 else []

    def _control_lines(self) -> list[str]:
        """The estimate against the request and against null controls, by the figures that most of them have."""
        shown = ("rotation_error", "rot_err_cami2v_relative", "trans_err_cami2v_relative", "cam_mc_cami2v_relative")
        own = {name: self.value(name) for name in shown}
        rows: list[tuple[str, ...]] = [
            ("held against", "rotation deg", "RotErr rad", "TransErr", "CamMC (sums, self-max)")
        ]
        for name, figures in {"the request": own, **self.controls}.items():
            values = (figures.get(figure) for figure in shown)
            rows.append((name, *("-" if value is None else f"{value:.4g}" for value in values)))
        return _columns(rows) if self.controls else []

    def _unmeasured_lines(self) -> list[str]:
        """One line a reason, naming the conventions it holds back."""
        reasons: dict[str, list[str]] = {}
        for name in CAMERA_CONTROL_CONVENTIONS:
            reason = self.unmeasured.get(f"{CONTROL[0]}_{name}")
            if reason is not None:
                reasons.setdefault(reason, []).append(name)
        return [f"{', '.join(names)}: UNMEASURED: {reason}" for reason, names in reasons.items()]

    def _shown(self, name: str) -> str:
        metric = self.metrics.get(name)
        return "-" if metric is None else f"{metric.value:.4g} {metric.unit}".rstrip()


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
