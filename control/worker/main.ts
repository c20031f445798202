/**
 * `bun control/worker/main.ts --config PATH`: one worker agent in the foreground, its log as JSON lines on stdout. On
 * SIGTERM or SIGINT it leaves and its VMs live on. Exit codes: 0 left as asked, 1 failed, 2 bad use or configuration.
 */
import { parseArgs } from "node:util";
import { pino } from "pino";
import { GodwitError, messageOf } from "../contract/errors.ts";
import { WorkerConfig } from "../contract/process-config.ts";
import { startAgent } from "./agent.ts";

const log = pino({ base: { part: "worker" } });

const config = await readConfig();
const asked = new Promise<string>((resolve) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
});
try {
  const agent = await startAgent({ config, log });
  log.info({ signal: await asked }, "leaving; machines live on");
  await agent.stop();
} catch (error) {
  const hint = error instanceof GodwitError ? error.hint : null;
  log.fatal({ err: error, hint }, "the worker agent failed");
  process.exit(1);
}
process.exit(0);

async function readConfig(): Promise<WorkerConfig> {
  const { values } = parseArgs({ options: { config: { type: "string" } }, strict: false });
  const path = values.config;
  if (typeof path !== "string") {
    process.stderr.write("usage: bun control/worker/main.ts --config PATH\n");
    process.exit(2);
  }
  try {
    return WorkerConfig.parse(await Bun.file(path).json());
  } catch (error) {
    // The text of a schema's complaint names paths, not values, so no password is in it.
    log.fatal({ reason: messageOf(error) }, `cannot use configuration ${path}`);
    process.exit(2);
  }
}
