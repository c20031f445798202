/** What a principal may do. An organisation that is not its own does not exist for it: nothing may leak that it does. */
import { GodwitError } from "../contract/errors.ts";
import type { Principal, Scope } from "./token.ts";

export function requireScope(principal: Principal, scope: Scope): void {
  if (principal.scopes.includes(scope)) return;
  throw new GodwitError(
    "access.scope_missing",
    `Cannot do this with the access token of ${principal.subject}: it lacks the scope "${scope}", has ${
      principal.scopes.join(", ") || "none"
    }`,
    { fault: "client", hint: "Ask the operator for a token with that scope." },
  );
}

export function isMember(principal: Principal, organizationSlug: string): boolean {
  return principal.organizations.includes(organizationSlug);
}
