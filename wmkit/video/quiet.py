"""OpenCV without its log lines: what it complains about becomes a fact of the clip instead."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

__all__ = ["quiet_opencv"]


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silences OpenCV's own log in the body and restores its level; libraries below it may still write to stderr."""
    logging = cv2.utils.logging  # pyright: ignore[reportAttributeAccessIssue]  # absent from the stubs
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
