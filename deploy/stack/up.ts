/**
 * The life of `up`, top to bottom. Each step can be repeated and does nothing where its work is done, so that `up` after a
 * crash, a reboot or an upgrade is the same as `up`. A failed or interrupted one takes down what it started.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { ApiClient } from "../../control/cli/api-client.ts";
import { GodwitError } from "../../control/contract/errors.ts";
import { HostView } from "../../control/contract/worker-api.ts";
import { chooseRanges, takenRoutes } from "../../control/worker/network/range.ts";
import { buildGuest } from "../images/build.ts";
import { installMissing } from "../setup/install.ts";
import { missingPackages, whichCommand } from "../setup/packages.ts";
import { type CliFile, isFresh, readCli, writeCli } from "./cli-file.ts";
import { checkMachine } from "./doctor.ts";
import { endServers, takeDown } from "./down.ts";
import {
  buildExample,
  deployExample,
  EXAMPLE_APP,
  exampleContent,
  isDeployed,
  waitForAnswer,
} from "./example.ts";
import type { Home } from "./home.ts";
import {
  type HomeRecord,
  newHomeRecord,
  readHomeRecord,
  secretsOf,
  type Vmm,
  writeHomeRecord,
} from "./home-record.ts";
import { liveRecords } from "./identity.ts";
import { takeLock } from "./lock.ts";
import { PART_NAMES } from "./parts.ts";
import { planPorts, type PortPlan } from "./ports.ts";
import {
  configFileOf,
  type Elsewhere,
  elsewhereFromEnvironment,
  registryAuthFileOf,
  registryHostOf,
  writeProcessFiles,
} from "./process-files.ts";
import { requireRoot } from "./require-root.ts";
import { type Steps } from "./steps.ts";
import { askSupervisor, partRuns, spawnSupervisor } from "./supervisor-client.ts";

export interface UpOptions {
  readonly vmm: Vmm | null;
  readonly portBase: number | null;
  readonly mayInstall: boolean;
}

export interface UpAnswer {
  readonly app_url: string;
  readonly api_url: string;
  readonly token: string;
  readonly home: string;
  readonly regions: readonly string[];
  readonly logs: string;
  /** What runs the machines; null where the worker did not say. */
  readonly vmm: { readonly name: string; readonly acceleration: string } | null;
  readonly already_running: boolean;
  readonly steps: readonly { step: string; ms: number }[];
  /** What the example says of itself; null where nothing had to be done. */
  readonly example: Record<string, unknown> | null;
}

const HOST_ANSWER_WAIT_MS = 3_000;

export async function up(home: Home, options: UpOptions, steps: Steps): Promise<UpAnswer> {
  requireRoot(process.getuid?.(), missingPackages({ forCheck: false, which: whichCommand }));
  const before = await runningAnswer(home, options);
  if (before !== null) return before;
  const lock = await takeLock(home.runFolder, { interrupt: false, command: "up" });
  const interrupted = interruption();
  try {
    return await Promise.race([start(home, options, steps, interrupted.signal), interrupted.promise]);
  } catch (error) {
    if (await askSupervisor(home) !== null || liveRecords(home.runFolder).length > 0) {
      const cleaning = takeDown(home, steps);
      await cleaning.catch((failure) => steps.line(`could not take all down again: ${failure}`));
    } else forgetUnused(home.runFolder);
    throw error;
  } finally {
    interrupted.end();
    lock.release();
  }
}

async function start(home: Home, options: UpOptions, steps: Steps, signal: AbortSignal): Promise<UpAnswer> {
  const step: Steps["run"] = (name, work) => {
    signal.throwIfAborted();
    return steps.run(name, work);
  };
  const elsewhere = elsewhereFromEnvironment();
  await step("leftovers", () => clearLeftovers(home, steps));
  const record = openHome(home, options);
  const ports = planPorts(record.port_base);
  await step("machine", () => checkMachine(home, ports, skippedPorts(elsewhere)));
  await step("packages", () => packages(options.mayInstall, (line) => steps.line(line)));
  await step("guest images", (say) => prepare(home, record, ports, elsewhere, say));
  await spawnSupervisor(home, signal);
  for (const part of PART_NAMES) {
    if (part === "postgres" && elsewhere.databaseUrl !== null) continue;
    if (part === "redis" && elsewhere.redisUrl !== null) continue;
    await step(part, () => partRuns(home, part).then((status) => `pid ${status.pid}`));
  }
  const cli = await step("token", () => makeCliFile(home, ports));
  const api = new ApiClient({ url: cli.api_url, token: cli.token });
  const content = exampleContent();
  if (record.example !== content || !await isDeployed(api)) {
    const image = await step("example image", (say) => buildExample(home, ports, say));
    await step("example deploy", (say) => deployExample(api, image, say));
  }
  const example = await step("example answers", () => waitForAnswer(ports, api));
  writeHomeRecord(home, { ...record, example: content });
  return answerOf(home, record, cli, ports, { example, steps: steps.timings, already_running: false });
}

/** The answer of a stack that is up and complete; null where there is something to do. */
async function runningAnswer(home: Home, options: UpOptions): Promise<UpAnswer | null> {
  const record = readHomeRecord(home);
  const cli = readCli(home);
  if (record === null || cli === null || record.example === null) return null;
  if ((await askSupervisor(home))?.state !== "running") return null;
  if (options.portBase !== null && options.portBase !== record.port_base) {
    throw runsWithOther("port base", record.port_base, options.portBase);
  }
  if (options.vmm !== null && options.vmm !== record.vmm) throw runsWithOther("VMM", record.vmm, options.vmm);
  return answerOf(home, record, cli, planPorts(record.port_base), {
    example: null,
    steps: [],
    already_running: true,
  });
}

