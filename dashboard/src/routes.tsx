import { lazy, Suspense } from "react";
import { Route, Switch } from "wouter";
import { Problem } from "./ui/Problem";

const Experiments = lazy(() => import("./pages/Experiments"));
const Runs = lazy(() => import("./pages/Runs"));
const Charts = lazy(() => import("./pages/Charts"));
const Diff = lazy(() => import("./pages/Diff"));
const ArtifactCompare = lazy(() => import("./pages/ArtifactCompare"));
const Latest = lazy(() => import("./pages/Latest"));
const Run = lazy(() => import("./pages/Run"));
const SavedView = lazy(() => import("./pages/SavedView"));
const Settings = lazy(() => import("./pages/Settings"));

/** The page of the address, loaded when it is first shown. */
export function Pages() {
  return (
    <Suspense>
      <Switch>
        <Route path="/">
          <Experiments />
        </Route>
        <Route path="/e/:experiment">{({ experiment }) => <Runs experiment={experiment} />}</Route>
        <Route path="/e/:experiment/charts">{({ experiment }) => <Charts experiment={experiment} />}</Route>
        <Route path="/e/:experiment/diff">{({ experiment }) => <Diff experiment={experiment} />}</Route>
        <Route path="/e/:experiment/latest">{({ experiment }) => <Latest experiment={experiment} />}</Route>
        <Route path="/compare">
          <Runs experiment={null} />
        </Route>
        <Route path="/compare/charts">
          <Charts experiment={null} />
        </Route>
        <Route path="/compare/diff">
          <Diff experiment={null} />
        </Route>
        <Route path="/compare/artifacts">
          <ArtifactCompare />
        </Route>
        <Route path="/r/:run/*?">{({ run, "*": tab = "" }) => <Run run={run} tab={tab} />}</Route>
        <Route path="/v/:view">{({ view }) => <SavedView id={view} />}</Route>
        <Route path="/settings/*?">{({ "*": tab = "" }) => <Settings tab={tab} />}</Route>
        <Route>
          <Problem title="There is no such page" advice="The address may be mistyped." />
        </Route>
      </Switch>
    </Suspense>
  );
}
