"""A run's checkpoints: folders that appear by one rename, complete or not at all; safetensors and JSON only.

    RUN/checkpoints/step-000100/model.safetensors       parameters and buffers by their names
                                optimizer.safetensors   AdamW's moments: exp_avg.NAME, exp_avg_sq.NAME, step.NAME
                                ema.safetensors         running mean of the parameters, where the run keeps one
                                critic.safetensors, critic_optimizer.safetensors   likewise, where there is a critic
                                config.json             the run's TrainConfig
                                state.json              step, what the data was, versions
    RUN/latest                                          name of the newest complete checkpoint, one line

The same step of equal runs has the same bytes: neither time nor host is in them. `wmkit.train.saving` writes them.
"""

import contextlib
import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wmkit.errors import ConfigError, InputError
from wmkit.json_object import read_json
from wmkit.model.config import ModelConfig
from wmkit.model.dit import CameraDiT
from wmkit.train.config import TrainConfig
from wmkit.train.draws import generator_for
from wmkit.train.ema import RunningMean
from wmkit.train.parallel import sharded_as

__all__ = [
    "CONFIG",
    "CRITIC",
    "CRITIC_OPTIMIZER",
    "EMA",
    "LATEST",
    "MODEL_NAME",
    "OPTIMIZER",
    "STATE",
    "DataFacts",
    "MotionFacts",
    "RunState",
    "Trained",
    "build_model",
    "earlier_checkpoints",
    "find_checkpoint",
    "load_model",
    "moments_of",
    "read_config",
    "read_state",
    "restore",
    "start_weights",
    "step_of",
    "weights_file",
]

