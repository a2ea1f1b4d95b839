"""The result of a benchmark run: as JSON whose keys are frozen, as a table for people, and as an exit code."""

from dataclasses import dataclass

from wmkit import __version__
from wmkit.bench.limits import Check, Cost
from wmkit.bench.score import METRIC_NAMES, Estimate, Score

__all__ = ["BenchReport", "EngineResult", "SequenceResult"]

SECOND = "pose.second"  # the stage of the second estimate, which only judges the first


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EngineResult:
    """One engine on one sequence: what it found, how good that is, and its CPU seconds by stage.

    digest  sha256 of trajectory and intrinsics, None without a trajectory.
    """

    engine: str
    estimate: Estimate
    score: Score
    core_seconds: dict[str, float]
    digest: str | None = None

    @property
    def first_core_seconds(self) -> float:
        """CPU seconds of all stages but the second estimate."""
        return sum(self.core_seconds.values()) - self.core_seconds.get(SECOND, 0.0)

    def cost(self, peer: "EngineResult | None") -> Cost:
        """What the first estimate cost, the second beside it, and the peer."""
        first_pose_s, second_s = self.core_seconds.get("pose", 0.0), self.core_seconds.get(SECOND)
        return Cost(
            pose_core_s=first_pose_s / self.estimate.frames,
            second_share=None if second_s is None or first_pose_s <= 0 else second_s / first_pose_s,
            peer_ratio=None if peer is None else sum(peer.core_seconds.values()) / self.first_core_seconds,
        )

    @property
    def core_seconds_per_frame(self) -> float:
        """CPU seconds of all stages over all frames, posed or not."""
        return sum(self.core_seconds.values()) / self.estimate.frames

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        frames, trajectory = self.estimate.frames, self.estimate.trajectory
        metrics = {}
        for name in METRIC_NAMES:
            metric = self.score.metrics.get(name)
            if metric is not None:
                metrics[name] = {
                    "value": metric.value,
                    "unit": metric.unit,
                    "count": metric.count,
                    "definition": metric.definition,
                }
        return {
            "engine": self.engine,
            "frames": frames,
            "posed": self.estimate.posed,
            "scale": None if trajectory is None else trajectory.scale.value,
            "no_trajectory": self.estimate.reason or None,
            "metrics": metrics,
            "unmeasured": dict(self.score.unmeasured),
            "core_seconds": dict(self.core_seconds),
            "core_seconds_per_frame": {stage: value / frames for stage, value in self.core_seconds.items()},
            "trajectory_sha256": self.digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceResult:
    """One folder: the annotator first in `engines`, then the peer; no engine when the clip failed with `error`."""

    name: str
    clip: str
    reference: tuple[str, ...]
    engines: tuple[EngineResult, ...]
    checks: tuple[Check, ...] = ()
    error: str | None = None

    @property
    def peer_cost_ratio(self) -> float | None:
        """Core-seconds of the peer over those of the annotator's first estimate; None without a peer."""
        return self.engines[0].cost(self.engines[1]).peer_ratio if len(self.engines) > 1 else None

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "clip": self.clip,
            "reference": list(self.reference),
            "error": self.error,
            "engines": [engine.to_json() for engine in self.engines],
            "peer_cost_ratio": self.peer_cost_ratio,
            "limits": [{"limit": check.limit, "held": check.held, "line": check.line} for check in self.checks],
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BenchReport:
    """All sequences in the order given; `limits_not_run` names those of the limits file that were not."""

    sequences: tuple[SequenceResult, ...]
    limits_not_run: tuple[str, ...] = ()

    @property
    def missed(self) -> tuple[Check, ...]:
        """Every limit that was not held."""
        return tuple(check for sequence in self.sequences for check in sequence.checks if not check.held)

    @property
    def exit_code(self) -> int:
        """1 when a limit was missed, a clip failed, or no clip at all got a trajectory; 0 otherwise."""
        failed = any(sequence.error is not None for sequence in self.sequences)
        measured = any(engine.estimate.posed for sequence in self.sequences for engine in sequence.engines[:1])
        return 1 if self.missed or failed or not measured else 0

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {
            "wmkit": __version__,
            "sequences": [sequence.to_json() for sequence in self.sequences],
            "limits_missed": [check.line for check in self.missed],
            "limits_not_run": list(self.limits_not_run),
            "exit_code": self.exit_code,
        }

    def table(self) -> str:
        """Lines of at most 120 columns: one row an engine and sequence, core-seconds by stage, then the limits."""
        from wmkit.bench.table import render_table

        return render_table(self)
