"""Logs steps through MLflow's own client; run by a Python that has it, as `python -I FILE URL SECONDS RUN ...`."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

KEYS = 20


def log_steps(client: Any, run_id: str, end: float) -> list[float]:
    """Seconds that each acknowledged step took, one after the other until the time `end`."""
    from mlflow.entities import Metric

    taken: list[float] = []
    while (start := time.perf_counter()) < end:
        now_ms, step = time.time_ns() // 1_000_000, len(taken)
        metrics = [Metric(f"metric_{number:02}", 1 / (step + 1), now_ms, step) for number in range(KEYS)]
        client.log_batch(run_id, metrics=metrics)
        taken.append(time.perf_counter() - start)
    return taken


def main(url: str, seconds: float, run_ids: list[str]) -> None:
    """A thread for each run; prints how many steps each logged and how long each step took."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=url)
    start = time.perf_counter()
    with ThreadPoolExecutor(len(run_ids)) as threads:
        taken = list(threads.map(lambda run_id: log_steps(client, run_id, start + seconds), run_ids))
    elapsed = time.perf_counter() - start
    result = {"steps": [len(each) for each in taken], "seconds": [one for each in taken for one in each]}
    print(json.dumps({**result, "elapsed": elapsed}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
