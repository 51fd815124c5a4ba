import { type ComponentType, useEffect, useState } from "react";
import { Route, Switch } from "wouter";
import Runs from "./pages/Runs";
import { Problem } from "./ui/Problem";

const Experiments = later(() => import("./pages/Experiments"));
const Charts = later(() => import("./pages/Charts"));
const Diff = later(() => import("./pages/Diff"));
const ArtifactCompare = later(() => import("./pages/ArtifactCompare"));
const Latest = later(() => import("./pages/Latest"));
const Run = later(() => import("./pages/Run"));
const SavedView = later(() => import("./pages/SavedView"));
const Settings = later(() => import("./pages/Settings"));

/**
 * A page whose code is loaded when it is first shown; the table, which most people open, is there from the beginning.
 * React's `lazy` would show the page 300 ms after the nothing before it, however soon its code came.
 */
function later<Props extends object>(load: () => Promise<{ default: ComponentType<Props> }>): ComponentType<Props> {
  let Page: ComponentType<Props> | null = null;
  return function Later(props: Props) {
    const [state, setState] = useState<"loading" | "loaded" | "failed">(Page === null ? "loading" : "loaded");
    useEffect(() => {
      if (Page === null) {
        load().then(
          (module) => {
            Page = module.default;
            setState("loaded");
          },
          () => setState("failed"),
        );
      }
    }, []);
    if (state === "failed") {
      return <Problem title="The page did not arrive" advice="The server does not answer, or has a newer version: load the page again." onRetry={() => location.reload()} />;
    }
    return Page && <Page {...props} />;
  };
}

/** The page of the address. */
export function Pages() {
  return (
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
  );
}
