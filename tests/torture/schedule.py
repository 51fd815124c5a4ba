"""What happens when: the same seed gives the same faults in the same order with the same pauses."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "kill", "failpoint", "gate", "freeze", "terminate", "cut", "silence", "slow", "refuse", "flush"
]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with `target`: a part, a failpoint or a stretch of network."""

    kind: Kind
    target: str
    detail: str = ""

    @property
    def is_kill(self) -> bool:
        """Whether a process dies of it by kill -9."""
        return self.kind in {"kill", "gate"} or (self.kind == "failpoint" and self.detail == "kill")

    def __str__(self) -> str:
        return f"{self.kind} {self.target} {self.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Cycle:
    """A fault, `after_s` of undisturbed work; one that lasts does so for `lasts_s`."""

    number: int
    after_s: float
    fault: Fault
    lasts_s: float


KILLS = tuple(Fault("kill", part) for part in ("api", "worker", "backend", "postgres", "redis", "s3", "everything"))
FAILPOINTS = (
    *(
        Fault("failpoint", name, "kill")
        for name in (
            "api.in_txn_before_commit",
            "api.after_commit_before_ack",
            "api.after_commit_before_enqueue",
            "worker.after_claim",
            "worker.after_copy_before_db",
            "worker.after_commit_before_job_done",
            "compaction.in_txn_before_commit",
            "compaction.after_commit",
            "sdk.before_send",
            "sdk.after_send_before_ack",
            "sdk.after_ack_before_trim",
        )
    ),
    Fault("failpoint", "api.after_commit_before_ack", "fail"),
    Fault("failpoint", "api.after_commit_before_enqueue", "drop"),
    Fault("gate", "block", "api"),  # kill the API while its group of batches commits
    Fault("gate", "block", "backend"),  # kill who commits it
)
NETWORK = (
    *(Fault("cut", stretch) for stretch in ("clients", "database", "store")),
    *(
        Fault("silence", stretch, directions)
        for stretch in ("clients", "database")
        for directions in ("up", "down", "up down")
    ),
    Fault("slow", "clients"),
    Fault("slow", "database"),
    Fault("refuse", "store"),
)
OTHERS = (
    *(Fault("freeze", part) for part in ("api", "worker", "backend", "redis", "s3")),
    *(Fault("terminate", part) for part in ("api", "worker")),
    Fault("flush", "redis"),
)
ALL = (*KILLS, *FAILPOINTS, *NETWORK, *OTHERS)


def cycles(seed: int, deck: Sequence[Fault] = ALL) -> Iterator[Cycle]:
    """Faults without end: the deck in a random order, again and again, so that each has its turn."""
    chance = random.Random(seed)
    number = 0
    while True:
        for fault in chance.sample(deck, len(deck)):
            yield Cycle(number, 0.1 + chance.random() * 0.9, fault, 0.5 + chance.random() * 2.5)
            number += 1
