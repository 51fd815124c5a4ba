"""Selections: which runs a question is about."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import strawberry

from api.context import Context, Info
from api.filters import RunFilter
from db import filter_texts, ids, runs
from db.attempts import RunStatus
from db.conditions import All, Condition
from db.errors import Invalid, NotFound
from db.runs import Selection

SELECTED_MAX: Final = 1_000


@strawberry.input(description="Which runs: those that satisfy every part that is given.")
class RunSelection:
    project_id: strawberry.ID | None = strawberry.field(default=None, description="Of this project.")
    experiment_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Of one of these experiments, at most 1,000."
    )
    run_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="One of these, at most 1,000.")
    statuses: list[RunStatus] | None = strawberry.field(default=None, description="In one of these states.")
    ancestor_id: strawberry.ID | None = strawberry.field(
        default=None, description="Below this run: its children, their children, and so on."
    )
    filter: RunFilter | None = strawberry.field(default=None, description="What must be true of them.")
    where: str | None = strawberry.field(
        default=None,
        description="The same as a text, such as \"metrics.loss < 0.1 AND (params.model = 'unet' OR NOT tags.draft = "
        "'yes')\"; what MLflow's search takes is understood.",
    )

    def checked(self) -> Selection:
        """The selection in the database's words. Raises `Invalid`."""
        return Selection(
            project_id=ids.given(self.project_id, "select.projectId"),
            experiment_ids=_ids(self.experiment_ids, "select.experimentIds"),
            run_ids=_ids(self.run_ids, "select.runIds"),
            statuses=self.statuses,
            ancestor_id=ids.given(self.ancestor_id, "select.ancestorId"),
            condition=self._condition(),
        )

    def _condition(self) -> Condition | None:
        """What the filter and the text ask, both."""
        parts = [] if self.filter is None else [self.filter.condition("select.filter")]
        if self.where is not None:
            parts.append(filter_texts.parse(self.where, "select.where"))
        return All(tuple(parts)) if parts else None


def _ids(texts_given: Sequence[str] | None, path: str) -> list[UUID] | None:
    if texts_given is None:
        return None
    if len(texts_given) > SELECTED_MAX:
        raise Invalid(f"{path} has {len(texts_given)} ids", path=path, limit=f"{SELECTED_MAX} ids")
    return [ids.parse(text, f"{path}[{index}]") for index, text in enumerate(texts_given)]


async def selected(info: Info, select: RunSelection) -> list[runs.Run]:
    """The runs, in the order of the ids asked, else the newest first. Raises `Invalid`, `NotFound`."""
    context, selection = info.context, select.checked()
    if selection.run_ids is not None:
        rows = await _by_ids(context, selection, selection.run_ids)
    else:
        rows = await runs.first(context.pool, context.scope, selection, limit=SELECTED_MAX + 1)
    if len(rows) > SELECTED_MAX:
        raise Invalid("the selection has too many runs", path="select", limit=f"{SELECTED_MAX} runs")
    if not rows:
        raise NotFound("the selection has no runs", path="select")
    return rows


async def _by_ids(context: Context, selection: Selection, run_ids: Sequence[UUID]) -> list[runs.Run]:
    """The runs in the order of their ids; when nothing else is asked of them, they are only looked up."""
    if selection == Selection(run_ids=run_ids):
        rows = [row for row in await runs.by_ids(context.pool, context.scope, run_ids) if row]
    else:
        rows = await runs.first(context.pool, context.scope, selection, limit=len(run_ids))
    found = {row.id: row for row in rows}
    missing = [run_id for run_id in run_ids if run_id not in found]
    if missing:
        raise NotFound(f"there is no run {missing[0]} in the selection", path="select.runIds")
    return [found[run_id] for run_id in dict.fromkeys(run_ids)]
