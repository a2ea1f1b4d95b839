"""pycolmap, torch and cv2 in one process: loaded in the fatal order through our door, the work still runs."""

import subprocess
import sys

PROGRAM = """
from wmkit.annotate.pose.colmap_import import pycolmap
import torch, cv2
import numpy as np
import tempfile, pathlib
picture = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
folder = pathlib.Path(tempfile.mkdtemp())
for index in range(3):
    cv2.imwrite(str(folder / f"{index}.png"), np.roll(picture, index, 1))
options = pycolmap.FeatureExtractionOptions()
options.use_gpu = False
options.num_threads = 1
pycolmap.extract_features(folder / "database.db", folder, extraction_options=options)
print(torch.ones(3).sum().item())
"""


def test_the_fatal_import_order_is_survived() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "3.0"
