import type { Role } from "../api/gql";

export const ROLES: Record<Role, string> = { OWNER: "owner", EDITOR: "editor", LOGGER: "logger", VIEWER: "viewer" };

/** Roles with what they do, the least first. */
export const ROLE_CHOICES: readonly { role: Role; does: string }[] = [
  { role: "LOGGER", does: "log its own runs (logger)" },
  { role: "VIEWER", does: "read (viewer)" },
  { role: "EDITOR", does: "read and write (editor)" },
  { role: "OWNER", does: "manage the project (owner)" },
];
