"""Random clips by motion family, with exact truth: what accuracy and confidence are measured on, by the thousand.

motion.py   how the camera moves in each family
place.py    random surroundings built round a path
imaging.py  shutter, exposure, noise, compression
case.py     one clip: drawn, rendered, with its truth
source.py   its frames as a FrameSource in memory
survey.py   how solvable it is, from the truth alone
"""

from wmkit.worlds.families.case import SIZES, Film, WorldCase, film
from wmkit.worlds.families.motion import FAMILIES, MOVING_FAMILIES, STILL_FAMILIES
from wmkit.worlds.families.source import MemorySource
from wmkit.worlds.families.survey import Survey, survey

__all__ = [
    "FAMILIES",
    "MOVING_FAMILIES",
    "SIZES",
    "STILL_FAMILIES",
    "Film",
    "MemorySource",
    "Survey",
    "WorldCase",
    "film",
    "survey",
]