function runsWithOther(what: string, now: string | number, wanted: string | number): GodwitError {
  return new GodwitError("stack.runs_otherwise", `The stack runs with ${what} ${now}, not ${wanted}`, {
    fault: "client",
    hint: "take it down first: bun run down",
  });
}

async function answerOf(
  home: Home,
  record: HomeRecord,
  cli: CliFile,
  ports: PortPlan,
  more: Pick<UpAnswer, "example" | "steps" | "already_running">,
): Promise<UpAnswer> {
  return {
    app_url: `http://${EXAMPLE_APP}.localhost:${ports.edge}/`,
    api_url: cli.api_url,
    token: cli.token,
    home: home.folder,
    regions: [record.region],
    logs: home.logs,
    vmm: await vmmOf(home),
    ...more,
  };
}

async function vmmOf(home: Home): Promise<UpAnswer["vmm"]> {
  try {
    const answer = await fetch("http://worker/v1/host", {
      unix: home.workerSocket,
      signal: AbortSignal.timeout(HOST_ANSWER_WAIT_MS),
    });
    const host = HostView.parse(await answer.json());
    return { name: host.vmm, acceleration: host.acceleration };
  } catch {
    return null; // the stack is up all the same; `status` tells more
  }
}

/** An earlier stack of this home whose supervisor is gone, or which never got through: ends its servers, keeps its VMs. */
async function clearLeftovers(home: Home, steps: Steps): Promise<string> {
  const supervisor = await askSupervisor(home);
  const records = liveRecords(home.runFolder);
  if (supervisor === null && records.length === 0) return "";
  steps.line(`  an earlier \`up\` left ${records.map((record) => record.name).join(", ")} running`);
  return await endServers(home);
}

function openHome(home: Home, options: UpOptions): HomeRecord {
  const known = readHomeRecord(home);
  const record = {
    ...(known ?? newHomeRecord(new Date())),
    ...(options.portBase === null ? {} : { port_base: options.portBase }),
    ...(options.vmm === null ? {} : { vmm: options.vmm }),
  };
  planPorts(record.port_base);
  writeHomeRecord(home, record);
  mkdirSync(home.logs, { recursive: true, mode: 0o700 });
  mkdirSync(home.runFolder, { recursive: true, mode: 0o700 });
  writeFileSync(join(home.runFolder, "home"), `${home.folder}\n`, { mode: 0o600 });
  return record;
}

function skippedPorts(elsewhere: Elsewhere): (keyof PortPlan)[] {
  return [
    ...(elsewhere.databaseUrl === null ? [] : ["postgres" as const]),
    ...(elsewhere.redisUrl === null ? [] : ["redis" as const]),
  ];
}

async function packages(mayInstall: boolean, say: (line: string) => void): Promise<string> {
  const installed = await installMissing({ forCheck: false, mayInstall, say });
  return installed.length === 0 ? "" : `installed ${installed.map((p) => p.name).join(" ")}`;
}

async function prepare(
  home: Home,
  record: HomeRecord,
  ports: PortPlan,
  elsewhere: Elsewhere,
  say: (line: string) => void,
): Promise<void> {
  record.ranges ??= chooseRanges(home.hash, await takenRoutes());
  writeHomeRecord(home, record);
  const guest = await buildGuest({ folder: home.guest, onStep: say });
  writeProcessFiles({ home, record, secrets: secretsOf(home), ports, elsewhere, guest });
}

/** The operator's token, made by the operator's tool, as on a fleet. */
async function makeCliFile(home: Home, ports: PortPlan): Promise<CliFile> {
  const known = readCli(home);
  const token = known !== null && isFresh(known.token, new Date()) ? known.token : await issueToken(home);
  const file: CliFile = {
    schema: 1,
    api_url: `http://127.0.0.1:${ports.api}`,
    edge_admin_url: `http://127.0.0.1:${ports.edge_admin}`,
    replica_socket: home.replicaSocket,
    token,
    registry: { host: registryHostOf(ports), auth_file: registryAuthFileOf(home) },
  };
  writeCli(home, file);
  return file;
}

async function issueToken(home: Home): Promise<string> {
  const issuer = resolve(import.meta.dir, "../../control/access/issue.ts");
  const argv = [process.execPath, issuer, "--config", configFileOf(home, "control"), "--expires-in", "365d"];
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [output, errors, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) {
    throw new GodwitError("stack.token", `Cannot make an access token: ${errors.trim()}`, { fault: "us" });
  }
  return (JSON.parse(output) as { token: string }).token;
}

/** A run folder that holds no more than what taking the lock and opening the home put there. */
function forgetUnused(runFolder: string): void {
  const unused = readdirSync(runFolder).every((name) => name === "lock" || name === "home");
  if (unused) rmSync(runFolder, { recursive: true });
}

/** Rejects, and aborts its signal, at the first SIGINT, SIGTERM or SIGHUP. */
function interruption() {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {}); // only the race listens; without a race there is nothing to tell
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    const error = new GodwitError("stack.interrupted", `Interrupted by ${name}`, {
      fault: "client",
      retryable: true,
    });
    controller.abort(error);
    reject(error);
  };
  const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  // `on`, not `once`: a second ctrl-c must not cut the cleaning short.
  for (const name of names) process.on(name, onSignal);
  const end = () => {
    for (const name of names) process.off(name, onSignal);
  };
  return { promise, signal: controller.signal, end };
}
