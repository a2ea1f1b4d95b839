"""Scale from satellite positions: the trajectory is laid onto the receiver's track, metres over units.

A receiver's errors drift: neighbouring fixes err alike, so a hundred of them in ten seconds say hardly more than the
first and the last. The errors of one axis are modelled as an Ornstein-Uhlenbeck process of the fix's sigma and
`DRIFT_S` (ionosphere, orbits, multipath) plus white noise, the trajectory's as a random walk along its path; the fit
is generalised least squares on what that model leaves unexplained (Kay, Statistical Signal Processing, ch. 4), with
Cauchy weights against jumps. Scale, rotation, offset and the receiver's lag are fitted together, so the scale's
sigma holds what the others leave open. World axes of the track: east, north, up, metres.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wmkit.annotate.protocols import ScaleCue, Unmeasured
from wmkit.camera import Array, ScaleVote, Trajectory, cross_matrices
from wmkit.clip import Annotation
from wmkit.spread import evenly_spread
from wmkit.telemetry import GpsTrack, Sidecars, read_telemetry
from wmkit.video.frames import ClipFile

__all__ = ["GpsConfig", "gps_vote"]

DRIFT_S = 250.0  # correlation time of a receiver's error
WHITE_M = 0.1  # of one fix, besides the drift; quantisation and jitter of receivers that filter
WHITE_SHARE = 0.1  # of the fix's sigma: poor fixes jump about more
UP_FACTOR = 2.0  # vertical over horizontal sigma
NO_ALTITUDE_M = 1e4  # a fix of two dimensions says nothing of the third
TRAJECTORY_DRIFT = 0.01  # of the path: how far a trajectory's end may be off its start
MAX_SAMPLES = 60  # more fixes than this say no more and cost their cube
MAX_GAP_S = 1.0  # camera centres further apart in time are not joined by a straight line
MIN_FIXES = 3
LAG_STEPS = 21
CALIBRATION = 1.12  # sigma is multiplied by it: what lag, reflections and a memory not known add (`bench scale`)
MAX_SIGMA_LOG = 0.3  # beyond: less than a factor of 1.8 known; and the fit is no longer normal
SMOOTH_S, SMOOTH_SAMPLES = 1.0, 9
LAG_STEP_S = 0.2  # of the derivative by the lag
MAX_STEPS, MAX_DAMPING = 60, 1e8
CAUCHY = 3.0  # sigmas at which an innovation's weight is a half


@dataclass(frozen=True, slots=True, kw_only=True)
class GpsConfig:
    """The clip's own telemetry, its stills' EXIF or a named file gives positions; see `wmkit.telemetry.read`."""

    sidecars: Sidecars
    name: ClassVar[str] = "gps"
    licence: ClassVar[str] = "Apache-2.0"

    def build(self, device: str) -> ScaleCue:
        """The cue; `device` is not used."""
        return _Gps(self)


@dataclass(frozen=True, slots=True)
class _Gps:
    config: GpsConfig

    def vote(self, annotation: Annotation, file: ClipFile) -> ScaleVote | Unmeasured:
        if annotation.trajectory is None:
            return Unmeasured(reason="no_trajectory")
        first_pts_s = annotation.clip.span_s[0]
        telemetry = read_telemetry(file, annotation.view, first_pts_s, self.config.sidecars)
        if telemetry.gps is None:
            return Unmeasured(reason=telemetry.no_gps)
        return gps_vote(annotation.trajectory, telemetry.gps)


def gps_vote(trajectory: Trajectory, track: GpsTrack) -> ScaleVote | Unmeasured:
    """The vote of one track on one trajectory, both on the clip's clock."""
    known = track.fix > 0
    if not known.any():
        return Unmeasured(reason="no_gps_fix")
    path = _Path(trajectory, smooth_s=SMOOTH_S if track.clock_sigma_s > 0 else 0.0)
    margin_s = min(2 * track.clock_sigma_s, path.span_s / 4)
    rows = np.flatnonzero(known & path.covers(track.time_s, margin_s + path.smooth_s / 2))
    if len(rows) < MIN_FIXES:
        inside = known & path.covers(track.time_s, 0.0)
        return Unmeasured(reason="too_few_gps_fixes" if inside.any() else "gps_times_outside_clip")
    rows = rows[evenly_spread(len(rows), MAX_SAMPLES)]
    fit = _Fit.of(path, track, rows, margin_s)
    if fit is None:
        return Unmeasured(reason="motion_too_small_for_gps")
    value, sigma_log = fit.solve()
    if not (np.isfinite(value) and value > 0 and sigma_log <= MAX_SIGMA_LOG):
        return Unmeasured(reason="motion_too_small_for_gps")
    return ScaleVote(cue=GpsConfig.name, value=value, sigma_log=sigma_log)


