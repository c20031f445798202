/**
 * A real agent for tests: `bun agent.fixture.ts CONFIG [KIND:STEP:WHEN]`. With a boundary named, the process kills itself
 * with SIGKILL exactly there, the first time it gets there; without, it leaves on SIGTERM. Says `up` when it serves.
 */
import { pino } from "pino";
import { WorkerConfig } from "../contract/process-config.ts";
import { startAgent } from "./agent.ts";

const [configFile, killAt] = process.argv.slice(2);
const config = WorkerConfig.parse(await Bun.file(configFile!).json());
const log = pino({ base: null, level: "debug" }, pino.destination({ dest: 2, sync: true }));
const agent = await startAgent({
  config,
  log,
  onBoundary: (kind, step, when) => {
    if (`${kind}:${step}:${when}` === killAt) process.kill(process.pid, "SIGKILL");
  },
});
process.stdout.write("up\n");
process.once("SIGTERM", async () => {
  await agent.stop();
  process.exit(0);
});
