/** Decides whether what listens inside a machine can be reached by the edge at the ports that its services name. */
import type { GuestListeners } from "../contract/guest-api.ts";
import type { MachineView, Service } from "../contract/machine.ts";

type Listener = Pick<GuestListeners["listeners"][number], "address" | "port">;

/** The services' internal ports, in order, at which nothing that the edge can reach listens. */
export function missingPorts(
  services: readonly Pick<Service, "internal_port">[],
  listeners: readonly Listener[],
  machine: Pick<MachineView, "address4" | "address6">,
): number[] {
  const ports = new Set(services.map((service) => service.internal_port));
  return [...ports].filter((port) =>
    !listeners.some((listener) => listener.port === port && isReachable(listener.address, machine))
  );
}

/** Wildcard addresses, or the machine's own; `::ffff:` is how Linux writes IPv4 on an IPv6 socket. */
function isReachable(address: string, machine: Pick<MachineView, "address4" | "address6">): boolean {
  const plain = address.replace(/^::ffff:/i, "").toLowerCase();
  if (plain === "0.0.0.0" || plain === "::" || plain === "*") return true;
  return plain === machine.address4 || plain === machine.address6?.toLowerCase();
}

/** `127.0.0.1:3000, [::1]:9000`, at most eight of them. */
export function describeListeners(listeners: readonly Listener[]): string {
  if (listeners.length === 0) return "nothing";
  const names = listeners.map(({ address, port }) =>
    address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`
  );
  return [...new Set(names)].slice(0, 8).join(", ");
}
