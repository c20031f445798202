/**
 * The edge's process: a node of a fleet (`--config PATH`), an edge by itself (`--from … --to …`), a replicator alone
 * (`replica …`), or a relay of state streams (`relay-stream …`). SIGTERM and SIGINT drain an edge; it then exits with 0. SIGHUP opens the access log anew, for logrotate,
 * and reads the certificate files again; with workers (`workers/`) it replaces them one by one, which also takes new
 * settings and new code.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { GodwitError, messageOf } from "../control/contract/errors.ts";
import { EdgeConfig } from "../control/contract/process-config.ts";
import { startEdge } from "./edge.ts";
import { REPLICA_USAGE, replicateOptions } from "./replicate/options.ts";
import { replicate } from "./replicate/replicate.ts";
import { loadRuntime } from "./runtime/runtime.ts";
import { parseOptions, standaloneConfig, USAGE } from "./standalone/options.ts";
import { RELAY_STREAM_USAGE, relayStreamOptions } from "./stream-relay/options.ts";
import { relayStream } from "./stream-relay/relay-stream.ts";
import { supervise } from "./workers/supervise.ts";
import { isWorker, runWorker } from "./workers/worker.ts";

async function readConfig(path: string): Promise<EdgeConfig> {
  const hint = "See EdgeConfig in control/contract/process-config.ts.";
  try {
    const parsed = EdgeConfig.safeParse(JSON.parse(await readFile(path, "utf8")));
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw new Error(`${issue?.path.join(".")}: ${issue?.message}`);
  } catch (error) {
    throw new GodwitError("edge.config_invalid", `Cannot use configuration ${path}: ${messageOf(error)}`, {
      fault: "us",
      hint,
      cause: error,
    });
  }
}

const log = pino({ name: "edge", base: { pid: process.pid } }, pino.destination({ dest: 2, sync: true }));
/** For a person at a command line; the others go to the log. */
const SAID_CODES = [
  "edge.option_invalid",
  "redis.url_invalid",
  "edge.password_in_argv",
  "edge.password_file_unusable",
  "edge.admin_unusable",
];
try {
  const [, , command, ...rest] = process.argv;
  if (command === "replica") await runReplica(rest);
  else if (command === "relay-stream") await runStreamRelay(rest);
  else await runEdge(process.argv.slice(2));
} catch (error) {
  const known = error instanceof GodwitError;
  if (known && SAID_CODES.includes(error.code)) {
    console.error(`${error.message}\n  ${error.hint}`);
    process.exit(2);
  }
  log.fatal({ code: known ? error.code : undefined, hint: known ? error.hint : undefined }, messageOf(error));
  process.exit(1);
}

async function runEdge(argv: readonly string[]): Promise<void> {
  const options = parseOptions(argv);
  if (options.help || argv.length === 0) {
    console.log(USAGE);
    process.exit(options.help ? 0 : 2);
  }
  const { config: path } = options;
  const configOf = () => path === undefined ? standaloneConfig(options) : readConfig(path);
  const config = await configOf();
  if (isWorker()) await runWorker(config, await loadRuntime(), log);
  else if (config.workers !== undefined) {
    await supervise(config, configOf, fileURLToPath(import.meta.url), log);
  } else await runAlone(config);
}

async function runReplica(argv: readonly string[]): Promise<void> {
  const options = await replicateOptions(argv);
  if (options === null) return console.log(REPLICA_USAGE);
  log.level = options.settings.logLevel;
  await replicate(options, await loadRuntime(), log);
  process.exit(0);
}

async function runStreamRelay(argv: readonly string[]): Promise<void> {
  const options = await relayStreamOptions(argv);
  if (options === null) return console.log(RELAY_STREAM_USAGE);
  log.level = options.logLevel;
  await relayStream(options, log);
  process.exit(0);
}

async function runAlone(config: EdgeConfig): Promise<void> {
  const edge = await startEdge(config, await loadRuntime(), log);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log.info({ signal }, "draining");
      void edge.stop().then(() => process.exit(0));
    });
  }
  process.on("SIGHUP", () => {
    edge.tls.load().catch((error) => {
      log.error({ err: messageOf(error) }, "cannot read the certificates anew; the old ones stay in use");
    });
    edge.accessLog.reopen().catch((error) => {
      log.error({ err: messageOf(error) }, "cannot open the access log anew; the old file stays in use");
    });
  });
}
