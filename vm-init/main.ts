/**
 * The life of a machine, from the first instruction of PID 1 to its power off. The steps and their order are DESIGN
 * section 8; each stands in its own file in boot/. Read this file from top to bottom.
 */
import { EXIT_ACK_WAIT_MS } from "../control/contract/guest-limits.ts";
import type { RunConfig } from "../control/contract/run-config.ts";
import { Execs } from "./api/execs.ts";
import { Freezer } from "./api/freezer.ts";
import { LogRing } from "./api/log-ring.ts";
import { ControlServer } from "./api/server.ts";
import { say, sayFailure, stepsInWords } from "./boot/console.ts";
import { ControlChannel } from "./boot/control-api.ts";
import { writeFiles } from "./boot/files.ts";
import { nameMachine } from "./boot/hostname.ts";
import { Life, skip } from "./boot/life.ts";
import { type Places, setLimits } from "./boot/limits.ts";
import { mountKernelFilesystems } from "./boot/mounts.ts";
import { setUpNetwork } from "./boot/network.ts";
import { mountOverlayRoot } from "./boot/overlay-root.ts";
import { type Disks, powerOff, settleDisks } from "./boot/power-off.ts";
import { askRestart } from "./boot/restart.ts";
import { resumed } from "./boot/resumed.ts";
import { callResumeHook } from "./boot/resume-hook.ts";
import { detectMode, readRunConfig } from "./boot/run-config.ts";
import { spawnApp, spawnProgram } from "./boot/spawn.ts";
import { supervise } from "./boot/supervise.ts";
import { addSwap } from "./boot/swap.ts";
import { switchRoot } from "./boot/switch-root.ts";
import { findUsers, giveVolumes } from "./boot/user.ts";
import { mountVolumes } from "./boot/volumes.ts";
import { countOoms } from "./child/ooms.ts";
import { killAll, Stopper } from "./child/stop.ts";
import type { User } from "./child/user.ts";
import { uptimeS } from "./system/clock.ts";
import { assert } from "./system/error.ts";
import { sendCtrlAltDelToInit } from "./system/machine.ts";

const STATUS_OK = 0;
const STATUS_FAILED = 1;

assert(
  process.pid === 1,
  `vm-init ends every process at its end, so it only runs as PID 1, not as ${process.pid}`,
);
const startedAtS = uptimeS();
const mode = detectMode();
const inContainer = mode === "container";
const life = new Life(() => performance.now());
const log = new LogRing(Date.now);
const stopper = new Stopper();
/** Calls the user's hook; there is none before the app runs. */
let callHook = () => {};
const execs = new Execs();
const freezer = new Freezer();
const channel = new ControlChannel(
  new ControlServer({
    life,
    log,
    stopper,
    execs,
    freezer,
    restart: (body) => askRestart(body, life, log),
    resumed: (body) => resumed(body, mode, () => callHook()),
  }),
  mode,
);
let disks: Disks = { swaps: [], volumes: [], layerFd: null };

process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
await boot().catch(fail);

async function boot(): Promise<void> {
  const drivers = () => skip("the container's driver did it");
  const config = await life.step("run-config", () => readRunConfig(mode));
  await life.step("mounts", () => inContainer ? drivers() : mountKernelFilesystems(config));
  const root = await life.step("overlay-root", () => inContainer ? drivers() : mountOverlayRoot());
  await life.step("switch-root", () => root === undefined ? drivers() : switchRoot(root.folder));
  disks = { ...disks, layerFd: root?.layerFd ?? null };
  const swap = await life.step("swap", () => addSwap(config.swap_mb, root));
  disks = { ...disks, swaps: swap === undefined ? [] : [swap] };
  const volumes = await life.step("volumes", () => inContainer ? drivers() : mountVolumes(config.volumes));
  disks = { ...disks, volumes: volumes ?? [] };
  await life.step("files", () => writeFiles(config.files));
  await life.step("network", () => setUpNetwork(config));
  await life.step("hostname", () => nameMachine(config));
  const users = await life.step("user", () => {
    const found = findUsers(config);
    if (!inContainer) giveVolumes(config.volumes, found[0]!);
    return found;
  });
  const places = await life.step("limits", () => setLimits(mode, config));
  await life.step("control-api", () => channel.open());
  heedSignals(config.stop);
  callHook = () =>
    callResumeHook(
      config.resume_hook,
      stopper,
      log,
      (argv) => spawnProgram(config, argv, config.env, users[0]!, log, places.app),
    );
  if (root !== undefined) freezer.disks = [root.layerFd];
  let restartAfterMs = await runApp(config, users, places);
  while (restartAfterMs !== null) {
    const isToRun = await life.isToRunAfter(restartAfterMs);
    if (!isToRun) noMoreRuns();
    restartAfterMs = isToRun ? await runApp(config, users, places) : await life.verdict(EXIT_ACK_WAIT_MS);
  }
  freezer.close();
  await settleDisks(disks);
  powerOff(mode, STATUS_OK);
}

/** One run of the user's processes, from the spawn to what the worker says of its end: the wait before the next, or null. */
async function runApp(config: RunConfig, users: User[], { app, command }: Places): Promise<number | null> {
  const ooms = countOoms();
  const children = await life.step("spawn", () => spawnApp(config, users, log, app));
  const pids = children.map(({ pid }) => pid);
  life.running(pids[0]!);
  stopper.started(pids);
  const steps = life.run === 0 ? stepsInWords(life.steps) : `restart ${life.run}`;
  say(`pid ${pids.join(", ")} at ${uptimeS()} s, first step at ${startedAtS} s (ms: ${steps})`);
  execs.open({ config, command });
  const exit = await life.step("supervise", () => supervise(children, config.stop, stopper, log, ooms));
  execs.close();
  life.ended(exit);
  return await life.verdict(EXIT_ACK_WAIT_MS);
}

/** A stop came before the next run began: that run ends as the one before it did. */
function noMoreRuns(): void {
  stopper.ended();
  log.add("system", "stopped before it was to run again");
  log.close();
  life.ended({ ...life.exit!, at_ms: Date.now() });
}

/** Says the step, the operands and the reason, on the console and to the worker, then powers off. */
async function fail(error: unknown): Promise<never> {
  if (life.phase === "failed") powerOff(mode, STATUS_FAILED);
  sayFailure(life.failed(error));
  try {
    killAll();
    await channel.open();
    freezer.close();
    await settleDisks(disks);
    await life.acknowledged(EXIT_ACK_WAIT_MS);
  } catch (second) {
    say(`and while reporting it: ${second}`);
  }
  powerOff(mode, STATUS_FAILED);
}

/** A stop from inside: ctrl-alt-del in a VM, a signal to PID 1 in a container. */
function heedSignals({ signal, timeout_s }: RunConfig["stop"]): void {
  if (!inContainer) sendCtrlAltDelToInit();
  for (const name of ["SIGINT", "SIGTERM", "SIGPWR"] as const) {
    process.on(name, () => {
      life.stopping();
      stopper.stop(signal, timeout_s);
    });
  }
}
