"""The one place that imports pycolmap.

Order matters: a process that imported pycolmap, then torch, then cv2 aborted with `free(): invalid pointer` on its
next image write; with zlib loaded before pycolmap the same work runs (tests/integration/test_import_order.py).
"""

import zlib  # noqa: F401  must come before pycolmap

import pycolmap

__all__ = ["pycolmap"]

pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value  # every outcome reaches us as a value; its log is noise
