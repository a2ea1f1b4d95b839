"""Memory that a worker frees stays its own, within bounds: the next frame needs as much.

glibc hands large blocks, and the end of its heap, back to the kernel as soon as they are free, and the kernel clears
every page of them again for the next frame's. That was a tenth of what a pose cost (LOG.md).
"""

import ctypes

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
KEPT_BYTES = 128 << 20  # at the end of the heap: two windows of 64 frames of 640x480 px
LARGE_BYTES = 32 << 20  # a block of this size or more still is the kernel's: glibc's own upper bound


def keep_freed_memory() -> None:
    """From now on this process gives less of what it frees back; nothing changes where the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