class _Path:
    """Camera centres between the posed frames, straight from one to the next; averaged over `smooth_s` where asked.

    A receiver smooths as well, and against a path that jitters any lag looks better known than it is.
    """

    def __init__(self, trajectory: Trajectory, smooth_s: float) -> None:
        self.time_s = trajectory.time_s[trajectory.posed]
        self.position = trajectory.position[trajectory.posed]
        steps = np.linalg.norm(np.diff(self.position, axis=0), axis=1)
        self.arc = np.r_[0.0, np.cumsum(steps)]
        self.smooth_s = min(smooth_s, self.span_s / 8)

    @property
    def span_s(self) -> float:
        return float(self.time_s[-1] - self.time_s[0]) if len(self.time_s) > 1 else 0.0

    def covers(self, time_s: Array, margin_s: float) -> np.ndarray:
        """(M,) bool: the path is known `margin_s` before and after each time."""
        if len(self.time_s) < 2:
            return np.zeros(len(time_s), dtype=bool)
        slack_s = 0.5 * float(np.median(np.diff(self.time_s)))  # the last frame lasts until the next would come
        inside = (time_s - margin_s >= self.time_s[0] - slack_s) & (time_s + margin_s <= self.time_s[-1] + slack_s)
        after = np.clip(np.searchsorted(self.time_s, time_s), 1, len(self.time_s) - 1)
        near = np.minimum(np.abs(self.time_s[after] - time_s), np.abs(self.time_s[after - 1] - time_s))
        gap_s = self.time_s[after] - self.time_s[after - 1]
        return inside & ((gap_s <= MAX_GAP_S) | (near < 1e-6))

    def at(self, time_s: Array) -> Array:
        """(M, 3) camera centres."""
        offsets_s = np.linspace(-0.5, 0.5, SMOOTH_SAMPLES) * self.smooth_s if self.smooth_s > 0 else np.zeros(1)
        times = (time_s + offsets_s[:, None]).ravel()
        found = np.stack([np.interp(times, self.time_s, column) for column in self.position.T], axis=1)
        return found.reshape(len(offsets_s), -1, 3).mean(axis=0)

    def arc_at(self, time_s: Array) -> Array:
        """(M,) length of the path up to each time."""
        return np.interp(time_s, self.time_s, self.arc)


