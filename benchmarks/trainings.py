"""Trainings that never happened: runs as a team of people would have them, each always the same for its number.

Learning rates are log-uniform and the results depend on them; runs come in fives that differ by their seed, some in
sweeps with a parent, most share their environment.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from db.attempts import Environment, Source
from db.inputs import Given as Dataset
from db.runs import FinalStatus

FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
APART_MS: Final = 180_000  # from one start to the next
PARAMS: Final = 50
STEPS: Final = 10  # points of each metric
STEP: Final = 100
SEEDS: Final = 5
SWEEP: Final = 100  # the first of so many starts the next nine, the last of those ten more
USERS: Final = ("ada", "boris", "chen", "dana", "emil", "farah", "goran", "hana")
TEAMS: Final = "abcdefghij"
EXPERIMENTS: Final = (
    "churn", "captions", "speech", "ranking", "fraud", "layout", "forecast", "search", "safety", "poses", "maps",
    "misc",
)  # fmt: skip
OPTIMIZERS: Final = ("adamw", "adamw", "adamw", "adam", "sgd", "lion")
MODELS: Final = ("resnet50", "vit-b16", "convnext-t", "mlp-mixer", "efficientnet-b3", "swin-t", "unet", "bert-base")
SCHEDULERS: Final = ("cosine", "linear", "constant", "step")
STATUSES: Final = (*[FinalStatus.FINISHED] * 17, *[FinalStatus.FAILED] * 2, FinalStatus.KILLED)
WORDS: Final = """
    a after again augmentation bad batch better branch broke check clean compare crop curve data decay deeper
    early even fixed flat fold good gradient half heads higher in label larger learning leak less long longer loss low
    lower mixup more new noisy of on one rate rerun restart same schedule seed short shuffled slower smaller smooth
    spike stable start steps stopped than the tried tuned unstable validation warmup weights wider with without worse
