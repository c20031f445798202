/**
 * The first words with a guest. One that boots is waited for; one that was resumed runs already, and is told so: its clock
 * stands where it was, and its random numbers are those of the memory that was saved.
 */
import { randomBytes } from "node:crypto";
import type { GuestStatus } from "../contract/guest-api.ts";
import { within } from "./backoff.ts";
import type { Host } from "./host.ts";
import { isPatient, type Patience, RESUMED_PATIENCE } from "./patience.ts";
import { findMachine } from "./store/machines.ts";
import { cpuTimeMs, wantedMs } from "./vmm/process-stats.ts";
import type { Watcher } from "./watch.ts";

/** From the first word until the user's process runs; each guest step has its own shorter limits. */
export const BOOT_WAIT_MS = 60_000;
const PATIENCE_CHECK_MS = 500;
const ENTROPY_BYTES = 64;
/** A guest whose agent was killed before it could tell it of its resume is further off than this. */
const CLOCK_OFF_MS = 2_000;

/** How the boot ended, by the guest's own word; null where there was none in time or the VM is gone. */
export async function guestOf(
  watcher: Watcher,
  patience: Patience,
  signal: AbortSignal,
): Promise<GuestStatus | null> {
  const begun = performance.now();
  let isHeard = false;
  void watcher.hello.then(() => isHeard = true);
  while (!isHeard && !signal.aborted) {
    const waitedMs = performance.now() - begun;
    const { pid } = watcher.vm;
    if (!isPatient(patience, waitedMs, { cpuMs: cpuTimeMs(pid), wantedMs: wantedMs(pid) })) return null;
    await within(watcher.hello, Math.max(PATIENCE_CHECK_MS, patience.waitMs - waitedMs), signal);
  }
  return await within(watcher.booted, BOOT_WAIT_MS, signal);
}

/** Never rejects. A guest that says nothing has not come back: its VM is ended, and its restart policy says what follows. */
export async function greetResumed(host: Host, watcher: Watcher): Promise<void> {
  const { machineId } = watcher.vm;
  const patience = RESUMED_PATIENCE[host.probe.acceleration];
  if (await guestOf(watcher, patience, new AbortController().signal) !== null) {
    return await tellResumed(host, watcher);
  }
  const isStill = host.watchers.find(machineId) === watcher &&
    findMachine(host.store, machineId)?.state === "started";
  if (!isStill) return;
  host.metrics.silentBoots.inc();
  await watcher.endVm("the guest said nothing after it was resumed, so its VM was killed").catch((error) =>
    host.log.error({ machine: machineId, err: error }, "cannot kill a VM that is silent after its resume")
  );
}

/** Of a VM that was adopted. Never rejects. */
export async function correctClock(host: Host, watcher: Watcher): Promise<void> {
  const status = await watcher.hello;
  if (status !== null && Math.abs(status.clock_ms - host.store.now()) > CLOCK_OFF_MS) {
    await tellResumed(host, watcher);
  }
}

async function tellResumed(host: Host, watcher: Watcher): Promise<void> {
  const entropy = randomBytes(ENTROPY_BYTES).toString("base64");
  try {
    await watcher.resumed({ host_clock_ms: host.store.now(), entropy });
  } catch (error) {
    // It runs all the same: a guest that does not hear of it has an old clock, not a broken one.
    host.log.warn({ machine: watcher.vm.machineId, err: error }, "cannot tell the guest that it was resumed");
  }
}
