"""What a request carries: who asks, the doors to the other parts, and its dataloaders."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from uuid import UUID

from arq.connections import ArqRedis
from strawberry.dataloader import DataLoader
from strawberry.types import Info as StrawberryInfo

from api.budgets import Budgets
from api.live import Live
from db import (
    access,
    artifacts,
    attempts,
    experiments,
    exports,
    ids,
    inputs,
    params,
    projects,
    runs,
    saved_views,
    summaries,
    tags,
    trees,
)
from db.access import Account, Role, Scope
from db.metrics import Recorder
from db.pool import Pool, Portion
from settings import Settings
from storage.probe import Prober
from storage.store import Store

if TYPE_CHECKING:  # it needs the context itself
    from api.known import Lists

CONNECTIONS_MAX: Final = 4  # that one query reads through at the same time

Row = TypeVar("Row")
Page = tuple[str, str | None, int]  # of what a run has: keys that begin so, behind this key, so many


@dataclass(frozen=True, slots=True)
class Deps:
    """What one process has, for all requests."""

    settings: Settings
    pool: Pool
    reading: Pool
    recorder: Recorder
    cursor_key: bytes
    store: Store
    prober: Prober
    redis: ArqRedis
    live: Live
    budgets: Budgets


class Loaders:
    """Rows that many fields of one request ask for, fetched together."""

    def __init__(self, pool: Pool, scope: Scope) -> None:
        async def load_accounts(ids: Sequence[UUID]) -> list[Account]:
            return await access.accounts(pool, ids)

        async def load_projects(ids: Sequence[UUID]) -> list[projects.Project | None]:
            return await projects.by_ids(pool, scope, ids)

        async def load_experiments(ids: Sequence[UUID]) -> list[experiments.Experiment | None]:
            return await experiments.by_ids(pool, scope, ids)

        async def load_overviews(ids: Sequence[UUID]) -> list[experiments.Overview]:
            return await experiments.overviews(pool, scope, ids)

        async def load_runs(ids: Sequence[UUID]) -> list[runs.Run | None]:
            return await runs.by_ids(pool, scope, ids)

        async def load_descendants(ids: Sequence[UUID]) -> list[int]:
            found = await trees.counts(pool, scope, ids)
            return [found[run_id] for run_id in ids]

        async def load_param_pages(asked: Sequence[tuple[UUID, Page]]) -> list[list[params.Param]]:
            async def read(run_ids: list[UUID], page: Page) -> dict[UUID, list[params.Param]]:
                prefix, after, limit = page
                return await params.pages(pool, scope, run_ids, prefix, after=after, limit=limit)

            return await _together(asked, read)

        async def load_metric_pages(asked: Sequence[tuple[UUID, Page]]) -> list[list[summaries.Summary]]:
            async def read(run_ids: list[UUID], page: Page) -> dict[UUID, list[summaries.Summary]]:
                prefix, after, limit = page
                return await summaries.page(pool, scope, run_ids, prefix=prefix, after=after, limit=limit)

            return await _together(asked, read)

        async def load_tags(ids: Sequence[UUID]) -> list[list[tags.Tag]]:
            found = await tags.of_runs(pool, scope, ids)
            return [found[run_id] for run_id in ids]

        async def load_inputs(ids: Sequence[UUID]) -> list[list[inputs.Input]]:
            found = await inputs.of_runs(pool, scope, ids)
            return [found[run_id] for run_id in ids]

        async def load_attempts(ids: Sequence[UUID]) -> list[list[attempts.Attempt]]:
            found = await attempts.of_runs(pool, scope, ids)
            return [found[run_id] for run_id in ids]

        async def load_sources(keys: Sequence[tuple[UUID, int]]) -> list[attempts.Source | None]:
            found = await attempts.sources(pool, scope, list({run_id for run_id, _ in keys}))
            return [found.get(key) for key in keys]

        async def load_environments(keys: Sequence[tuple[UUID, int]]) -> list[attempts.Environment | None]:
            found = await attempts.environments(pool, scope, list({run_id for run_id, _ in keys}))
            return [found.get(key) for key in keys]

        async def load_artifacts(ids: Sequence[UUID]) -> list[artifacts.Artifact | None]:
            return await artifacts.by_ids(pool, scope, ids)

        async def load_artifacts_at(keys: Sequence[tuple[UUID, str]]) -> list[artifacts.Artifact | None]:
            return await artifacts.by_paths(pool, scope, keys)

        async def load_exports(ids: Sequence[UUID]) -> list[exports.Export | None]:
            return await exports.by_ids(pool, scope, ids)

        async def load_export_files(ids: Sequence[UUID]) -> list[list[exports.File]]:
            found = await exports.files(pool, scope, ids)
            return [found[export_id] for export_id in ids]

        async def load_saved_views(ids: Sequence[UUID]) -> list[saved_views.SavedView | None]:
            return await saved_views.by_ids(pool, scope, ids)

        self.account = DataLoader(load_accounts)
        self.project = DataLoader(load_projects)
        self.experiment = DataLoader(load_experiments)
        self.overview = DataLoader(load_overviews)
        self.run = DataLoader(load_runs)
        self.descendants = DataLoader(load_descendants)
        self.param_pages = DataLoader(load_param_pages)
        self.metric_pages = DataLoader(load_metric_pages)
        self.tags = DataLoader(load_tags)
        self.inputs = DataLoader(load_inputs)
        self.attempts = DataLoader(load_attempts)
        self.source = DataLoader(load_sources)
        self.environment = DataLoader(load_environments)
        self.artifact = DataLoader(load_artifacts)
        self.artifact_at = DataLoader(load_artifacts_at)
        self.saved_view = DataLoader(load_saved_views)
        self.export = DataLoader(load_exports)
        self.export_files = DataLoader(load_export_files)


async def _together(
    asked: Sequence[tuple[UUID, Page]], read: Callable[[list[UUID], Page], Awaitable[dict[UUID, list[Row]]]]
) -> list[list[Row]]:
    """The pages asked for; the same one of many runs is read at once."""
    run_ids: dict[Page, list[UUID]] = {}
    for run_id, page in asked:
        run_ids.setdefault(page, []).append(run_id)
    found = {page: await read(of_page, page) for page, of_page in run_ids.items()}
    return [found[page][run_id] for run_id, page in asked]


@dataclass(slots=True)
class Context:
    """One request."""

    deps: Deps
    scope: Scope
    request_id: str
    lists: "Lists | None" = None  # the compiled ones of the document
    reads: bool = False  # as queries do
    _loaders: Loaders | None = field(default=None, init=False)
    _portion: Portion | None = field(default=None, init=False)

    @property
    def loaders(self) -> Loaders:
        """The request's dataloaders; logging needs none."""
        if self._loaders is None:
            self._loaders = Loaders(self.pool, self.scope)
        return self._loaders

    def become(self, scope: Scope) -> None:
        """See with this scope in the rest of the request."""
        self.scope = scope
        self._loaders = None

    def become_owner(self, project_id: UUID) -> None:
        """See the project that this request made, in the rest of its answer."""
        self.become(replace(self.scope, roles={**self.scope.roles, project_id: Role.OWNER}))

    @property
    def pool(self) -> Pool:
        """The pool for reading, or for small writes and what they answer."""
        if not self.reads:
            return self.deps.pool
        if self._portion is None:
            self._portion = Portion(self.deps.reading, min(CONNECTIONS_MAX, self.deps.settings.database_pool_max))
        return cast(Pool, self._portion)


class Info(StrawberryInfo[Context, Any]):
    """The resolvers' view of the request."""


async def found(loader: DataLoader[UUID, Row | None], id: str) -> Row | None:
    """The row of this id; None when there is none to see, or the text is no id at all."""
    row_id = ids.find(id)
    return None if row_id is None else await loader.load(row_id)
