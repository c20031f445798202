/** The rows of one app with a machine for each given upstream. */
import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";

export interface GivenApp {
  /** Host name, pattern, or `*`. */
  readonly host: string;
  readonly region: string;
  readonly servicePorts: readonly number[];
  readonly upstreams: readonly { readonly address: string; readonly port: number }[];
  readonly softLimit: number;
  readonly hardLimit: number | null;
  readonly h2Backend: boolean;
}

/** Ids follow from the addresses, so that a machine is the same one in the next run's log. */
export function givenRows(given: GivenApp): { table: string; row: unknown }[] {
  const appId = idOf(`app ${given.host}`, 20);
  const app = { id: appId, name: "app", org_id: idOf("org", 20), org_slug: "local", services: [] };
  const machines = given.upstreams.map(({ address, port }, index) => ({
    table: "machines",
    row: {
      id: idOf(`machine ${index} ${address} ${port}`, 14),
      app_id: appId,
      host_id: "local",
      region: given.region,
      release_id: appId,
      state: "started",
      cordoned: false,
      address4: isIPv6(address) ? null : address,
      address6: isIPv6(address) ? address : null,
      services: [{
        internal_port: port,
        ports: given.servicePorts.map((servicePort) => ({
          port: servicePort,
          handlers: ["http"],
          ...(given.h2Backend ? { http_options: { h2_backend: true } } : {}),
        })),
        concurrency: { type: "requests", soft_limit: given.softLimit, hard_limit: given.hardLimit },
      }],
      // Long ago: a refusal is one, and no sign of an app about to listen.
      started_at_ms: 0,
    },
  }));
  return [
    { table: "apps", row: app },
    { table: "hostnames", row: { hostname: given.host, app_id: appId } },
    ...machines,
  ];
}

function idOf(what: string, digits: number): string {
  return createHash("sha256").update(what).digest("hex").slice(0, digits);
}
