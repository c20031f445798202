/** The loopback ports of a stack: a run of numbers from one base, so that two stacks differ in one option. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { GodwitError } from "../../control/contract/errors.ts";

export const PORT_BASE_DEFAULT = 8_080;
export const PORT_COUNT = 8;

export interface PortPlan {
  /** The edge's HTTP listener: apps are reached here. */
  readonly edge: number;
  readonly api: number;
  readonly postgres: number;
  readonly redis: number;
  readonly registry: number;
  readonly edge_admin: number;
  /** Where edges fetch snapshots to begin from. */
  readonly snapshots: number;
  /** UDP. */
  readonly membership: number;
}

export function planPorts(base: number): PortPlan {
  if (!Number.isInteger(base) || base < 1_024 || base + PORT_COUNT > 65_536) {
    throw new GodwitError(
      "stack.port_base",
      `Cannot use ${base} as port base: it must be a whole number from 1024 to ${65_536 - PORT_COUNT}`,
      { fault: "client", hint: `the stack takes ${PORT_COUNT} ports from there on` },
    );
  }
  return {
    edge: base,
    api: base + 1,
    postgres: base + 2,
    redis: base + 3,
    registry: base + 4,
    edge_admin: base + 5,
    snapshots: base + 6,
    membership: base + 7,
  };
}

/** Throws `stack.port_taken` for the first port of the plan that something listens on. */
export async function requireFreePorts(
  plan: PortPlan,
  skip: readonly (keyof PortPlan)[] = [],
): Promise<void> {
  for (const [name, port] of Object.entries(plan)) {
    if (skip.includes(name as keyof PortPlan) || await isFree(port)) continue;
    const holder = holderOf(port);
    throw new GodwitError(
      "stack.port_taken",
      `Port ${port} of 127.0.0.1, meant for ${name}, is taken${holder === null ? "" : ` by ${holder}`}`,
      {
        fault: "client",
        hint: `stop that program, or choose other ports: --port-base ${suggestBase(plan.edge)}`,
      },
    );
  }
}

export function suggestBase(base: number): number {
  return base + 10_000 + PORT_COUNT < 65_536 ? base + 10_000 : PORT_BASE_DEFAULT + 10_000;
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** `name (pid N)` of the process that listens on the port, where /proc tells it. */
function holderOf(port: number): string | null {
  const inodes = new Set(listenersOf(readFileSync("/proc/net/tcp", "utf8"), port));
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
        if (inode === undefined || !inodes.has(inode)) continue;
        return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
      }
    } catch {
      // the process ended while it was read, or is another user's: it cannot be named
    }
  }
  return null;
}

/** Inodes of the sockets that listen on the port, from the text of /proc/net/tcp (proc_net_tcp, kernel documentation). */
export function listenersOf(procNetTcp: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return procNetTcp.split("\n").slice(1).map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(suffix) === true && fields[3] === "0A")
    .flatMap((fields) => fields[9] ?? []);
}
