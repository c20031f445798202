/**
 * Which settings of the host let packets through between links and uplinks, and how they go back. The kernel asks the
 * interface a packet came in by, so each link needs its setting, and so does each uplink for the answers.
 *
 * IPv4 has `forwarding` an interface. IPv6 has `force_forwarding` an interface since Linux 6.17, which leaves the host's
 * way with router advertisements alone. An older kernel knows only one switch for all interfaces, and that makes the
 * host stop listening to its router where accept_ra is 1: there accept_ra goes to 2 first.
 *
 * What a stack switched on is remembered in sets of its table before it is done, and is put back when no other stack of
 * this host remembers it too. Where somebody else made the host a router (ip_forward), nothing is ours to put back.
 */
import type { MemorySet } from "./ruleset.ts";

export type Memory = Readonly<Record<MemorySet, ReadonlySet<string>>>;
export type Setting = readonly [name: string, value: string];

export interface Inet6Interface {
  readonly name: string;
  readonly forwarding: string | null;
  readonly acceptRa: string | null;
}

export interface HostForwarding {
  readonly ipForward: string | null;
  readonly ipv6AllForwarding: string | null;
  /** Interfaces of default routes, and what they are set to. */
  readonly uplinks: readonly {
    readonly name: string;
    readonly forwarding4: string | null;
    /** null: this kernel has no such setting. */
    readonly forceForwarding6: string | null;
  }[];
  /** All interfaces, `default` too; needed only where the kernel has no force_forwarding. */
  readonly inet6: readonly Inet6Interface[];
  readonly hasForceForwarding: boolean;
}

export interface Opening {
  readonly remember: Memory;
  readonly settings: readonly Setting[];
}

export const conf4 = (name: string) => `net/ipv4/conf/${name}/forwarding`;
export const force6 = (name: string) => `net/ipv6/conf/${name}/force_forwarding`;
export const all6 = "net/ipv6/conf/all/forwarding";
export const conf6 = (name: string) => `net/ipv6/conf/${name}/forwarding`;
export const acceptRa = (name: string) => `net/ipv6/conf/${name}/accept_ra`;

/** What a link needs for itself; it is ours and goes with the link. */
export function linkSettings(name: string, hasForceForwarding: boolean): Setting[] {
  return [[conf4(name), "1"], ...(hasForceForwarding ? [[force6(name), "1"] as const] : [])];
}

/**
 * @param ours what this stack remembers to have switched on
 * @param others what the other stacks of this host remember: what is theirs is ours too, and the last one puts it back
 */
export function planOpening(host: HostForwarding, ours: Memory, others: Memory): Opening {
  const remember = { opened4: new Set<string>(), opened6: new Set<string>(), accept_ra2: new Set<string>() };
  const settings: Setting[] = [];
  const open = (set: MemorySet, name: string, [setting, value]: readonly [Setting, string | null]) => {
    if (value === "0" || (value === "1" && others[set].has(name))) remember[set].add(name);
    if (value === "0") settings.push(setting);
  };
  if (host.ipForward === "0") {
    for (const name of ours.opened4) remember.opened4.add(name);
    for (const { name, forwarding4 } of host.uplinks) {
      open("opened4", name, [[conf4(name), "1"], forwarding4]);
    }
  }
  if (!host.hasForceForwarding) openAllInet6(host, remember, settings, [ours, others]);
  else if (host.ipv6AllForwarding === "0") {
    for (const name of ours.opened6) remember.opened6.add(name);
    for (const { name, forceForwarding6 } of host.uplinks) {
      open("opened6", name, [[force6(name), "1"], forceForwarding6]);
    }
  }
  return { remember, settings };
}

function openAllInet6(
  host: HostForwarding,
  remember: Record<MemorySet, Set<string>>,
  settings: Setting[],
  memories: readonly Memory[],
): void {
  for (const memory of memories) {
    for (const name of memory.opened6) remember.opened6.add(name);
    for (const name of memory.accept_ra2) remember.accept_ra2.add(name);
  }
  if (host.ipv6AllForwarding !== "0") return;
  for (const { name, forwarding, acceptRa: value } of host.inet6) {
    if (forwarding !== "0") continue;
    remember.opened6.add(name);
    if (value !== "1") continue;
    remember.accept_ra2.add(name);
    settings.push([acceptRa(name), "2"]);
  }
  settings.push([all6, "1"]);
}

/**
 * @param ours what this stack remembers
 * @param others what the other stacks of this host remember
 */
export function planClosing(host: HostForwarding, ours: Memory, others: Memory): Setting[] {
  const settings: Setting[] = [];
  const mine = (set: MemorySet) => [...ours[set]].filter((name) => !others[set].has(name));
  if (host.ipForward === "0") settings.push(...mine("opened4").map((name) => [conf4(name), "0"] as const));
  if (host.hasForceForwarding) {
    settings.push(...mine("opened6").map((name) => [force6(name), "0"] as const));
    return settings;
  }
  if (mine("opened6").length === 0) return settings;
  settings.push([all6, "0"]);
  for (const { name, forwarding, acceptRa: value } of host.inet6) {
    // The switch for all has taken with it what was on before this stack.
    if (forwarding === "1" && !ours.opened6.has(name)) settings.push([conf6(name), "1"]);
    if (value === "2" && mine("accept_ra2").includes(name)) settings.push([acceptRa(name), "1"]);
  }
  return settings;
}

/** Interfaces of default routes as `ip -json route show default` lists them, several next hops included. */
export function uplinksOf(routes: readonly unknown[]): string[] {
  const names = routes.flatMap((entry) => {
    const { dev, nexthops } = entry as { dev?: string; nexthops?: { dev?: string }[] };
    return [dev, ...(nexthops ?? []).map((hop) => hop.dev)];
  });
  return [...new Set(names)].filter((name) => name !== undefined);
}
