/** How a host forwards now, read from its routes and from /proc/sys: what forwarding.ts decides upon. */
import { acceptRa, all6, conf4, conf6, force6, type HostForwarding, uplinksOf } from "./forwarding.ts";
import type { Kernel } from "./kernel.ts";
import { indexOf } from "./link.ts";

/** Linux 6.17 and later. */
export async function hasForceForwarding(kernel: Kernel): Promise<boolean> {
  return await kernel.readSysctl(force6("all")) !== null;
}

export async function readForwarding(kernel: Kernel, prefix: string): Promise<HostForwarding> {
  const canForce = await hasForceForwarding(kernel);
  const routes = await Promise.all([
    kernel.ipJson("-4", "route", "show", "default"),
    kernel.ipJson("-6", "route", "show", "default"),
  ]);
  const uplinks = uplinksOf(routes.flat()).filter((name) => indexOf(prefix, name) === null);
  const inet6 = canForce ? [] : (await kernel.ipv6Interfaces()).filter((name) => name !== "all");
  return {
    hasForceForwarding: canForce,
    ipForward: await kernel.readSysctl("net/ipv4/ip_forward"),
    ipv6AllForwarding: await kernel.readSysctl(all6),
    uplinks: await Promise.all(uplinks.map(async (name) => ({
      name,
      forwarding4: await kernel.readSysctl(conf4(name)),
      forceForwarding6: await kernel.readSysctl(force6(name)),
    }))),
    inet6: await Promise.all(inet6.map(async (name) => ({
      name,
      forwarding: await kernel.readSysctl(conf6(name)),
      acceptRa: await kernel.readSysctl(acceptRa(name)),
    }))),
  };
}
