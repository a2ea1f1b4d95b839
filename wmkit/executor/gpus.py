"""GPUs of this machine by name, so that every worker can be given one of its own."""

import os

from wmkit.errors import InputError

__all__ = ["GPU_ENV", "no_gpu", "visible_gpus"]

GPU_ENV = "CUDA_VISIBLE_DEVICES"  # a worker reads it before CUDA starts, and sees its own GPU as the only one


def visible_gpus() -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES has to say for each GPU that this process may use; none without a driver."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get(GPU_ENV)
    names = [str(index) for index in range(count)] if named is None else named.split(",")
    return tuple(name.strip() for name in names[:count])


def no_gpu(where: str) -> InputError:
    """The one line for workers that are to have GPUs where there are none."""
    return InputError(f"--device cuda: expected a GPU for every worker, found none {where}; use --device cpu")
