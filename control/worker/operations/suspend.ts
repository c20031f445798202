/**
 * Puts a machine to sleep: its memory is saved on the host's disk, its VM and its link go. A start of it goes on where it
 * was (start.ts). Where its memory cannot be saved, a full disk most often, it goes on running as if nobody had asked.
 * Once saved there is only the way forward: what is left of the VM is also the sweep's to find.
 */
import { GodwitError } from "../../contract/errors.ts";
import { type Host, remainsOf } from "../host.ts";
import { linkOf } from "../store/links.ts";
import { moveMachine } from "../store/machines.ts";
import type { Operation, StepContext } from "./operation.ts";
import { watcherOf } from "./stop.ts";

export function suspend(host: Host): Operation {
  const { store, config } = host;
  return {
    kind: "suspend",
    onFailure: "retry",
    resumeAt: "intended",
    lane: "ordinary",
    steps: [
      // One try: each pauses the guest, and what failed it is most often still there a second later.
      { name: "save", triesMax: 1, run: (context) => save(host, context) },
      {
        name: "clean",
        run: async ({ machineId }) => {
          await host.driver.clean(remainsOf(config, machineId));
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
    done: ({ machineId }) => {
      moveMachine(store, machineId, "suspended", { started_at_ms: null, reason: null });
      host.logs.system(machineId, "suspended");
    },
    failed: ({ machineId, memory }, error) => {
      if (memory.saved === true) {
        moveMachine(store, machineId, "suspended", { started_at_ms: null, reason: error.message });
        return host.logs.system(
          machineId,
          `suspended, and not all of it could be cleared away: ${error.message}`,
        );
      }
      moveMachine(store, machineId, "suspend_failed", { desired: "started", reason: error.message });
      host.logs.system(machineId, `was not suspended: ${error.message}`);
    },
  };
}

async function save(host: Host, context: StepContext): Promise<void> {
  const { machineId, signal } = context;
  const watcher = await watcherOf(host, machineId);
  if (watcher !== null) {
    const begun = performance.now();
    await watcher.vm.suspend(signal);
    // At once, whoever takes this operation's place: nobody is to take a VM that has ended for one that runs.
    host.watchers.close(machineId);
    host.metrics.suspendSeconds.observe((performance.now() - begun) / 1_000);
  } else if (!host.driver.isSuspended(remainsOf(host.config, machineId))) {
    throw new GodwitError("vmm.gone", `Cannot suspend machine ${machineId}: its VM is gone`, { fault: "us" });
  }
  context.remember({ saved: true });
}
