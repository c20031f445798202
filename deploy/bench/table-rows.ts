/**
 * Rows for a route table of a chosen size: each app has one host name and one machine, ten or a thousand. The shares are
 * such that the tenth part as many host names as machines comes out (100,000 and 1,000,000): half of all machines stand
 * in the few large services, most host names lead to small ones.
 */
import { assert } from "../../control/contract/errors.ts";
import type { AppRow, HostnameRow, MachineRow } from "../../control/contract/rows.ts";

export const SERVICE_SIZES = [1, 10, 1_000] as const;
export type ServiceSize = (typeof SERVICE_SIZES)[number];

/** How many apps there are of each size. */
export type TablePlan = Readonly<Record<ServiceSize, number>>;

/** With m machines in m / 10 apps: 999 x + 9 y = m - m / 10, where x apps have 1,000 machines and y have 10. */
export function planOf(machines: number): TablePlan {
  assert(machines >= 2_000 && machines % 2_000 === 0, "machines must be a multiple of 2,000");
  const hosts = machines / 10;
  const large = machines / 2_000;
  const middle = hosts - 111 * large;
  return { 1: hosts - middle - large, 10: middle, 1_000: large };
}

/** As many apps of one machine as there are host names. */
export function planOfHosts(hosts: number): TablePlan {
  return { 1: hosts, 10: 0, 1_000: 0 };
}

export interface Row {
  readonly table: "hostnames" | "apps" | "machines";
  readonly key: string;
  readonly row: HostnameRow | AppRow | MachineRow;
}

export const REGION = "ams";
export const SERVICE_PORT = 80;
const MACHINES_PER_HOST = 100;

/** @param index counted over the apps of this size */
export function hostOf(size: ServiceSize, index: number): string {
  return `app-${index}-of-${size}.bench.example`;
}

/** Where machines' apps listen, and the ports that listeners stand for. */
export interface Placement {
  /** @param machine its number, from 0 */
  at(machine: number): { address4: string; port: number };
  readonly servicePorts: readonly number[];
}

const spread: Placement = {
  at: (machine) => ({
    address4: `10.${(machine >> 16) & 255}.${(machine >> 8) & 255}.${machine & 255}`,
    port: 8_080,
  }),
  servicePorts: [SERVICE_PORT],
};

export function* tableRows(plan: TablePlan, placement: Placement = spread): Generator<Row> {
  let app = 0;
  let machine = 0;
  for (const size of SERVICE_SIZES) {
    for (let index = 0; index < plan[size]; index++) {
      const id = hex(app++, 20);
      const name = `app-${index}-of-${size}`;
      yield { table: "apps", key: id, row: appRow(id, name) };
      const hostname = hostOf(size, index);
      yield { table: "hostnames", key: hostname, row: { hostname, app_id: id } };
      for (let i = 0; i < size; i++) {
        const row = machineRow(machine, id, placement);
        machine++;
        yield { table: "machines", key: `${row.host_id}/${row.id}`, row };
      }
    }
  }
}

function appRow(id: string, name: string): AppRow {
  return { id, name, org_id: hex(1, 20), org_slug: "bench", services: [] };
}

function machineRow(machine: number, app: string, placement: Placement): MachineRow {
  const { address4, port } = placement.at(machine);
  return {
    id: hex(machine, 14),
    app_id: app,
    host_id: `host-${Math.floor(machine / MACHINES_PER_HOST)}`,
    region: REGION,
    release_id: hex(2, 20),
    state: "started",
    cordoned: false,
    address4,
    address6: null,
    services: [{
      protocol: "tcp",
      internal_port: port,
      ports: placement.servicePorts.map((port) => ({ port, handlers: ["http"], force_https: false })),
      concurrency: { type: "requests", soft_limit: 10_000, hard_limit: null },
    }],
    started_at_ms: 1,
  };
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, "0");
}
