/**
 * `bun control/membership/main.ts --config PATH` (MembershipConfig): a host's membership agent in the foreground, its log
 * as JSON lines on stdout. On SIGTERM or SIGINT it tells the others that it leaves. Exit codes: 0 left as asked, 1 failed,
 * 2 bad use or configuration.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { GodwitError, messageOf } from "../contract/errors.ts";
import { MembershipConfig } from "../contract/process-config.ts";
import { statusPages } from "./status-pages.ts";
import { Agent } from "./agent.ts";
import { Feed } from "./feed.ts";
import { membershipMetrics } from "./metrics.ts";
import { Seal } from "./seal.ts";
import { readSecrets } from "./secret-files.ts";

const log = pino({ base: { part: "membership" } });

const config = readConfig();
const asked = new Promise<string>((resolve) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
});
try {
  const { host_id: id, listen, advertise, seeds, secret_files: files, socket, admin } = config;
  const agent: Agent = new Agent({
    id,
    listen,
    seeds,
    ...(advertise === undefined ? {} : { advertise }),
    seal: new Seal(readSecrets(files)),
    random: Math.random,
    nowMs: () => performance.now(),
    wallMs: Date.now,
    onChange: (line) => {
      feed.changed(line);
      log.info(line, "member changed");
    },
    onTrouble: (message, error) => log.error({ err: error }, message),
  });
  const feed: Feed = new Feed(() => agent.lines());
  await agent.start();
  await feed.start(socket);
  const registry = membershipMetrics(agent, feed);
  const server = admin === null ? null : Bun.serve({
    hostname: admin.address,
    port: admin.port,
    fetch: statusPages(agent, registry).fetch,
  });
  log.info({ host_id: id, port: agent.port, socket }, "membership agent runs");
  log.info({ signal: await asked }, "leaving");
  await server?.stop(true);
  await agent.stop();
  await feed.stop();
} catch (error) {
  const hint = error instanceof GodwitError ? error.hint : null;
  log.fatal({ err: error, hint }, "the membership agent failed");
  process.exit(1);
}
process.exit(0);

function readConfig(): MembershipConfig {
  const { values } = parseArgs({ options: { config: { type: "string" } }, strict: false });
  const path = values.config;
  if (typeof path !== "string") {
    process.stderr.write("usage: bun control/membership/main.ts --config PATH\n");
    process.exit(2);
  }
  try {
    const parsed = MembershipConfig.parse(JSON.parse(readFileSync(path, "utf8")));
    const { address } = parsed.listen;
    if (parsed.advertise === undefined && (address === "0.0.0.0" || address === "::")) {
      throw new Error("`listen` is every address; say in `advertise` which one the others reach");
    }
    return parsed;
  } catch (error) {
    log.fatal({ reason: messageOf(error) }, `cannot use configuration ${path}`);
    process.exit(2);
  }
}
