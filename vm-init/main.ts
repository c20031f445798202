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
import { nameMachine } from "./boot/hostname.ts";
import { Life, skip } from "./boot/life.ts";
import { setLimits } from "./boot/limits.ts";
import { mountKernelFilesystems } from "./boot/mounts.ts";
import { setUpNetwork } from "./boot/network.ts";
import { mountOverlayRoot, type OverlayRoot } from "./boot/overlay-root.ts";
import { powerOff, settleDisks } from "./boot/power-off.ts";
import { detectMode, readRunConfig } from "./boot/run-config.ts";
import { spawnApp } from "./boot/spawn.ts";
import { supervise } from "./boot/supervise.ts";
import { switchRoot } from "./boot/switch-root.ts";
import { findUser } from "./boot/user.ts";
import { countOomKills } from "./child/cgroup.ts";
import { killAll, Stopper } from "./child/stop.ts";
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
const execs = new Execs();
const freezer = new Freezer();
const channel = new ControlChannel(new ControlServer({ life, log, stopper, execs, freezer }), mode);
let root: OverlayRoot | undefined;

process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
await boot().catch(fail);

async function boot(): Promise<void> {
  const drivers = () => skip("the container's driver did it");
  const config = await life.step("run-config", () => readRunConfig(mode));
  await life.step("mounts", () => inContainer ? drivers() : mountKernelFilesystems());
  root = await life.step("overlay-root", () => inContainer ? drivers() : mountOverlayRoot());
  await life.step("switch-root", () => root === undefined ? drivers() : switchRoot(root.folder));
  await life.step("volumes", () => skip("the run configuration has no volumes"));
  await life.step("files", () => skip("the run configuration has no files"));
  await life.step("network", () => setUpNetwork(config.network));
  await life.step("hostname", () => nameMachine(config));
  const user = await life.step("user", () => findUser(config.image.user));
  const placed = await life.step("limits", () => setLimits(mode, config.limits));
  await life.step("control-api", () => channel.open());
  heedSignals(config.stop);
  const oomKills = countOomKills();
  const child = await life.step("spawn", () => spawnApp(config, user, log, placed));
  if (root !== undefined) freezer.disks = [root.layerFd];
  execs.open({ config, placed });
  life.running(child.pid);
  stopper.started(child.pid);
  say(`pid ${child.pid} at ${uptimeS()} s, first step at ${startedAtS} s (ms: ${stepsInWords(life.steps)})`);
  const exit = await life.step("supervise", () => supervise(child, stopper, log, oomKills));
  execs.close();
  life.ended(exit);
  freezer.close();
  await settleDisks(root?.layerFd ?? null);
  await life.acknowledged(EXIT_ACK_WAIT_MS);
  powerOff(mode, STATUS_OK);
}

/** Says the step, the operands and the reason, on the console and to the worker, then powers off. */
async function fail(error: unknown): Promise<never> {
  if (life.phase === "failed") powerOff(mode, STATUS_FAILED);
  sayFailure(life.failed(error));
  try {
    if (life.pid !== null) killAll();
    await channel.open();
    freezer.close();
    await settleDisks(root?.layerFd ?? null);
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
