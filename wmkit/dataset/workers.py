"""Batches made in worker processes, as many ahead as a budget of bytes allows: the batches of the stream itself."""

import warnings
from collections.abc import Iterator

from torch.utils.data import DataLoader, IterableDataset

from wmkit.dataset.batch import Batch
from wmkit.dataset.loader import StreamingShards
from wmkit.errors import InputError, WmkitError

__all__ = ["AHEAD_BYTES", "BatchWorkers"]

AHEAD_BYTES = 4 << 30


class BatchWorkers:
    """The batch of one step after the other, made by `workers` processes; a call for another step starts them anew.

    Of batches that are made or being made and not yet asked for there are never more than `ahead_bytes` hold; with
    fewer bytes than workers have batches, fewer of them start. A batch in the making takes its source's frames besides.
    """

    def __init__(self, stream: StreamingShards, workers: int, ahead_bytes: int = AHEAD_BYTES) -> None:
        """InputError without a worker, or when not even one batch fits."""
        room = ahead_bytes // max(1, stream.batch_bytes)
        if workers < 1:
            raise InputError(f"--workers: expected at least 1, or none for a thread, got {workers}")
        if room < 1:
            raise InputError(
                f"--workers: expected room for a batch of {stream.batch_bytes / 1e6:.0f} MB, got "
                f"{ahead_bytes / 1e6:.0f} MB; lower the batch's size"
            )
        self.workers = min(workers, room)
        self.ahead = max(1, room // self.workers)  # a worker's batches
        self._stream, self._next = stream, -1
        self._batches: Iterator[Batch | WmkitError] = iter(())

    def __call__(self, step: int) -> Batch:
        """The stream's share of `step`; raises what reading it raises, in one line."""
        if step != self._next:
            self._start(step)
        self._next = step + 1
        found = next(self._batches, None)
        if isinstance(found, WmkitError):
            raise found
        if found is None:
            raise InputError(f"expected a batch of step {step}, got a stream that ended before")
        return found

    def _start(self, step: int) -> None:
        self._stream.load_state_dict(self._stream.state_dict(step))
        with warnings.catch_warnings():
            # More workers than cores is for the caller to decide; torch tells it on every start.
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            # spawn: a fork would copy locks that threads of this process may hold.
            self._batches = iter(
                DataLoader(
                    _Telling(self._stream),
                    batch_size=None,
                    num_workers=self.workers,
                    prefetch_factor=self.ahead,
                    multiprocessing_context="spawn",
                )
            )


class _Telling(IterableDataset[Batch | WmkitError]):
    """A stream whose error is its last item: a DataLoader would wrap it into a worker's traceback."""

    def __init__(self, stream: StreamingShards) -> None:
        super().__init__()
        self._stream = stream

    def __iter__(self) -> Iterator[Batch | WmkitError]:
        try:
            yield from self._stream
        except WmkitError as error:
            yield error
