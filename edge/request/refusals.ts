/** Answers of the routing stages. Each code has its line in the edge's README; families are the reference's, section 1.8. */
import { refusal } from "../relay/refusal.ts";

export const UNKNOWN_HOST = refusal(
  404,
  "edge.unknown_host",
  "PR04",
  "No app has this host name.",
  "Check the name; where it is right, add it to the app or deploy the app.",
);
export const MISDIRECTED = refusal(
  421,
  "edge.misdirected",
  "PT10",
  "The connection was made for another name, and no certificate here covers this one.",
  "Open a new connection for this name.",
);
export const NO_MACHINE = refusal(
  503,
  "edge.no_machine",
  "PR01",
  "The app has no started machine behind this port.",
  "Start a machine, or deploy the app with a service on this port.",
  1,
);
export const NO_HTTP_HANDLER = refusal(
  503,
  "edge.no_http_handler",
  "PR01",
  "The app's service on this port carries bytes and no requests.",
  "Connect with the service's own protocol, or give the port the http handler.",
);
export const HELD_TOO_LONG = refusal(
  503,
  "edge.no_machine",
  "PR03",
  "No machine of the app became ready in time.",
  "Look at the app's logs: a machine is starting, or does not listen on 0.0.0.0 and its internal_port.",
  1,
);
export const NO_HEALTHY_MACHINE = refusal(
  503,
  "edge.no_healthy_machine",
  "PR01",
  "Every started machine of the app fails its checks.",
  "Look at the service's checks and the app's logs.",
  1,
);
export const INSTANCE_UNAVAILABLE = refusal(
  503,
  "edge.instance_unavailable",
  "PR02",
  "The machine that the request asks for does not serve this port, is not running, or is cordoned.",
  "Send the request without fly-force-instance-id, or start the machine.",
);
export const REGION_UNAVAILABLE = refusal(
  503,
  "edge.region_unavailable",
  "PR03",
  "No machine of the app runs in the regions that the request asks for.",
  "Send the request without fly-force-region, or start a machine there.",
);
export const START_FAILED = refusal(
  503,
  "edge.start_failed",
  "PM01",
  "A machine of the app was asked to start and did not.",
  "Look at the app's logs: the machine's boot, or its process, failed.",
  5,
);
export const START_NO_CAPACITY = refusal(
  503,
  "edge.start_no_capacity",
  "PM02",
  "The host of the app's stopped machine has no room to start it.",
  "Stop other machines of that host, or give the app a machine on another.",
  5,
);
export const WORKER_UNREACHABLE = refusal(
  503,
  "edge.worker_unreachable",
  "PU03",
  "The worker that could start a machine of the app does not answer.",
  "Look at the worker's log on that host.",
  5,
);
export const PEER_REFUSED = refusal(
  403,
  "edge.peer_refused",
  "PE07",
  "This address is for the other edges of the fleet.",
  "Use the app's own address; if this is an edge, its peers.secret_file differs from this edge's.",
);
export const MACHINES_FULL = refusal(
  503,
  "edge.machines_full",
  "PL02",
  "Every machine of the app is at its hard limit, and no place became free in time.",
  "Raise hard_limit, or add machines.",
  1,
);
export const TOO_MANY_WAITING = refusal(
  503,
  "edge.too_many_waiting",
  "PL02",
  "Too many requests wait for a machine of this app.",
  "Add machines, or raise hard_limit.",
  1,
);
export const MACHINE_REFUSED = refusal(
  502,
  "edge.machine_refused",
  "PC01",
  "The app's machine refused the connection.",
  "The app must listen on 0.0.0.0 and the service's internal_port; its logs say whether it runs.",
);
export const MACHINE_TIMEOUT = refusal(
  504,
  "edge.machine_timeout",
  "PC05",
  "The app's machine did not answer in time.",
  "Look at the app's logs for what the request was waiting for.",
);
export const MACHINE_RESET = refusal(
  502,
  "edge.machine_reset",
  "PC03",
  "The app's machine closed the connection before it answered.",
  "Look at the app's logs: the process ended, or gave up on the request.",
);
export const BAD_RESPONSE = refusal(
  502,
  "edge.bad_response",
  "PU02",
  "The app's answer is not valid HTTP/1.1.",
  "Look at what the app sends: lengths, chunks and header lines must follow RFC 9112.",
);
