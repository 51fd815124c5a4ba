import type { CombinedError } from "@urql/core";
import { said } from "../api/client";

/** Of any mutation's answer what a person should know when it did not happen; null when it did. */
export function failureOf(error: CombinedError | undefined, answer: object | undefined): string | null {
  if (error) {
    return said(error);
  }
  const { message, hint } = (answer ?? {}) as { message?: string; hint?: string | null };
  return message === undefined ? null : [message, hint].filter(Boolean).join(". ");
}
