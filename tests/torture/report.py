"""What came of it, for people (Markdown) and for programs (JSON)."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from tests.torture.story import Result

VIOLATIONS_SHOWN = 20


def summary(result: Result) -> dict[str, Any]:
    """The figures."""
    history, plan = result.history, result.plan
    told = [one for run in history.runs.values() for one in run.blocks.values()]
    recoveries = [seconds for each in result.recoveries().values() for seconds in each]
    return {
        "seed": plan.seed,
        "cycles": len(result.outcomes),
        "struck": len(result.struck),
        "kills": sum(outcome.cycle.fault.is_kill for outcome in result.struck),
        "seconds": round(result.seconds, 1),
        "runs": len(history.runs),
        "runs_finished_under_fire": sum(run.finished for run in history.runs.values()),
        "writers": sum(len(run.writers) for run in history.runs.values()),
        "batches_tried": len(told),
        "batches_refused_as_late": sum(one.refused for one in told),
        "points_tried": history.points,
        "points_acknowledged": history.acknowledged,
        "files": sum(len(run.files) for run in history.runs.values()),
        "recovery_s_median": round(median(recoveries), 2) if recoveries else None,
        "recovery_s_max": round(max(recoveries), 2) if recoveries else None,
        "recoveries": {
            fault: {"times": len(each), "median_s": round(median(each), 2), "max_s": round(max(each), 2)}
            for fault, each in result.recoveries().items()
        },
        "violations": [str(violation) for violation in result.violations],
    }


def markdown(figures: dict[str, Any]) -> str:
    """The figures as people read them."""
    lines = [
        f"# Torture, seed {figures['seed']}",
        "",
        f"{figures['struck']} faults in {figures['seconds']:g} s, {figures['kills']} of them kills; "
        f"{figures['cycles'] - figures['struck']} failpoints were not reached.",
        f"{figures['points_tried']:,} points tried by {figures['writers']} writers in {figures['runs']} runs, "
        f"{figures['points_acknowledged']:,} acknowledged; {figures['runs_finished_under_fire']} runs finished while "
        f"batches were under way, {figures['batches_refused_as_late']} blocks came too late for that; "
        f"{figures['files']} files.",
        f"Well again after {figures['recovery_s_median']} s (median), {figures['recovery_s_max']} s (longest).",
        "",
        f"**{len(figures['violations'])} violations.**",
        *(f"- {text}" for text in figures["violations"][:VIOLATIONS_SHOWN]),
        "",
        "| fault | times | well again after, median | longest |",
        "| --- | --- | --- | --- |",
        *(
            f"| {fault} | {one['times']} | {one['median_s']:.2f} s | {one['max_s']:.2f} s |"
            for fault, one in figures["recoveries"].items()
        ),
        "",
    ]
    return "\n".join(lines)


def write(result: Result, folder: Path) -> str:
    """Keep both in the folder; the Markdown."""
    figures = summary(result)
    text = markdown(figures)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "torture.json").write_text(json.dumps(figures, indent=2))
    (folder / "torture.md").write_text(text)
    return text
