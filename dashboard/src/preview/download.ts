/* Files come straight from the object store, by an address that is asked for when it is needed and soon ends. */
import type { Client } from "@urql/core";
import { said } from "../api/client";
import { ArtifactAtDocument, ArtifactDownloadDocument } from "../api/gql";

const GONE = "This file is not to be had any more.";

/** The address of an artifact's bytes. Throws an `Error` with a sentence for a person. */
export async function addressOfArtifact(client: Client, id: string): Promise<string> {
  const { data, error } = await client.query(ArtifactDownloadDocument, { id }, { requestPolicy: "network-only" });
  if (error) {
    throw new Error(said(error));
  }
  return given(data?.artifact?.download?.url);
}

/** The address of the file at this path of a run. Throws an `Error` with a sentence for a person. */
export async function addressAt(client: Client, run: string, path: string): Promise<string> {
  const { data, error } = await client.query(ArtifactAtDocument, { run, path }, { requestPolicy: "network-only" });
  if (error) {
    throw new Error(said(error));
  }
  return given(data?.run?.artifact?.download?.url);
}

function given(url: string | undefined): string {
  if (url === undefined) {
    throw new Error(GONE);
  }
  return url;
}

/** Have the browser save the file; the store says that it is one to save. */
export function save(url: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.rel = "noreferrer";
  link.click();
}
