/**
 * Attaches the machine's link, starts its VM and waits until the guest says that the user's process runs. A machine that
 * was suspended goes on with its memory, and is started as soon as it does: its process has run all along. Where its memory
 * cannot be taken up again it boots like any other. A guest that says nothing within its bound is killed and booted again, a bounded number of times (microvm guests under TCG hang now
 * and then); one that says which step failed is believed. A failed start leaves no VM and no link.
 */
import { mkdir } from "node:fs/promises";
import { GodwitError, messageOf } from "../../contract/errors.ts";
import type { GuestStatus } from "../../contract/guest-api.ts";
import { within } from "../backoff.ts";
import { type Host, machineRunFolder, remainsOf } from "../host.ts";
import { correctClock, greetResumed, guestOf } from "../greet.ts";
import { HELLO_PATIENCE } from "../patience.ts";
import { linkOf } from "../store/links.ts";
import { getMachine, moveMachine } from "../store/machines.ts";
import { bareAddress, linkRequestOf, vmSpecOf } from "../vm-spec.ts";
import type { Watcher } from "../watch.ts";
import type { Operation, StepContext } from "./operation.ts";

export const ATTEMPTS_MAX = 3;

export function start(host: Host): Operation {
  const { store, config } = host;
  return {
    kind: "start",
    onFailure: "undo",
    resumeAt: "first",
    lane: "boot",
    steps: [
      {
        name: "attach",
        run: async ({ machineId }) => {
          const request = linkRequestOf(host, getMachine(store, machineId));
          if (request !== null) await host.network.attach(request);
        },
        undo: async ({ machineId }) => {
          const index = linkOf(store, machineId);
          if (index !== null) await host.network.detach(index);
        },
      },
      {
        name: "boot",
        run: async (context) => void await boot(host, context),
        undo: ({ machineId }) => endVm(host, machineId),
      },
      {
        name: "hello",
        run: (context) => awaitGuest(host, context),
        undo: ({ machineId }) => endVm(host, machineId),
      },
    ],
    done: ({ machineId, memory }) => {
      const isResumed = memory.resumed === true;
      const machine = getMachine(store, machineId);
      const request = linkRequestOf(host, machine);
      const link = request === null ? null : host.network.addressesOf(request);
      const patch = {
        started_at_ms: store.now(),
        reason: null,
        address4: link === null ? null : bareAddress(link.address4),
        address6: link === null ? null : bareAddress(link.address6),
      };
      moveMachine(store, machineId, "booted", patch, isResumed ? { type: "resume" } : {});
      host.logs.system(machineId, isResumed ? "resumed" : "started");
    },
    failed: ({ machineId }, error) => {
      const exit = {
        exit_code: null,
        signal: null,
        oom_killed: false,
        requested: false,
        reason: error.message.slice(0, 2_048),
        at_ms: store.now(),
      };
      moveMachine(store, machineId, "boot_failed", {
        reason: error.message,
        last_exit: exit,
        desired: "stopped",
        started_at_ms: null,
      });
      host.logs.system(machineId, `did not start: ${error.message}`);
    },
  };

  async function endVm(host: Host, machineId: string): Promise<void> {
    await host.watchers.find(machineId)?.vm.kill();
    await host.driver.clean(remainsOf(config, machineId));
    host.watchers.close(machineId);
  }
}

/** The VM of this try: the one that runs already, or a new one. */
async function boot(host: Host, context: StepContext): Promise<Watcher> {
  const { machineId, memory } = context;
  const found = host.watchers.find(machineId);
  if (found !== null) return found;
  await mkdir(machineRunFolder(host.config, machineId), { recursive: true, mode: 0o700 });
  const adopted = await host.driver.adopt(remainsOf(host.config, machineId));
  if (adopted !== null) return host.watchers.open(adopted);
  const resumed = await resume(host, context);
  if (resumed !== null) return resumed;
  // Of an earlier agent's try, whose VM is gone again: this one boots.
  if (memory.resumed === true) context.remember({ resumed: false });
  const spec = vmSpecOf(host, getMachine(host.store, machineId), Number(memory.attempt ?? 0));
  host.logs.restart(machineId);
  return host.watchers.open(await host.driver.start(spec));
}

