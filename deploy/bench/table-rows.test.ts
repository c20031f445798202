import { expect, test } from "bun:test";
import { keyOf, TABLES } from "../../control/contract/rows.ts";
import { hostOf, planOf, planOfHosts, tableRows } from "./table-rows.ts";

test("planOf() makes a tenth as many host names as machines, half of the machines in services of 1,000", () => {
  const plan = planOf(1_000_000);
  expect(plan[1] + plan[10] + plan[1_000]).toBe(100_000);
  expect(plan[1] + 10 * plan[10] + 1_000 * plan[1_000]).toBe(1_000_000);
  expect(plan[1_000]).toBe(500);
  expect(() => planOf(1_999)).toThrow("multiple of 2,000");
});

test("tableRows() are rows that the contract takes, under their keys", () => {
  const counts = { hostnames: 0, apps: 0, machines: 0 };
  const keys = new Set<string>();
  for (const { table, key, row } of tableRows(planOf(2_000))) {
    counts[table]++;
    keys.add(`${table} ${key}`);
    expect(keyOf(table, row as never)).toBe(key);
    expect(TABLES[table].row.safeParse(row).error).toBeUndefined();
  }
  expect(counts).toEqual({ hostnames: 200, apps: 200, machines: 2_000 });
  expect(keys.size).toBe(2_400);
  expect(keys.has(`hostnames ${hostOf(1_000, 0)}`)).toBe(true);
});

test("tableRows() may stand at one address", () => {
  const at = () => ({ address4: "127.0.0.1", port: 99 });
  const rows = [...tableRows(planOfHosts(1), { at, servicePorts: [8_080, 8_443] })];
  expect(rows.map(({ table }) => table)).toEqual(["apps", "hostnames", "machines"]);
  expect(rows[2]!.row).toMatchObject({
    address4: "127.0.0.1",
    services: [{ internal_port: 99, ports: [{ port: 8_080 }, { port: 8_443 }] }],
  });
});
