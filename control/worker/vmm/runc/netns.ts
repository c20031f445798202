/**
 * The container's network namespace: named, made first and removed last, so that it marks a machine of which anything
 * may be left. The worker's network module makes the veth; its other end, `NAMEp`, is moved in here.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { GodwitError } from "../../../contract/errors.ts";
import type { VmSpec } from "../driver.ts";
import { hostCommand } from "../host-command.ts";

const NETNS_FOLDER = "/run/netns";

/** What of `ip -json link show` matters here. */
interface Link {
  readonly ifname: string;
  readonly ifalias?: string;
}

export async function makeNetns(name: string, spec: VmSpec): Promise<void> {
  const purpose = `make the network namespace of machine ${spec.machineId}`;
  if (!isNetns(name)) {
    // What an `ip netns add` leaves that was killed between its two steps: a name without a namespace.
    rmSync(`${NETNS_FOLDER}/${name}`, { force: true });
    await hostCommand(["ip", "netns", "add", name], { purpose });
  }
  if (spec.link === null) return;
  const inside = spec.runConfig.network?.interface ?? "eth0";
  const peer = `${spec.link.name}p`;
  const isInside = async () => {
    const links = await hostCommand(["ip", "-netns", name, "-oneline", "link", "show"], { purpose });
    return new RegExp(`^\\d+: ${inside}@`, "m").test(links);
  };
  if (existsSync(`/sys/class/net/${peer}`)) {
    // The alias remembers its name on the host, to which removeNetns() gives it back.
    const move = ["netns", name, "name", inside, "address", spec.link.mac, "alias", peer];
    try {
      return void await hostCommand(["ip", "link", "set", "dev", peer, ...move], { purpose });
    } catch (error) {
      // An agent that was killed leaves its last `ip` running, which may have moved it since we looked.
      if (await isInside()) return;
      throw error;
    }
  }
  // A start that was cut off may have moved it already.
  if (await isInside()) return;
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

/** Gives the link's end back first: with its namespace it would die, and the host's end with it, which is not ours. */
export async function removeNetns(name: string): Promise<void> {
  if (!isNetns(name)) {
    rmSync(`${NETNS_FOLDER}/${name}`, { force: true });
    return;
  }
  const purpose = `remove the network namespace ${name}`;
  const links = JSON.parse(
    await hostCommand(["ip", "-netns", name, "-json", "link", "show"], { purpose }),
  ) as Link[];
  for (const { ifname, ifalias } of links) {
    if (ifalias === undefined) continue;
    const back = ["netns", String(process.pid), "name", ifalias];
    await hostCommand(["ip", "-netns", name, "link", "set", "dev", ifname, "down", ...back], { purpose });
  }
  await hostCommand(["ip", "netns", "delete", name], { purpose });
}

/** A named network namespace is a file with the namespace mounted over it (ip-netns(8)). */
function isNetns(name: string): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8").includes(` ${NETNS_FOLDER}/${name} `);
}

/** Half-made ones, too. */
export function netnsNames(): string[] {
  return existsSync(NETNS_FOLDER) ? readdirSync(NETNS_FOLDER) : [];
}
