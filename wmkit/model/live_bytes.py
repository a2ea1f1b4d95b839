"""How many bytes of tensors are alive at most while something runs: counted on the meta device, nothing allocated."""

import weakref
from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["LiveBytes"]


class LiveBytes(TorchDispatchMode):
    """Meanwhile tensors that operators make on the meta device are counted until they are gone.

    peak  the most bytes at once, views once; what was there before the body is not counted, nor what an operator
          needs inside itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._holders: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator, and counts what it made."""
        given = {
            tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)
        }
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self._hold(tensor, tensor.untyped_storage()._cdata in given)
        return result

    def _hold(self, tensor: Tensor, is_view: bool) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if is_view and not self._holders[key]:
            return  # of something that was there before
        if not self._holders[key]:
            self._now += size
            self.peak = max(self.peak, self._now)
        self._holders[key] += 1
        weakref.finalize(tensor, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            self._now -= size
