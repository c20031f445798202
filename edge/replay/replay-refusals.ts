/** What a client is told where a replay cannot be. Families are the reference's, section 1.8: PA, of apps and replays. */
import { refusal } from "../relay/refusal.ts";

export const REPLAY_BODY_TOO_LARGE = refusal(
  413,
  "edge.replay_body_too_large",
  "PA01",
  "The app wants another machine to answer, and the request's body is too large to be sent twice.",
  "Requests of more than 1 MB cannot be replayed: let the app answer those itself, or send them to the right place.",
);
export const REPLAYED_TOO_OFTEN = refusal(
  502,
  "edge.replayed_too_often",
  "PA02",
  "The app's machines sent the request from one to another more than ten times.",
  "Look for machines that replay to each other; fly-replay-src tells a machine that a request has been replayed.",
);
export const REPLAY_INVALID = refusal(
  502,
  "edge.replay_invalid",
  "PA03",
  "The app answered with a fly-replay that cannot be followed.",
  "Godwit-Replay-Error says what is wrong with it.",
);
export const REPLAY_APP_UNKNOWN = refusal(
  502,
  "edge.replay_app_unknown",
  "PA04",
  "The app wants an app to answer that does not exist in its organisation, or serves nothing on this port.",
  "Check the name in fly-replay, and that the app has a service on the port that the request came to.",
);
export const REPLAY_TARGET_UNAVAILABLE = refusal(
  503,
  "edge.replay_target_unavailable",
  "PA05",
  "No machine can take the request where the app wants it to be answered.",
  "Look at the machines of the target; with `fallback` in fly-replay the app answers itself in this case.",
  1,
);
export const REPLAY_TIMED_OUT = refusal(
  504,
  "edge.replay_timed_out",
  "PA05",
  "The machine that the app wants to answer could not be reached in the time that fly-replay gives.",
  "Give it more time, or name a `fallback`.",
);
