"""A sweep whose curves the pictures show: `python sweep.py FOLDER`. It prints the ids of its runs."""

import math
import sys
from pathlib import Path

import runstone

LEARNING_RATES = (0.003, 0.01, 0.03, 0.1)
SEEDS = range(3)
STEPS = 200


def train(lr: float, seed: int, folder: Path) -> str:
    """The id of a run whose loss falls as fast as the rate allows."""
    params = {"lr": lr, "seed": seed, "optimizer": {"name": "adamw", "weight_decay": 0.01}, "depth": 18}
    name = f"lr={lr} seed={seed}"
    with runstone.start_run(experiment="resnet", name=name, params=params, group=f"lr={lr}") as run:
        for step in range(STEPS):
            noise = 0.04 * math.sin(step * (seed + 1.7)) / (1 + step / 40)
            loss = 2.2 * math.exp(-step * lr * 1.5) + 0.25 + 0.02 * seed + noise
            metrics = {"train/loss": loss, "val/loss": loss * 1.08 + noise, "val/accuracy": 1 - loss / 3}
            run.log(metrics, step=step)
        run.set_tags({"team": "vision", "stage": "candidate" if lr == LEARNING_RATES[-1] else "draft"})
        run.log_input("images", digest=f"sha256:{'5e' * 32}", context="training")
        model = folder / name
        model.mkdir(parents=True)
        (model / "weights.pt").write_bytes(name.encode() * 1000)
        run.log_model(model, "model")
    return run.id


if __name__ == "__main__":
    for lr in LEARNING_RATES:
        for seed in SEEDS:
            print(train(lr, seed, Path(sys.argv[1])))
