/** The supervisor's process: `bun deploy/stack/supervise.ts --home FOLDER`. Answers on a unix socket in the run folder. */
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { homeAt } from "./home.ts";
import { readHomeRecord, secretsOf } from "./home-record.ts";
import { recordOf, removeRecord, writeRecord } from "./identity.ts";
import { stackParts } from "./parts.ts";
import { planPorts } from "./ports.ts";
import { elsewhereFromEnvironment } from "./process-files.ts";
import { boundLogs, Supervisor } from "./supervisor.ts";

const LOG_CHECK_INTERVAL_MS = 10_000;
const BOUND_CHECK_INTERVAL_MS = 600_000;

const { values } = parseArgs({ options: { home: { type: "string" } } });
if (values.home === undefined) throw new Error("--home FOLDER is missing");

const home = homeAt(values.home);
const record = readHomeRecord(home);
if (record === null) throw new Error(`${home.folder} is not a home`);
mkdirSync(home.logs, { recursive: true, mode: 0o700 });
const say = (line: string) => console.log(`${new Date().toISOString()} ${line}`);
const parts = stackParts({
  home,
  record,
  ports: planPorts(record.port_base),
  secrets: secretsOf(home),
  elsewhere: elsewhereFromEnvironment(),
});
const supervisor = new Supervisor(parts, home.runFolder, say);

rmSync(home.supervisorSocket, { force: true });
const server = Bun.serve({
  unix: home.supervisorSocket,
  routes: {
    "/status": () => Response.json(supervisor.status),
    "/stop": {
      POST: async (request, server) => {
        server.timeout(request, 0); // the parts take the time they need
        await supervisor.stopAll();
        queueMicrotask(end);
        return Response.json(supervisor.status);
      },
    },
  },
});
chmodSync(home.supervisorSocket, 0o600);
writeRecord(home.runFolder, recordOf("supervisor", process.pid)!);

const logs = setInterval(() => boundLogs(home.logs), LOG_CHECK_INTERVAL_MS);
const bounds = setInterval(() => void supervisor.boundParts(), BOUND_CHECK_INTERVAL_MS);
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, async () => {
    say(`${signal}: stopping`);
    await supervisor.stopAll();
    await end();
  });
}
process.on("SIGHUP", () => {}); // the terminal that `up` was typed in may close

async function end(): Promise<void> {
  clearInterval(logs);
  clearInterval(bounds);
  await server.stop();
  rmSync(home.supervisorSocket, { force: true });
  removeRecord(home.runFolder, "supervisor");
  say("stopped");
  process.exit(0);
}

await supervisor.startAll();
say(`state ${supervisor.status.state}`);
