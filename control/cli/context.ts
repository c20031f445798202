/** What a command starts from: options of the command line, then the environment, then cli.json of the home. */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { GodwitError } from "../contract/errors.ts";

/** Options that every command takes. */
export interface GlobalFlags {
  readonly json?: true;
  readonly app?: string;
  readonly org?: string;
  readonly yes?: true;
  readonly accessToken?: string;
}

export type Environment = Record<string, string | undefined>;

/** What `up` leaves for this command, in $GODWIT_HOME/cli.json. */
export interface CliDefaults {
  readonly api_url?: string;
  readonly token?: string;
  readonly edge_admin_url?: string;
  readonly replica_socket?: string;
  readonly registry?: { readonly host: string; readonly auth_file: string };
}

export function readDefaults(env: Environment): CliDefaults {
  const file = join(env.GODWIT_HOME || join(homedir(), ".godwit"), "cli.json");
  if (!existsSync(file)) return {};
  try {
    return JSON.parse(readFileSync(file, "utf8")) as CliDefaults;
  } catch (cause) {
    throw new GodwitError("cli.defaults_unreadable", `Cannot read ${file}`, {
      fault: "client",
      hint: "`bun run up` writes it anew",
      cause,
    });
  }
}

/** @throws `cli.no_token`: neither flag, environment nor home has one. */
export function connectionOf(flags: GlobalFlags, env: Environment, defaults: CliDefaults) {
  const url = env.GODWIT_API_URL || defaults.api_url;
  const token = flags.accessToken ?? (env.GODWIT_TOKEN || defaults.token);
  if (url === undefined) {
    throw new GodwitError("cli.no_api", "Do not know which API to speak to", {
      fault: "client",
      hint: "start a stack with `bun run up`, or set GODWIT_API_URL (and GODWIT_HOME if it is not ~/.godwit)",
    });
  }
  if (!URL.canParse(url)) {
    throw new GodwitError("cli.no_api", `Cannot use ${JSON.stringify(url)} as the API's address`, {
      fault: "client",
      hint: "set GODWIT_API_URL to something like http://127.0.0.1:8081",
    });
  }
  if (token === undefined || token === "") {
    throw new GodwitError("cli.no_token", `Have no access token for ${url}`, {
      fault: "client",
      hint: "give one with --access-token or GODWIT_TOKEN",
    });
  }
  return { url, token };
}

/** @throws `cli.no_app` */
export function appOf(flags: GlobalFlags, env: Environment): string {
  const app = flags.app ?? env.GODWIT_APP;
  if (app !== undefined && app !== "") return app;
  throw new GodwitError("cli.no_app", "Which app?", {
    fault: "client",
    hint: "name it with -a APP or GODWIT_APP; `godwit apps list` shows them",
  });
}

/** @throws `cli.no_edge` */
export function edgeOf(flag: string | undefined, env: Environment, defaults: CliDefaults): string {
  const url = flag ?? (env.GODWIT_EDGE_URL || defaults.edge_admin_url);
  if (url !== undefined && URL.canParse(url)) return url;
  const said = url === undefined
    ? "Do not know which edge to ask"
    : `Cannot use ${JSON.stringify(url)} as an edge`;
  throw new GodwitError("cli.no_edge", said, {
    fault: "client",
    hint: "name its admin listener with --edge or GODWIT_EDGE_URL, something like http://127.0.0.1:8085",
  });
}

/** @throws `cli.no_replica` */
export function replicaSocketOf(flag: string | undefined, env: Environment, defaults: CliDefaults): string {
  const socket = flag ?? (env.GODWIT_REPLICA_SOCKET || defaults.replica_socket);
  if (socket !== undefined && socket !== "") return socket;
  throw new GodwitError("cli.no_replica", "Do not know which replica to ask", {
    fault: "client",
    hint: "start a stack with `bun run up`, or name the socket of an edge's `rows.query` with --socket or " +
      "GODWIT_REPLICA_SOCKET",
  });
}
