/** Answers that a service's own policies ask for. Each code has its line in the edge's README. */
import { refusal } from "../relay/refusal.ts";

export const HTTPS_REQUIRED = refusal(
  301,
  "edge.https_required",
  "PE06",
  "This site is served over HTTPS.",
  "Follow the Location header.",
);
export const RATE_LIMITED = refusal(
  429,
  "edge.rate_limited",
  "PL06",
  "Too many requests from this address.",
  "Wait for as long as Retry-After says.",
);
export const TOKEN_MISSING = refusal(
  401,
  "edge.token_missing",
  "PA06",
  "This service needs an access token.",
  "Send `Authorization: Bearer TOKEN` with a token of the service's issuer.",
);
export const TOKEN_INVALID = refusal(
  401,
  "edge.token_invalid",
  "PA06",
  "The access token is not valid here.",
  "WWW-Authenticate says why; get a new token from the service's issuer.",
);
export const SCOPE_MISSING = refusal(
  403,
  "edge.scope_missing",
  "PA06",
  "The access token does not allow this.",
  "WWW-Authenticate names the scopes that are needed.",
);
export const KEYS_UNAVAILABLE = refusal(
  503,
  "edge.keys_unavailable",
  "PA06",
  "The keys that check this service's access tokens cannot be read.",
  "Check the service's jwks_url: it must answer with a JSON key set over HTTPS.",
  30,
);