"""
RESULTS: Final = ("loss", "val_loss", "acc", "val_acc", "f1", "val_f1", "auc", "grad_norm", "epoch", "examples_per_s")
KEYS: Final = (*RESULTS, *(f"class_{number:02}/recall" for number in range(10)))


@dataclass(frozen=True, slots=True)
class Training:
    """A run and all that it logged; `values` has a row for each of `KEYS`."""

    number: int
    id: UUID
    ancestor_ids: list[UUID]
    group: str
    experiment: str
    name: str
    user: str
    created_at: datetime
    finished_at: datetime
    status: FinalStatus
    params: dict[str, Any]
    tags: dict[str, str]
    source: Source
    environment: Environment
    datasets: Sequence[Dataset]
    values: NDArray[np.float64]

    @property
    def parent_id(self) -> UUID | None:
        """The last of those above it."""
        return self.ancestor_ids[-1] if self.ancestor_ids else None

    @property
    def steps(self) -> NDArray[np.int64]:
        """Of all its metrics."""
        return np.arange(STEPS, dtype="<i8") * STEP

    @property
    def times(self) -> NDArray[np.int64]:
        """Unix milliseconds of its steps, even apart."""
        first, last = ms(self.created_at), ms(self.finished_at)
        return first + (last - first) // STEPS * np.arange(1, STEPS + 1, dtype="<i8")


def training(project: str, number: int) -> Training:
    """The training of this number, counted from 0; in another project the same one has another id."""
    chance = random.Random(number)
    shared = random.Random(-1 - number // SEEDS)
    created_at = created(number)
    lr = _rounded(10 ** shared.uniform(-5, 0))
    model = shared.choice(MODELS)
    return Training(
        number=number,
        id=run_id(project, number),
        ancestor_ids=_ancestor_ids(project, number),
        group=f"seeds-{number // SEEDS}",
        experiment=EXPERIMENTS[int(len(EXPERIMENTS) * random.Random(-(10**9) - number // SWEEP).random() ** 2)],
        name=f"{model}-{number:06}",
        user=shared.choice(USERS),
        created_at=created_at,
        finished_at=created_at + timedelta(milliseconds=int(chance.lognormvariate(14, 1.2)) + STEPS),
        status=chance.choice(STATUSES),
        params=_params(shared, number, lr, model),
        tags=_tags(shared, chance),
        source=_source(shared, number),
        environment=_environments()[min(int(shared.expovariate(0.7)), 5)],
        datasets=_datasets(shared),
        values=_values(number, lr, chance.random() < 0.01),
    )


def created(number: int) -> datetime:
    """When the server heard of it; later for a greater number."""
    micros = (number * APART_MS * 1000) + random.Random(f"time {number}").randrange(APART_MS * 1000)
    return FIRST + timedelta(microseconds=micros)


def run_id(project: str, number: int) -> UUID:
    """A UUIDv7 of its time."""
    bits = random.Random(f"{project} {number}").getrandbits(74)
    high, low = divmod(bits, 1 << 62)
    return UUID(int=ms(created(number)) << 80 | 0x7 << 76 | high << 64 | 0x2 << 62 | low)


def _ancestor_ids(project: str, number: int) -> list[UUID]:
    place = number % SWEEP
    first = number - place
    if not 1 <= place <= 19:
        return []
    above = [first] if place <= 9 else [first, first + 9]
    return [run_id(project, each) for each in above]


def _params(shared: random.Random, number: int, lr: float, model: str) -> dict[str, Any]:
    optimizer = shared.choice(OPTIMIZERS)
    params: dict[str, Any] = {
        "lr": lr,
        "weight_decay": _rounded(10 ** shared.uniform(-6, -1)),
        "batch_size": 2 ** shared.randint(4, 10),
        "epochs": shared.choice((10, 30, 90, 300)),
        "optimizer": optimizer,
        "momentum" if optimizer == "sgd" else "beta1": shared.choice((0.9, 0.95)),
        "scheduler": shared.choice(SCHEDULERS),
        "dropout": round(shared.uniform(0, 0.5), 2),
        "seed": number % SEEDS,
        "model": model,
        "width": 64 * shared.randint(1, 16),
        "depth": shared.randint(2, 48),
        "amp": shared.random() < 0.7,
        "warmup_steps": None if shared.random() < 0.1 else 100 * shared.randint(0, 50),
        "layers": [2 ** shared.randint(5, 9) for _ in range(shared.randint(1, 4))],
        "patience": "none" if shared.random() < 0.5 else shared.randint(1, 20),  # of two types
    }
    for option in range(PARAMS - len(params)):
        match option % 4:
            case 0:
                params[f"option_{option:02}"] = option / 8  # as most settings are: the same in all runs
            case 1:
                params[f"option_{option:02}"] = f"choice-{int(shared.expovariate(1))}"
            case 2:
                params[f"option_{option:02}"] = int(shared.expovariate(0.3))
            case _:
                params[f"option_{option:02}"] = round(shared.random(), 4)
    return params


def _tags(shared: random.Random, chance: random.Random) -> dict[str, str]:
    return {
        "team": shared.choice(TEAMS),
        "stage": shared.choice(("dev", "dev", "dev", "staging", "prod")),
        "cluster": shared.choice(("east", "west", "lab")),
        "ticket": f"ML-{shared.randrange(5000)}",
        "note": " ".join(chance.choices(WORDS.split(), k=chance.randint(3, 20))),
    }


def _source(shared: random.Random, number: int) -> Source:
    commit = sha256(b"commit %d" % (number // 200)).hexdigest()[:40]
    is_dirty = shared.random() < 0.2
    return Source(
        commit_id=commit,
        branch=shared.choice(("main", "main", "main", f"try-{number // 1000}")),
        remote="https://git.example/team/models.git",
        is_dirty=is_dirty,
        entry_point="train.py",
        argv=["train.py", "--config", f"configs/{number // SWEEP:05}.yaml"],
        patch_digest=sha256(b"patch %d" % (number // SEEDS)).digest() if is_dirty else None,
    )


@cache
def _environments() -> list[Environment]:
    """The first is that of half of all runs; each next one has some packages upgraded."""
    packages = {f"package-{number:03}": f"{number % 7}.{number % 11}.0" for number in range(100)}
    found = []
    for generation in range(6):
        for number in range(generation * 5, generation * 5 + 5):
            packages[f"package-{number:03}"] = f"{number % 7}.{number % 11}.{generation}"
        found.append(
            Environment(
                python=f"3.{11 + generation // 3}.{generation}",
                platform="Linux-6.1-x86_64",
                hostname=f"node-{generation}",
                cpu_count=64,
                memory_bytes=512 << 30,
                gpus=["NVIDIA H100 80GB"] * 8,
                packages=dict(packages),
            )
        )
    return found


def _datasets(shared: random.Random) -> list[Dataset]:
    """A training set, often a validation set too; none for some."""
    count, version = shared.choice((0, 1, 2, 2)), shared.randrange(4)
    name = shared.choice(("clicks", "photos", "calls", "pages", "rides"))
    return [
        Dataset(f"{name}-{context}", sha256(f"{name} {context} {version}".encode()).hexdigest(), context)
        for context in ("training", "validation")[:count]
    ]


def _values(number: int, lr: float, diverges: bool) -> NDArray[np.float64]:
    """Curves towards what the learning rate allows, as float32 has them; one in a hundred diverges."""
    chance = np.random.default_rng(number)
    quality = math.exp(-((math.log10(lr) + 3) ** 2) / 3) * chance.uniform(0.6, 1)
    parts = np.clip(quality + chance.normal(0, 0.05, len(KEYS)), 0, 1)
    first, last = chance.uniform(0, 0.2, len(KEYS)), 0.3 + 0.69 * parts
    first[:2], last[:2] = 2.5, 2.3 * (1 - parts[:2]) + 0.03  # losses
    progress = 1 - np.exp(-np.linspace(0.2, 4, STEPS))
    values = first[:, np.newaxis] + (last - first)[:, np.newaxis] * progress
    values += chance.normal(0, 0.01, values.shape)
    values[RESULTS.index("epoch")] = np.arange(STEPS)
    if diverges:
        values[:2, STEPS // 2 :] = np.nan
    rounded: NDArray[np.float64] = values.astype("<f4").astype("<f8")
    return rounded


def _rounded(number: float) -> float:
    """With three digits, as people write settings."""
    return float(f"{number:.3g}")


def ms(time: datetime) -> int:
    """Unix milliseconds."""
    return int(time.timestamp() * 1000)
