"""A run that was never trained, and a folder shaped as SANA-WM-Bench, for what samples and judges samples."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.integration.test_train_sample import SMALL
from wmkit.camera_actions import action_path
from wmkit.train.checkpoint import DataFacts, RunState, Trained, build_model
from wmkit.train.config import TrainConfig
from wmkit.train.recipes import recipe
from wmkit.train.saving import Saving

__all__ = ["ACTIONS", "random_run", "write_bench"]

ACTIONS = {"game_001": "w-12", "city_001": "dw-12", "indoor_001": "s-12"}  # 13 poses each
TEXT = 'model.text={"channels": 16, "tokens": 8}'


def random_run(folder: Path, *settings: str, seed: int = 0) -> Path:
    """A run folder of a tiny model with text; its last layer is not zero, so that every input tells."""
    config: TrainConfig = recipe("tiny-cpu").with_settings([*SMALL, TEXT, *settings])
    model = build_model(config.model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    trained = Trained(model=model, optimizer=torch.optim.AdamW(model.parameters()))
    state = RunState(step=seed + 1, data=DataFacts(digest="none", metric=1, up_to_scale=0))
    with Saving(folder, config) as saving:
        saving.begin(trained, state)
    return folder


def write_bench(folder: Path, prompts: dict[str, str]) -> Path:
    """A benchmark of the scenes in `prompts`, each with a picture of its own and the path of ACTIONS."""
    rows = []
    for number, (name, prompt) in enumerate(prompts.items()):
        image, cameras = f"images/{name}.png", f"cameras/{name}.npz"
        for path in (image, cameras):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        rgb = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / image), cv2.resize(rgb, (64, 48)))
        poses = action_path(ACTIONS[name]).world_from_cam
        K = np.tile(np.array([[60.0, 0, 32], [0, 60.0, 24], [0, 0, 1]]), (len(poses), 1, 1))
        np.savez(folder / cameras, c2w=poses, intrinsics=K, fps=16, num_frames=len(poses))
        rows.append({"id": name, "image_path": image, "camera_path": cameras, "prompt": prompt})
    (folder / "run_manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
