/** A route in words, for people who ask why a request went where it went. */
import type { AppRoute } from "./app-route.ts";
import type { Backend } from "./backend.ts";

export function describeRoute(host: string, app: AppRoute, nowMs: number): Record<string, unknown> {
  const machine = (backend: Backend) => ({
    machine: backend.machineId,
    region: backend.region,
    address: `${backend.address}:${backend.port}`,
    in_flight: backend.inFlight,
    soft_limit: backend.softLimit,
    hard_limit: backend.hardLimit === Infinity ? null : backend.hardLimit,
    idle_connections: backend.idleConnections,
    ejected: backend.ejectedUntilMs > nowMs,
  });
  return {
    host,
    app_id: app.id,
    app: app.name,
    services: [...app.services.values()].map((service) => ({
      port: service.port,
      near: service.near.map(machine),
      far: service.far.map(machine),
      starting: service.starting,
      waiting: service.waiters.size,
    })),
  };
}