/** The VM of a machine that was suspended, where it was; null where there is nothing to go on from. */
async function resume(host: Host, context: StepContext): Promise<Watcher | null> {
  const { machineId } = context;
  if (!host.driver.isSuspended(remainsOf(host.config, machineId))) return null;
  const begun = performance.now();
  try {
    const vm = await host.driver.resume(vmSpecOf(host, getMachine(host.store, machineId), 0));
    host.metrics.resumeSeconds.observe((performance.now() - begun) / 1_000);
    host.metrics.resumes.inc({ outcome: "resumed" });
    // An agent that is killed before this is kept finds it out by the guest's clock.
    context.note({ resumed: true });
    return host.watchers.open(vm);
  } catch (error) {
    host.metrics.resumes.inc({ outcome: "booted" });
    host.log.warn({ machine: machineId, err: error }, "cannot resume the machine; it boots anew");
    host.logs.system(
      machineId,
      `its memory could not be taken up again, so it boots anew: ${messageOf(error)}`,
    );
    return null;
  }
}

async function awaitGuest(host: Host, context: StepContext): Promise<void> {
  const { machineId, signal } = context;
  for (;;) {
    const begun = performance.now();
    const watcher = await boot(host, context);
    if (context.memory.resumed === true) return void greetResumed(host, watcher);
    const status = await guestOf(watcher, HELLO_PATIENCE[host.probe.acceleration], signal);
    if (signal.aborted) return;
    if (status !== null) {
      host.metrics.bootSeconds.observe((performance.now() - begun) / 1_000);
      // One that an earlier agent resumed, and could not keep that it had.
      void correctClock(host, watcher);
      return believe(machineId, status);
    }
    const attempt = Number(context.memory.attempt ?? 0) + 1;
    // Where the VMM has ended by itself, it or the console may say why; then another try would end alike.
    const exit = await within(watcher.gone, 0);
    const reason = exit?.reason ?? null;
    if (reason !== null) throw bootFailed(machineId, reason);
    if (attempt >= ATTEMPTS_MAX) throw silent(host, machineId, attempt, await watcher.vm.consoleTail());
    host.metrics.silentBoots.inc();
    host.logs.system(machineId, `the guest said nothing; trying again (${attempt + 1} of ${ATTEMPTS_MAX})`);
    await watcher.vm.kill();
    await host.driver.clean(remainsOf(host.config, machineId));
    host.watchers.close(machineId);
    context.remember({ attempt, resumed: false });
  }
}

/** A process that has ended already was started none the less: its exit is told by the stop that follows. */
function believe(machineId: string, status: GuestStatus): void {
  if (status.phase !== "failed") return;
  const { failure } = status;
  throw bootFailed(
    machineId,
    failure === null ? "no step was named" : `step ${failure.step}: ${failure.message}`,
  );
}

function bootFailed(machineId: string, reason: string): GodwitError {
  return new GodwitError(
    "machine.boot_failed",
    `Cannot start machine ${machineId}: its boot failed: ${reason}`,
    {
      fault: /\b(?:spawn|user)\b/.test(reason) ? "app" : "us",
      hint: "see the machine's logs",
    },
  );
}

function silent(host: Host, machineId: string, attempts: number, console_: string): GodwitError {
  const last = console_.trimEnd().split("\n").at(-1)?.trim() ?? "";
  return new GodwitError(
    "machine.guest_silent",
    `Cannot start machine ${machineId}: its guest did not come up in ${attempts} tries of at least ` +
      `${HELLO_PATIENCE[host.probe.acceleration].waitMs / 1_000} s` +
      (last === "" ? "" : `; its console ends with: ${last}`),
    { fault: "us", retryable: true, hint: "see the machine's console below the worker's state folder" },
  );
}
