"""`StreamingShards`: batches of one or several shards folders, the batch of a step a pure function of (seed, step).

Nothing is remembered between steps but their number, so a run that goes on, on any number of ranks, workers and
prefetched batches, sees what one that never stopped would have seen. Every rank has its share of every step: none can
run out before the others. A plain streaming reader loses samples on a cut tar without a word; this one reads by offset,
checks, and says which is gone.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from wmkit.dataset.batch import Batch, DepthFrames, TextStates
from wmkit.dataset.crops import Crop, Crops
from wmkit.dataset.depth import DepthRows
from wmkit.dataset.latents import TextRows
from wmkit.dataset.loader_config import LoaderConfig
from wmkit.dataset.order import BlockShuffle, Mixture, Segment
from wmkit.dataset.schema import ShardsFolder
from wmkit.errors import ConfigError, CorruptShardError, InputError

__all__ = ["StreamingShards"]

READ_AHEAD = 2  # steps of a worker: the one it makes and the next


class _Drawn(NamedTuple):
    """One crop, and the key of the damaged sample whose place it takes, if it does."""

    crop: Crop
    damaged: tuple[str, ...]


class StreamingShards(IterableDataset[Batch]):
    """Random crops, every sample of a folder once in an epoch of that folder, in a shuffled order.

    Give it to a DataLoader with `batch_size=None`, since it yields batches: `DataLoader(shards, batch_size=None,
    num_workers=4)`. Iterating goes on from where it is, to `config.steps`; `load_state_dict` says where that is.

    samples  of each folder, those that give crops: its epoch.
    skipped  samples that never give a crop, by reason; see `Crops`.
    damaged  key -> what is wrong, of the samples this process has skipped under `config.skip_budget`. A batch names
             them too, which also tells of those that worker processes skipped.
    """

    def __init__(
        self,
        shards: Path | str | ShardsFolder | Sequence[Path | str | ShardsFolder],
        config: LoaderConfig,
        *,
        weights: Sequence[int] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Opens the heads and indexes of the folders, each a path or a URL that fsspec knows, or opened already.

        weights           draws of each folder in every sum(weights); None is one of each.
        rank, world_size  of this process; each has batch_size / world_size crops of every step, give or take one.

        InputError when a folder gives no crop, weights are not one for each folder, or there are more ranks than crops
        in a step; else what `open_shards` raises.
        """
        super().__init__()
        folders = [shards] if isinstance(shards, Path | str | ShardsFolder) else list(shards)
        weights = [1] * len(folders) if weights is None else list(weights)
        if not folders or len(weights) != len(folders):
            raise InputError(f"weights: expected one for each of {len(folders)} folders, got {weights}")
        if not 0 <= rank < world_size <= config.batch_size:
            raise InputError(
                f"rank: expected 0 <= rank < world size <= batch size, got {rank}, {world_size}, {config.batch_size}"
            )
        self._config = config
        self._share = range(rank * config.batch_size // world_size, (rank + 1) * config.batch_size // world_size)
        self._crops = tuple(Crops(folder, config) for folder in folders)
        self._remote = any(crops.remote for crops in self._crops)
        self.samples = tuple(len(crops.samples) for crops in self._crops)
        self.skipped: Mapping[str, int] = {
            reason: sum(crops.skipped[reason] for crops in self._crops) for reason in self._crops[0].skipped
        }
        self.damaged: dict[str, str] = {}
        self._orders = tuple(
            BlockShuffle(count, config.seed, block=config.shuffle_block, window=config.shuffle_window)
            for count in self.samples
        )
        self._mixture = Mixture(config.seed, [Segment(first=0, weights=tuple(weights))])
        self._step, self._end = 0, self._last()

    def __iter__(self) -> Iterator[Batch]:
        """This rank's share of every step from the current one on; worker w of k has every k-th of them."""
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        end = self._end
        while end is None or self._step + worker < end:
            for ahead in range(READ_AHEAD):
                self._will_need(self._step + worker + ahead * workers)
            batch = self._batch(self._step + worker, self._share)
            self._step += workers  # of all workers alike: a worker's state fits the same worker again
            yield batch

    def __len__(self) -> int:
        """Steps that are left; TypeError when there is no end."""
        if self._end is None:
            raise TypeError("expected `steps` or `epochs` in the loader's config, got a stream without an end")
        return max(0, self._end - self._step)

    def replay(self, step: int) -> Batch:
        """The whole batch of any step, of all ranks, whether it was drawn before or not.

        CorruptShardError naming shard and sample when bytes differ from what the index promises.
        """
        return self._batch(step, range(self._config.batch_size))

    def share(self, step: int) -> Batch:
        """This rank's part of `replay(step)`."""
        return self._batch(step, self._share)

    def set_weights(self, weights: Sequence[int], step: int) -> None:
        """Draw with these weights from `step` on; batches before it stay what they were. Part of the state.

        Worker processes learn of it when they are next started. InputError unless later changes come at later steps.
        """
        segment = Segment(first=step * self._config.batch_size, weights=tuple(weights))
        self._mixture = Mixture(self._config.seed, [*self._mixture.segments, segment])
        self._end = self._last()

    def state_dict(self, step: int | None = None) -> dict[str, Any]:
        """All it takes to go on before `step`: whole numbers, the same on every rank.

        step  None is where this process is. Where a DataLoader's workers iterate, this process does not move: the
              number of the last batch used, plus one, is the step.
        """
        return {"step": self._step if step is None else step, **self._identity(), "weights": self._weights()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a run on any number of ranks and workers was; ConfigError when it drew from something else."""
        mine = self._identity()
        differing = [name for name in mine if state.get(name) != mine[name]]
        if differing or "step" not in state or "weights" not in state:
            told = ", ".join(f"{name} {mine[name]}, got {state.get(name)}" for name in differing) or "a loader's state"
            raise ConfigError(f"loader state: expected {told}; resume with the same shards and loader config")
        segments = [Segment(first=first, weights=tuple(weights)) for first, weights in state["weights"]]
        self._mixture = Mixture(self._config.seed, segments)
        self._step, self._end = int(state["step"]), self._last()

    @property
    def batch_bytes(self) -> int:
        """Of this rank's share of a step, its pixels, depth and latents."""
        return len(self._share) * self._crops[0].nbytes

    def _last(self) -> int | None:
        """Steps of the run in all, None without an end."""
        if self._config.epochs is None:
            return self._config.steps
        drawn = self._mixture.first_with([self._config.epochs * count for count in self.samples])
        if drawn is None:
            raise InputError("loader epochs: expected draws of every folder, got a weight of 0; pass steps instead")
        return -(-drawn // self._config.batch_size)

    def _identity(self) -> dict[str, Any]:
        """What the order of samples depends on."""
        config = self._config
        return {
            "seed": config.seed,
            "batch_size": config.batch_size,
            "samples": list(self.samples),
            "shuffle": [config.shuffle_block, config.shuffle_window],
        }

    def _weights(self) -> list[list[Any]]:
        return [[segment.first, list(segment.weights)] for segment in self._mixture.segments]

    def _batch(self, step: int, places: range) -> Batch:
        first = step * self._config.batch_size
        drawn = [self._draw(first + place) for place in places]
        crops = [item.crop for item in drawn]
        latents = [crop.latent for crop in crops if crop.latent is not None]
        depths = [crop.depth for crop in crops if crop.depth is not None]
        return Batch(
            video=torch.from_numpy(np.stack([crop.video for crop in crops])),
            world_from_cam=torch.from_numpy(np.stack([crop.world_from_cam for crop in crops]).astype(np.float32)),
            intrinsics=torch.from_numpy(np.stack([crop.intrinsics for crop in crops]).astype(np.float32)),
            keys=tuple(crop.sample.key for crop in crops),
            metric=tuple(crop.metric for crop in crops),
            captions=tuple(crop.caption for crop in crops),
            step=step,
            damaged=tuple(key for item in drawn for key in item.damaged),
            latent=torch.from_numpy(np.stack(latents)) if latents else None,
            text=_stacked([crop.text for crop in crops if crop.text is not None]),
            depth=_stacked_depth(depths) if depths else None,
        )

    def _will_need(self, step: int) -> None:
        """Let remote samples of this rank's share of a step come while an earlier one is decoded."""
        if self._end is not None and step >= self._end:
            return
        for place in self._share if self._remote else ():
            source, nth = self._mixture.at(step * self._config.batch_size + place)
            self._crops[source].will_need(self._orders[source].sample(nth))

    def _draw(self, draw: int) -> _Drawn:
        """The crop of one draw of the run; a damaged sample's neighbour on disk stands in for it, budget permitting."""
        source, place = self._mixture.at(draw)
        crops, count = self._crops[source], self.samples[source]
        number, skipped = self._orders[source].sample(place), []
        while True:
            sample = crops.samples[number]
            try:
                return _Drawn(crops.crop(number, draw), tuple(skipped))
            except CorruptShardError as error:
                known = sample.key in self.damaged
                full = len(self.damaged) >= self._config.skip_budget
                if (full and not known) or len(skipped) + 1 == count:
                    raise
                self.damaged[sample.key] = str(error)
            skipped.append(sample.key)
            number = (number + 1) % count


def _stacked(rows: Sequence[TextRows]) -> TextStates | None:
    if not rows:
        return None
    states, mask, empty_states, empty_mask = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
    return TextStates(states=states, mask=mask, empty_states=empty_states, empty_mask=empty_mask)


def _stacked_depth(rows: Sequence[DepthRows]) -> DepthFrames:
    z, valid = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
    return DepthFrames(z=z, valid=valid)
