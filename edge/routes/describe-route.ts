/** A route in words, for people who ask why a request went where it went. */
import type { RegionDistances } from "../balance/region-distance.ts";
import type { AppRoute } from "./app-route.ts";
import type { Backend } from "./backend.ts";

export function describeRoute(
  host: string,
  app: AppRoute,
  distances: RegionDistances,
  nowMs: number,
): Record<string, unknown> {
  const finite = (value: number) => value === Infinity ? null : value;
  const machine = (backend: Backend) => ({
    machine: backend.machineId,
    region: backend.region,
    address: `${backend.address}:${backend.port}`,
    in_flight: backend.inFlight,
    soft_limit: backend.softLimit,
    hard_limit: finite(backend.hardLimit),
    idle_connections: backend.idleConnections,
    ejected: backend.ejectedUntilMs > nowMs,
    host_dead: backend.hostDead,
    breaker: backend.breaker?.state ?? "closed",
  });
  return {
    host,
    app_id: app.id,
    app: app.name,
    services: [...app.services.values()].map((service) => ({
      port: service.port,
      near: service.near.map(machine),
      far: service.farByDistance(distances).map(({ region, backends }) => ({
        region,
        distance_ms: finite(distances.of(region)),
        machines: backends.map(machine),
      })),
      starting: service.starting,
      startable: service.startable,
      unhealthy: service.unhealthy,
      waiting: service.waiting?.size ?? 0,
    })),
  };
}
