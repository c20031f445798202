/**
 * The container's network namespace: named, made first and removed last, so that it marks a machine of which anything
 * may be left. The worker's network module makes the veth; its other end, `NAMEp`, is moved in here.
 */
import { existsSync, readdirSync } from "node:fs";
import { GodwitError } from "../../../contract/errors.ts";
import type { VmSpec } from "../driver.ts";
import { hostCommand } from "../host-command.ts";

const NETNS_FOLDER = "/run/netns";

export async function makeNetns(name: string, spec: VmSpec): Promise<void> {
  const purpose = `make the network namespace of machine ${spec.machineId}`;
  if (!existsSync(`${NETNS_FOLDER}/${name}`)) await hostCommand(["ip", "netns", "add", name], { purpose });
  if (spec.link === null) return;
  const inside = spec.runConfig.network?.interface ?? "eth0";
  const peer = `${spec.link.name}p`;
  if (existsSync(`/sys/class/net/${peer}`)) {
    const move = ["netns", name, "name", inside, "address", spec.link.mac];
    await hostCommand(["ip", "link", "set", "dev", peer, ...move], { purpose });
    return;
  }
  // A start that was cut off may have moved it already.
  const links = await hostCommand(["ip", "-netns", name, "-oneline", "link", "show"], { purpose });
  if (new RegExp(`^\\d+: ${inside}@`, "m").test(links)) return;
  throw new GodwitError(
    "vmm.link_missing",
    `Cannot start machine ${spec.machineId}: there is no link ${peer}`,
    {
      fault: "us",
      retryable: true,
      hint: "the worker's network makes it before each start",
    },
  );
}

export async function removeNetns(name: string): Promise<void> {
  if (!existsSync(`${NETNS_FOLDER}/${name}`)) return;
  await hostCommand(["ip", "netns", "delete", name], { purpose: `remove the network namespace ${name}` });
}

export function netnsNames(): string[] {
  return existsSync(NETNS_FOLDER) ? readdirSync(NETNS_FOLDER) : [];
}
