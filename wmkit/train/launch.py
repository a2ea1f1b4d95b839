"""One command, several processes: torchrun starts them on this machine, Ray Train on this one or on a cluster. Each
trains its part of the run; checkpoints are the run's own, Ray is told where they lie.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from wmkit.errors import InputError, WmkitError
from wmkit.train.run import TrainOptions, run_train
from wmkit.video.reference import is_url

__all__ = ["LauncherName", "Told", "is_launched", "launch", "launch_ray", "launcher_of"]

LauncherName = Literal["local", "torchrun", "ray"]


def is_launched() -> bool:
    """Whether torchrun, ours or the user's own, has started this process."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def launcher_of(asked: LauncherName | None, processes: int, ray_address: str | None) -> LauncherName:
    """What starts so many processes: as asked, else Ray where its address is given, else torchrun for more than one.

    Raises InputError for fewer than one process, several without a launcher, and an address that nothing uses.
    """
    if processes < 1:
        raise InputError(f"--processes: expected at least 1, got {processes}")
    if asked is None:
        asked = "ray" if ray_address is not None else "local" if processes == 1 else "torchrun"
    if asked == "local" and processes > 1:
        raise InputError(f"--launcher local: expected --processes 1, got {processes}; use torchrun or ray")
    if asked != "ray" and ray_address is not None:
        raise InputError(f"--ray-address: expected --launcher ray, got {asked}; leave one of the two out")
    return asked


def launch(options: TrainOptions, processes: int, json_output: bool) -> int:
    """`wmkit train` with these options as so many processes of this machine; the exit code, of the first to fail.

    On several machines start torchrun there yourself: `torchrun --nnodes 8 --nproc-per-node 8 ... -m wmkit train`.
    """
    arguments = ["train", options.recipe, "--data", str(options.data), "--out", str(options.out)]
    arguments += [word for setting in options.settings for word in ("--set", setting)]
    runs = {"--start": options.start, "--teacher": options.teacher}
    arguments += [word for flag, run in runs.items() if run is not None for word in (flag, str(run))]
    arguments += ["--workers", str(options.workers)] if options.workers else []
    arguments += ["--sample-every", str(options.sample_every)] if options.sample_every else []
    arguments += ["--wandb", options.wandb] if options.wandb is not None else []
    flags = {"--resume": options.resume, "--tensorboard": options.tensorboard, "--json": json_output}
    arguments += [flag for flag, wanted in flags.items() if wanted]
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.call([*run, "-m", "wmkit", *arguments])


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a run in other processes said at its end, told as its `TrainSummary` would."""

    json: dict[str, Any]
    text: list[str]
    leads: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return self.json

    def lines(self) -> list[str]:
        """For people."""
        return self.text


def launch_ray(options: TrainOptions, processes: int, address: str | None) -> Told:
    """Train on so many Ray Train workers, each with a GPU where the cluster has as many, else with a CPU core.

    `address` is as `annotate` takes it; None without RAY_ADDRESS: a session of this machine's CPUs. The workers must
    see run folder and shards at the same paths; progress goes to OUT/ray.log, Ray's own notes below OUT/ray. A lost
    worker ends the run, and the same command goes on. Raises what `run_train` raises, and InputError where Ray cannot
    start the workers or loses one.
    """
    from wmkit.executor.ray import connected

    options = _absolute(options)
    with connected(processes, address):
        import ray
        import ray.train
        from ray.train.torch import TorchTrainer

        there = ray.cluster_resources()
        gpu = there.get("GPU", 0) >= processes
        if not gpu and there.get("CPU", 0) < processes:
            cpus = f"{there.get('CPU', 0):g}"
            raise InputError(f"--processes: expected at most {cpus}, the cluster's CPU cores, got {processes}")
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"options": options},
            scaling_config=ray.train.ScalingConfig(num_workers=processes, use_gpu=gpu),
            run_config=ray.train.RunConfig(name="train", storage_path=str(options.out / "ray")),
        )
        try:
            told = trainer.fit().return_value  # of the first worker
        except ray.train.TrainingFailedError as error:
            raise _cause(error) from error
    assert told is not None
    return Told(json=told["json"], text=told["lines"])


def _worker(config: dict[str, Any]) -> dict[str, Any]:
    """One process of the run; Ray Train has joined it with the others. What it has to tell at the end."""
    import ray.train

    from wmkit.train.progress import LineProgress

    options: TrainOptions = config["options"]
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "ray.log").open("a", encoding="utf-8") as log:
        summary = run_train(options, LineProgress(log))
    ray.train.report({"checkpoint": str(summary.result.checkpoint)})  # every worker has to
    return {"json": summary.to_json(), "lines": summary.lines()}


def _absolute(options: TrainOptions) -> TrainOptions:
    """Workers have working directories of their own."""
    start, teacher = (None if run is None else run.resolve() for run in (options.start, options.teacher))
    data = options.data if is_url(str(options.data)) else Path(options.data).resolve()
    return replace(options, data=data, out=options.out.resolve(), start=start, teacher=teacher)


def _cause(error: Exception) -> WmkitError:
    """The error a worker raised on purpose, else that Ray lost one."""
    found: list[BaseException | None] = [error, *getattr(error, "worker_failures", {}).values()]
    for failure in found:
        while failure is not None:
            if isinstance(failure, WmkitError):
                return failure
            failure = getattr(failure, "cause", None) or failure.__cause__
    told = (str(error).strip() or repr(error)).splitlines()[-1]
    return InputError(f"--launcher ray: expected every worker to end well, got: {told}")
