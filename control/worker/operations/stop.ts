/**
 * Brings a machine to rest: asks the guest, waits for the exit, makes sure that nothing of the VM is left. The same
 * operation ends a machine whose process or VM ended by itself, and one that is suspended; then there is nobody to ask.
 */
import { z } from "zod";
import { GuestExit } from "../../contract/guest-api.ts";
import type { MachineExit } from "../../contract/machine.ts";
import { within } from "../backoff.ts";
import { type Host, remainsOf } from "../host.ts";
import { linkOf } from "../store/links.ts";
import { getMachine, type Machine, moveMachine } from "../store/machines.ts";
import { stopSignalOf } from "../vm-spec.ts";
import type { Watcher } from "../watch.ts";
import type { Operation, StepContext } from "./operation.ts";

/** The guest's own patience ends first: this is for its flush, its power off and a slow host. */
export const STOP_GRACE_MS = 5_000;
/** After its exit a VM is waited for this long, then its VMM is killed. */
export const VMM_GONE_WAIT_MS = 10_000;
const ASK_WAIT_MS = 3_000;
/** For lines that the process wrote just before its end; the guest itself waits EXIT_ACK_WAIT_MS. */
const LAST_LINES_WAIT_MS = 2_000;

export const StopInput = z.object({
  requested: z.boolean(),
  signal: z.string().nullable(),
  timeout_s: z.number().nullable(),
  /** Known where the process ended by itself. */
  exit: GuestExit.nullable(),
  /** Known where the VM is gone without a word. */
  reason: z.string().nullable(),
});
export type StopInput = z.infer<typeof StopInput>;

export function stop(host: Host): Operation {
  const { store, config } = host;
  return {
    kind: "stop",
    onFailure: "retry",
    resumeAt: "intended",
    lane: "ordinary",
    steps: [
      { name: "ask", run: (context) => ask(host, context) },
      { name: "exit", run: (context) => awaitExit(host, context) },
      {
        name: "acknowledge",
        run: async ({ machineId, signal }) => {
          const watcher = host.watchers.find(machineId);
          if (watcher === null) return;
          // Last words first: an acknowledged guest powers off at once.
          await within(watcher.drained, LAST_LINES_WAIT_MS, signal);
          // One that does not hear of it powers off all the same, EXIT_ACK_WAIT_MS later.
          await within(watcher.acknowledgeExit().catch(() => null), ASK_WAIT_MS, signal);
        },
      },
      {
        name: "gone",
        run: async ({ machineId, signal }) => {
          const watcher = await watcherOf(host, machineId);
          if (watcher !== null && await within(watcher.gone, VMM_GONE_WAIT_MS, signal) === null) {
            await watcher.vm.kill();
          }
          await host.driver.clean(remainsOf(config, machineId));
          await host.driver.forget(remainsOf(config, machineId));
          host.watchers.close(machineId);
        },
      },
      {
        name: "detach",
        run: async ({ machineId }) => {
          const index = linkOf(store, machineId);
          if (index !== null) await host.network.detach(index);
        },
      },
    ],
    done: (context) => {
      const exit = exitOf(context, store.now());
      moveMachine(store, context.machineId, "stopped", {
        last_exit: exit,
        reason: exit.reason,
        started_at_ms: null,
      });
      host.logs.system(context.machineId, sentenceOf(exit));
    },
    failed: ({ machineId }, error) => {
      moveMachine(store, machineId, "stop_failed", { reason: error.message, started_at_ms: null });
      host.logs.system(machineId, `did not stop: ${error.message}`);
    },
  };
}

/** The VM's watcher; after a restart of the agent the VM has to be found first. */
export async function watcherOf(host: Host, machineId: string): Promise<Watcher | null> {
  const found = host.watchers.find(machineId);
  if (found !== null) return found;
  const vm = await host.driver.adopt(remainsOf(host.config, machineId));
  return vm === null ? null : host.watchers.open(vm);
}

function timeoutSOf(machine: Machine, input: StopInput): number {
  return input.timeout_s ?? machine.spec.stop.timeout_s;
}

async function ask(host: Host, context: StepContext): Promise<void> {
  const { machineId, signal } = context;
  const input = StopInput.parse(context.input);
  if (input.exit !== null) return context.remember({ exit: input.exit });
  if (input.reason !== null) return;
  const watcher = await watcherOf(host, machineId);
  if (watcher === null) {
    const slept = host.driver.isSuspended(remainsOf(host.config, machineId));
    const reason = slept ? "it was suspended, and its memory is given up" : "there was no VM to be asked";
    return context.remember({ reason });
  }
  const machine = getMachine(host.store, machineId);
  const image = host.images.find(machine.spec.image.digest);
  const request = {
    signal: input.signal ?? stopSignalOf(machine, image),
    timeout_s: timeoutSOf(machine, input),
  };
  const status = await within(watcher.booted, ASK_WAIT_MS, signal);
  const asked = status === null
    ? false
    : await within(watcher.stop(request).then(() => true, () => false), ASK_WAIT_MS);
  if (asked === true || signal.aborted) return;
  // Not booted far enough to be asked, or deaf: there is nothing that it could lose by a harder end.
  context.remember({ reason: "the guest could not be asked to stop, so its VM was killed" });
  await watcher.vm.kill();
}

async function awaitExit(host: Host, context: StepContext): Promise<void> {
  const { machineId, signal, memory } = context;
  if (memory.exit !== undefined) return;
  const watcher = await watcherOf(host, machineId);
  const input = StopInput.parse(context.input);
  if (watcher === null) {
    const isTold = memory.reason !== undefined || input.reason !== null;
    return isTold ? undefined : context.remember({ reason: "the VM ended while no agent watched it" });
  }
  const timeout_s = timeoutSOf(getMachine(host.store, machineId), input);
  const exit = await within(watcher.exit, timeout_s * 1_000 + STOP_GRACE_MS, signal);
  if (exit !== null) return context.remember({ exit });
  if (signal.aborted || memory.reason !== undefined) return;
  const gone = await within(watcher.gone, 0);
  const reason = gone === null
    ? `the guest did not stop within ${timeout_s} s, so its VM was killed`
    : gone.reason ?? "the VM ended without telling how";
  context.remember({ reason });
  await watcher.vm.kill();
}

function exitOf(context: StepContext, nowMs: number): MachineExit {
  const input = StopInput.parse(context.input);
  const told = GuestExit.nullable().parse(context.memory.exit ?? input.exit);
  const reason = context.memory.reason ?? input.reason ?? null;
  return {
    exit_code: told?.exit_code ?? null,
    signal: told?.signal ?? null,
    oom_killed: told?.oom_killed ?? false,
    requested: input.requested,
    reason: reason === null ? null : String(reason).slice(0, 2_048),
    at_ms: told?.at_ms ?? nowMs,
  };
}

/** What the machine's log says of its end. */
export function sentenceOf(exit: MachineExit): string {
  if (exit.oom_killed) return "killed: the machine ran out of memory; give it a larger size";
  if (exit.signal !== null) return `ended by signal ${exit.signal}${exit.requested ? " as asked" : ""}`;
  if (exit.exit_code !== null) {
    return `exited with code ${exit.exit_code}${exit.requested ? " as asked" : ""}`;
  }
  return `ended: ${exit.reason ?? "it is not known how"}`;
}
