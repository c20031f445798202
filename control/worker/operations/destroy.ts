/** Removes all that a machine is, whatever state it was in and whatever was under way. Asks nobody. */
import { rm } from "node:fs/promises";
import { type Host, machineFolder, machineRunFolder, remainsOf } from "../host.ts";
import { freeLink, linkOf } from "../store/links.ts";
import { moveMachine } from "../store/machines.ts";
import { deleteOfferOf } from "../store/offers.ts";
import type { Operation } from "./operation.ts";

export function destroy(host: Host): Operation {
  const { store, config } = host;
  return {
    kind: "destroy",
    onFailure: "retry",
    resumeAt: "intended",
    lane: "ordinary",
    steps: [
      {
        name: "kill",
        run: async ({ machineId }) => {
          await host.watchers.find(machineId)?.vm.kill();
          host.watchers.close(machineId);
        },
      },
      // Finds the VM by its remains where no watcher knew it (an agent that has just come back).
      {
        name: "clean",
        run: async ({ machineId }) => {
          await host.driver.clean(remainsOf(config, machineId));
          await host.driver.forget(remainsOf(config, machineId));
        },
      },
      {
        name: "detach",
        run: async ({ machineId }) => {
          const index = linkOf(store, machineId);
          if (index !== null) await host.network.detach(index);
        },
      },
      {
        name: "folders",
        run: async ({ machineId }) => {
          await rm(machineRunFolder(config, machineId), { recursive: true, force: true });
          await rm(machineFolder(config, machineId), { recursive: true, force: true });
        },
      },
    ],
    done: ({ machineId }) => {
      host.logs.system(machineId, "destroyed");
      freeLink(store, machineId);
      deleteOfferOf(store, machineId);
      moveMachine(store, machineId, "destroyed", {
        address4: null,
        address6: null,
        started_at_ms: null,
        desired: "stopped",
        reason: null,
      });
    },
    // It stays `destroying`, and the housekeeping asks again.
    failed: ({ machineId }, error) =>
      host.log.error({ machine: machineId, err: error }, "cannot destroy machine"),
  };
}
