"""Alice's script through MLflow's own client; run by a Python that has it, as `python -I FILE URL FILE_TO_LOG`."""

import sys

PARAMS = 10
STEPS = 100


def main(url: str, path: str) -> None:
    """One run, as people write it."""
    import mlflow

    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("script")
    with mlflow.start_run():
        mlflow.log_params({f"param_{number}": number for number in range(PARAMS)})
        for step in range(STEPS):
            mlflow.log_metrics({"loss": 1 / (step + 1), "accuracy": step / STEPS}, step=step)
        mlflow.log_artifact(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
