import { useQuery } from "urql";
import { Redirect } from "wouter";
import { said } from "../api/client";
import { SavedViewDocument } from "../api/gql";
import { addressOfSaved } from "../state/saved";
import { Problem } from "../ui/Problem";

/** A saved view, which is the address that was saved. */
export default function SavedView({ id }: { id: string }) {
  const [{ data, error }, retry] = useQuery({ query: SavedViewDocument, variables: { id } });
  if (error) {
    return <Problem title="The view cannot be shown" advice={said(error)} onRetry={() => retry({ requestPolicy: "network-only" })} />;
  }
  if (data?.savedView === null) {
    return <Problem title="There is no such view" advice="It was deleted, or you may not see it." />;
  }
  return data ? <Redirect to={addressOfSaved(data.savedView!.experiment?.id ?? null, data.savedView!.search)} replace /> : null;
}
