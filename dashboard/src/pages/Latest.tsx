import { useQuery } from "urql";
import { Redirect } from "wouter";
import { said } from "../api/client";
import { LatestRunDocument } from "../api/gql";
import { Problem } from "../ui/Problem";

/** The newest run of an experiment, at an address that stays the same. */
export default function Latest({ experiment }: { experiment: string }) {
  const [{ data, error, fetching }, retry] = useQuery({
    query: LatestRunDocument,
    variables: { experiment },
    requestPolicy: "network-only",
  });
  if (error) {
    return <Problem title="The newest run cannot be found" advice={said(error)} onRetry={() => retry({ requestPolicy: "network-only" })} />;
  }
  if (fetching || !data) {
    return null;
  }
  const run = data.runs.nodes[0];
  return run ? (
    <Redirect to={`/r/${run.id}`} replace />
  ) : (
    <Problem title="There is no run here" advice="The experiment has none yet, or you may not see it." />
  );
}
