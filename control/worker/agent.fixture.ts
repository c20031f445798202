/**
 * A real agent for tests: `bun agent.fixture.ts CONFIG`. Where the file `kill-at` beside the configuration holds
 * KIND:STEP:WHEN, the process kills itself with SIGKILL exactly there, once. Leaves on SIGTERM. Says `up` when it serves.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { pino } from "pino";
import { WorkerConfig } from "../contract/process-config.ts";
import { startAgent } from "./agent.ts";

const configFile = process.argv[2]!;
const killFile = join(dirname(configFile), "kill-at");
const config = WorkerConfig.parse(await Bun.file(configFile).json());
const log = pino({ base: null, level: "debug" }, pino.destination({ dest: 2, sync: true }));
const agent = await startAgent({
  config,
  log,
  onBoundary: (kind, step, when) => {
    if (!existsSync(killFile) || readFileSync(killFile, "utf8") !== `${kind}:${step}:${when}`) return;
    rmSync(killFile);
    process.kill(process.pid, "SIGKILL");
  },
});
process.stdout.write("up\n");
process.once("SIGTERM", async () => {
  await agent.stop();
  process.exit(0);
});
