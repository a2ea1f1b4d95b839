"""Camera branches: how cameras reach the model. One file each; the dictionaries name what JSON can say.

`CAMERA_CHOICES` are the rows of the paper's camera ablation (SANA-WM Table 4), each an attention and a map branch.
"""

from wmkit.model.camera_branches.plucker import PluckerConfig
from wmkit.model.camera_branches.prope import PropeConfig
from wmkit.model.camera_branches.protocol import AttentionBranch, MapBranch, TokenMaps
from wmkit.model.camera_branches.ucpe import UcpeConfig

__all__ = ["ATTENTION_BRANCHES", "CAMERA_CHOICES", "MAP_BRANCHES", "AttentionBranch", "MapBranch", "PluckerConfig",
           "PropeConfig", "TokenMaps", "UcpeConfig"]  # fmt: skip

ATTENTION_BRANCHES: dict[str, type] = {"ucpe": UcpeConfig, "prope": PropeConfig}
MAP_BRANCHES: dict[str, type] = {"plucker": PluckerConfig}
CAMERA_CHOICES: dict[str, tuple[AttentionBranch | None, MapBranch | None]] = {
    "none": (None, None),
    "plucker": (None, PluckerConfig()),
    "prope": (PropeConfig(), None),
    "ucpe": (UcpeConfig(), None),
    "both": (UcpeConfig(), PluckerConfig()),
}
