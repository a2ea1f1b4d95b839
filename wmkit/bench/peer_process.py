"""The peer alone in a process: `python -m wmkit.bench.peer_process FOLDER`, with the pictures in FOLDER/images.

Leaves database.db, models/ as COLMAP writes them, and costs.json: CPU seconds by stage.
"""

import json
import sys
from pathlib import Path

from wmkit.annotate.pipeline import StageClock
from wmkit.annotate.pose.colmap_import import pycolmap

__all__ = ["main"]


def main(folder: Path) -> None:
    """Features, matches and models, all with pycolmap's defaults but one camera and the CPU."""
    images, database, models = (folder / name for name in ("images", "database.db", "models"))
    models.mkdir()
    clock = StageClock()
    pycolmap.set_random_seed(0)
    cpu = pycolmap.Device.cpu
    with clock.stage("features"):
        pycolmap.extract_features(database, images, camera_mode=pycolmap.CameraMode.SINGLE, device=cpu)
    with clock.stage("matching"):
        pycolmap.match_sequential(database, device=cpu)
    with clock.stage("mapping"):
        pycolmap.incremental_mapping(database, images, models)
    (folder / "costs.json").write_text(json.dumps(clock.seconds), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