@dataclass(slots=True)
class _Fit:
    """One generalised least squares fit: rows are fixes, whitened by the Cholesky factor of their covariance."""

    path: _Path
    time_s: Array
    enu_m: Array
    whiten: Array  # (3, M, M): inverse factors of the east, north and up errors
    lag_s: Array  # (LAG_STEPS,) candidate lags
    clock_sigma_s: float

    @classmethod
    def of(cls, path: _Path, track: GpsTrack, rows: np.ndarray, margin_s: float) -> "_Fit | None":
        """None when the camera or the receiver stood still."""
        time_s, up = track.time_s[rows], np.nan_to_num(track.enu_m[rows, 2])
        enu = np.column_stack([track.enu_m[rows, :2], up])
        spread = path.at(time_s).std(axis=0)
        reach = float(np.linalg.norm(np.ptp(enu[:, :2], axis=0)))
        if not np.linalg.norm(spread) > 0 or reach == 0:
            return None
        rough = reach / float(np.linalg.norm(np.ptp(path.at(time_s), axis=0)))
        has_up = (track.fix[rows] == 3) & np.isfinite(track.enu_m[rows, 2])
        whiten = _whitening(path, track, rows, has_up, rough)
        steps = np.linspace(-margin_s, margin_s, LAG_STEPS) if margin_s > 0 else np.zeros(1)
        return cls(path, time_s, enu, whiten, steps, track.clock_sigma_s)

    def solve(self) -> tuple[float, float]:
        """Metres per unit and the sigma of its logarithm; the sigma grows with a misfit the model does not explain.

        Levenberg-Marquardt from the best of the candidate lags; the weights follow each accepted step.
        """
        starts = [self._start(lag) for lag in self.lag_s]
        state = min(starts, key=self._cost)
        free_lag = len(self.lag_s) > 1
        cost, damping = self._cost(state), 1e-3
        normal, gradient, misfit = self._normal(state, free_lag)
        for _ in range(MAX_STEPS):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), gradient)
            moved = _moved(state, step)
            gain = cost - self._cost(moved)
            if gain <= 0:
                damping *= 10
                if damping > MAX_DAMPING:
                    break
                continue
            state, cost, damping = moved, cost - gain, max(damping / 10, 1e-9)
            normal, gradient, misfit = self._normal(state, free_lag)
            if gain < 1e-8 * max(cost, 1.0):
                break
        variance = float(np.linalg.pinv(normal)[0, 0]) * max(misfit, 1.0)
        return float(np.exp(state[0])), CALIBRATION * float(np.sqrt(max(variance, 0.0)))

    def _start(self, lag_s: float) -> Array:
        """Closed-form start at one lag (Umeyama 1991): log scale, rotation vector (3), offset (3), lag."""
        local = self.path.at(self.time_s + lag_s)
        rotation, scale, offset = _similarity(local, self.enu_m)
        return np.r_[np.log(scale), _log_rotation(rotation), offset, lag_s]

    def _cost(self, state: Array) -> float:
        """Cauchy's cost of the whitened residuals, and the lag's own."""
        cost = float(np.log1p((self._residual(state) / CAUCHY) ** 2).sum()) * CAUCHY**2
        return cost + ((state[7] / self.clock_sigma_s) ** 2 if self.clock_sigma_s > 0 else 0.0)

    def _residual(self, state: Array) -> Array:
        """(M, 3) whitened."""
        placed = np.exp(state[0]) * self.path.at(self.time_s + state[7]) @ _exp_rotation(state[1:4]).T
        return np.einsum("kij,jk->ik", self.whiten, self.enu_m - placed - state[4:7])

    def _normal(self, state: Array, free_lag: bool) -> tuple[Array, Array, float]:
        """Normal matrix (8, 8) and gradient (8,) by the state's tangent, and the mean square of what is left."""
        rotation = _exp_rotation(state[1:4])
        placed = np.exp(state[0]) * self.path.at(self.time_s + state[7]) @ rotation.T
        jacobian = np.zeros((len(placed), 3, 8))
        jacobian[:, :, 0] = placed
        jacobian[:, :, 1:4] = -cross_matrices(placed)
        jacobian[:, :, 4:7] = np.eye(3)
        if free_lag:
            times = self.time_s + state[7]
            ahead, behind = self.path.at(times + LAG_STEP_S), self.path.at(times - LAG_STEP_S)
            jacobian[:, :, 7] = np.exp(state[0]) * (ahead - behind) @ rotation.T / (2 * LAG_STEP_S)
        jacobian = np.einsum("kij,jkp->ikp", self.whiten, jacobian)
        residual = self._residual(state)
        weight = 1 / np.sqrt(1 + (residual / CAUCHY) ** 2)
        rows, left = (weight[..., None] * jacobian).reshape(-1, 8), (weight * residual).ravel()
        normal, gradient = rows.T @ rows, rows.T @ left
        normal[7, 7] += 1 / self.clock_sigma_s**2 if free_lag else 1.0
        gradient[7] -= state[7] / self.clock_sigma_s**2 if free_lag else 0.0
        return normal, gradient, float(left @ left) / max(len(left) - 7, 1)


def _whitening(path: _Path, track: GpsTrack, rows: np.ndarray, has_up: np.ndarray, metres: float) -> Array:
    """(3, M, M) inverse Cholesky factors of the covariance of receiver and trajectory errors, by axis."""
    elapsed, sigma = track.elapsed_s[rows], track.sigma_m[rows]
    alike = np.exp(-np.abs(elapsed[:, None] - elapsed) / DRIFT_S)
    arc = path.arc_at(track.time_s[rows])
    arc = (arc - arc[0]) * metres
    walk = TRAJECTORY_DRIFT**2 * max(float(arc[-1]), 1e-9) * np.minimum(arc[:, None], arc)
    white = np.diag(WHITE_M**2 + (WHITE_SHARE * sigma) ** 2)
    level = alike * sigma[:, None] * sigma + white
    no_up = np.diag(np.where(has_up, 0.0, NO_ALTITUDE_M**2))
    covariances = (level + walk, level + walk, UP_FACTOR**2 * level + walk + no_up)
    return np.stack([np.linalg.inv(np.linalg.cholesky(covariance)) for covariance in covariances])


def _similarity(local: Array, world: Array) -> tuple[Array, float, Array]:
    """Least-squares rotation, scale and offset: world = scale · rotation · local + offset."""
    a, b = local - local.mean(axis=0), world - world.mean(axis=0)
    u, size, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = max(float((size * sign).sum() / np.mean((a**2).sum(axis=1))), 1e-12)
    return rotation, scale, world.mean(axis=0) - scale * rotation @ local.mean(axis=0)


def _moved(state: Array, step: np.ndarray) -> Array:
    moved = np.asarray(state + step, dtype=np.float64)
    moved[1:4] = _log_rotation(_exp_rotation(step[1:4]) @ _exp_rotation(state[1:4]))
    return moved


def _exp_rotation(vector: Array) -> Array:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(vector).as_matrix()


def _log_rotation(rotation: Array) -> Array:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotation).as_rotvec()