MODEL_NAME, OPTIMIZER, CONFIG, STATE = "model.safetensors", "optimizer.safetensors", "config.json", "state.json"
EMA = "ema.safetensors"
CRITIC, CRITIC_OPTIMIZER = "critic.safetensors", "critic_optimizer.safetensors"
LATEST = "latest"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionFacts:
    """How cameras of the training data move from one frame to the next: percentiles 5, 50, 95 and 99.

    step      translation in the model's unit, metres or median depths, whichever a sample has.
    turn_deg  rotation.
    samples   they were taken from.
    """

    step: tuple[float, float, float, float]
    turn_deg: tuple[float, float, float, float]
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What a run is trained on.

    digest       identity of the shards: another one is another run.
    metric       samples whose unit is metres.
    up_to_scale  samples whose unit is their own median depth.
    motion       None where it was not measured.
    """

    digest: str
    metric: int
    up_to_scale: int
    motion: MotionFacts | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Trained:
    """What training changes: the model, its AdamW, and the running mean of its weights where there is one.

    critic  of a student that learns by distribution matching: the model of what it makes; see `wmkit.train.dmd`.
    """

    model: CameraDiT
    optimizer: torch.optim.Optimizer
    mean: RunningMean | None = None
    critic: "Trained | None" = None

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Meanwhile the model has the running mean of its weights, where there is one."""
        return contextlib.nullcontext() if self.mean is None else self.mean.in_place_of(self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run stands: steps done, on which data, and what wrote it."""

    step: int
    data: DataFacts
    torch: str = field(default_factory=lambda: torch.__version__)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def build_model(config: ModelConfig, seed: int) -> CameraDiT:
    """A fresh model whose parameters are a pure function of config and seed; torch's global state is left as found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_for(seed, 0, 0, "model").initial_seed())
        return CameraDiT(config)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that `path` means: itself, or the latest of a run; InputError when there is none."""
    if (path / MODEL_NAME).is_file():
        return path
    pointer = path / LATEST
    if not pointer.is_file():
        what = "a folder without a checkpoint" if path.is_dir() else "a file" if path.exists() else "no such folder"
        raise InputError(
            f"{path}: expected a run that `wmkit train` wrote or one of its checkpoints, found {what}; train one, or "
            "name another"
        )
    folder = path / "checkpoints" / pointer.read_text(encoding="utf-8").strip()
    absent = [name for name in (MODEL_NAME, OPTIMIZER, CONFIG, STATE) if not (folder / name).is_file()]
    if absent:
        raise InputError(
            f"{folder}: expected a complete checkpoint, found no {absent[0]}; train again, or name another"
        )
    return folder


def earlier_checkpoints(run: Path) -> list[Path]:
    """The run's other checkpoints, the newest first: what is left where the latest one is damaged."""
    pointer = run / LATEST
    latest = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
    folders = sorted((run / "checkpoints").glob("step-*"), key=step_of, reverse=True)
    return [folder for folder in folders if folder.name != latest]


def read_config(checkpoint: Path) -> TrainConfig:
    """The config of a checkpoint folder; InputError when it cannot be read, ConfigError when it is of another shape."""
    path = checkpoint / CONFIG
    return TrainConfig.from_json(read_json(path, "use another checkpoint"), str(path))


def read_state(checkpoint: Path) -> RunState:
    """How far a checkpoint folder is; InputError when its state.json is not one of ours."""
    path = checkpoint / STATE
    plain = read_json(path, "use another checkpoint")
    try:
        data = dict(plain["data"])
        motion = data.pop("motion", None)
        facts = (
            None
            if motion is None
            else MotionFacts(
                step=tuple(motion["step"]), turn_deg=tuple(motion["turn_deg"]), samples=int(motion["samples"])
            )
        )
        return RunState(step=int(plain["step"]), data=DataFacts(**data, motion=facts), torch=str(plain["torch"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected step, data and torch, got {type(error).__name__}: {error}") from error


def start_weights(checkpoint: Path) -> tuple[dict[str, Tensor], str]:
    """Weights of a run or checkpoint folder to begin another stage with, its running mean where it has one; and their
    sha256. Raises as `load_model` does.
    """
    folder = find_checkpoint(checkpoint)
    path = weights_file(folder)
    weights = _load_tensors(folder / MODEL_NAME)
    if path.name == EMA:
        weights |= _load_tensors(path)
    return weights, hashlib.sha256(path.read_bytes()).hexdigest()


def weights_file(folder: Path) -> Path:
    """Of a checkpoint folder, the file that samples are made by: its running mean where it has one."""
    return folder / (EMA if read_config(folder).optimizer.ema_decay else MODEL_NAME)


def load_model(checkpoint: Path) -> tuple[CameraDiT, TrainConfig]:
    """The model of a run or checkpoint folder, in evaluation mode, and the config it was trained with.

    Its weights are their running mean where the run keeps one.

    Raises InputError when there is none or a file is damaged, ConfigError when the weights are another model's.
    """
    folder = find_checkpoint(checkpoint)
    config = read_config(folder)
    model = build_model(config.model, config.seed)
    _load_weights(model, folder / MODEL_NAME)
    if config.optimizer.ema_decay:
        model.load_state_dict(_load_mean(model, folder), strict=False)  # buffers stay
    return model.eval(), config


def restore(checkpoint: Path, trained: Trained) -> None:
    """Put the weights, moments and running mean of a checkpoint folder into a model and the AdamW of its parameters.

    Raises InputError when a file is damaged, ConfigError when names or shapes are another model's.
    """
    model, optimizer = trained.model, trained.optimizer
    _load_weights(model, checkpoint / MODEL_NAME)
    if trained.mean is not None:
        trained.mean.load(_load_mean(model, checkpoint))
    _load_moments(model, optimizer, checkpoint / OPTIMIZER)
    if trained.critic is not None:
        _load_weights(trained.critic.model, checkpoint / CRITIC)
        _load_moments(trained.critic.model, trained.critic.optimizer, checkpoint / CRITIC_OPTIMIZER)


def _load_moments(model: CameraDiT, optimizer: torch.optim.Optimizer, path: Path) -> None:
    moments = _load_tensors(path)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    wanted = {f"{moment}.{name}" for moment in MOMENTS for name in names}
    _check_names(path, wanted, set(moments))
    plain = optimizer.state_dict()
    own = dict(model.named_parameters())
    plain["state"] = {
        index: {moment: _held(own[name], moments[f"{moment}.{name}"]) for moment in MOMENTS}
        for index, name in enumerate(names)
    }
    optimizer.load_state_dict(plain)


def _held(parameter: Tensor, moment: Tensor) -> Tensor:
    """This process's part of a moment; the number of steps is everybody's."""
    return sharded_as(parameter, moment) if moment.ndim else moment


def moments_of(model: CameraDiT, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state by the names of the parameters: `exp_avg.NAME`, `exp_avg_sq.NAME`, `step.NAME`."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # A parameter that no loss reached yet has no state; AdamW would begin with these.
            zeros = torch.zeros_like(parameter)
            fresh = {"exp_avg": zeros, "exp_avg_sq": zeros.clone(), "step": torch.zeros(())}
            state = optimizer.state.get(parameter) or fresh
            found |= {f"{moment}.{name}": state[moment].detach().contiguous() for moment in MOMENTS}
    return found


def _load_weights(model: CameraDiT, path: Path) -> None:
    weights, own = _load_tensors(path), model.state_dict()
    _check_names(path, set(own), set(weights))
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            raise ConfigError(
                f"{path}: expected {name} of shape {tuple(tensor.shape)}, got {tuple(weights[name].shape)}; "
                f"weights and {CONFIG} are of two models: use another checkpoint"
            )
    model.load_state_dict({name: sharded_as(tensor, weights[name]) for name, tensor in own.items()})


def _load_mean(model: CameraDiT, folder: Path) -> dict[str, Tensor]:
    tensors = _load_tensors(folder / EMA)
    _check_names(folder / EMA, {name for name, _ in model.named_parameters()}, set(tensors))
    return tensors


def _check_names(path: Path, wanted: set[str], found: set[str]) -> None:
    odd = sorted(wanted ^ found)
    if odd:
        what = "lacks" if odd[0] in wanted else "has the unknown"
        raise ConfigError(
            f"{path}: {what} tensor {odd[0]} ({len(odd)} differ); it is of another model: use another checkpoint"
        )


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected whole safetensors, got: {error}; use another checkpoint") from error


def step_of(folder: Path) -> int:
    """Of a checkpoint's folder, by its name."""
    return int(folder.name.removeprefix("step-"))
