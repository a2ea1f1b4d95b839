"""The photographs that textures are cut from: files inside scikit-image's wheel, nothing downloaded."""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wmkit.errors import InputError

__all__ = ["PHOTOS", "load_photo"]

PHOTOS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
"""What the worlds use; all of it lies in the wheel (its other samples are fetched on demand and are not used)."""


def load_photo(name: str) -> NDArray[np.uint8]:
    """One of `PHOTOS` as (h, w, 3) uint8 RGB; grey ones are repeated over the channels.

    The file is read straight from the installed package: importing scikit-image would cost more than the picture.
    Raises InputError when scikit-image or the file is not there.
    """
    import cv2

    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "synthetic worlds: expected scikit-image for its photos, not installed; pip install scikit-image"
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / name
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"synthetic worlds: expected the photo {path}, missing or unreadable; reinstall scikit-image")
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)
