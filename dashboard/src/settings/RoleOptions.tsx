import { ROLE_CHOICES } from "./roles";

/** The roles to choose from, with what they do. */
export function RoleOptions() {
  return ROLE_CHOICES.map(({ role, does }) => (
    <option key={role} value={role}>
      {does}
    </option>
  ));
}
