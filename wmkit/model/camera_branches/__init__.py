"""Camera branches: how cameras reach the model. One file each; the dictionaries name what JSON can say."""

from wmkit.model.camera_branches.plucker import PluckerConfig
from wmkit.model.camera_branches.protocol import AttentionBranch, MapBranch, TokenMaps
from wmkit.model.camera_branches.ucpe import UcpeConfig

__all__ = ["ATTENTION_BRANCHES", "MAP_BRANCHES", "AttentionBranch", "MapBranch", "PluckerConfig", "TokenMaps",
           "UcpeConfig"]  # fmt: skip

ATTENTION_BRANCHES: dict[str, type] = {"ucpe": UcpeConfig}
MAP_BRANCHES: dict[str, type] = {"plucker": PluckerConfig}
