/** What the short way says is what zod says. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { StateEvent } from "../../control/contract/events.ts";
import { HostnameRow, MachineRow } from "../../control/contract/rows.ts";
import { knownEvent, knownHostname, knownMachine } from "./known-shapes.ts";

const services = [{
  ...{ internal_port: 80, ports: [{ port: 80, handlers: ["http"], http_options: { compress: true } }] },
  concurrency: { type: "requests", soft_limit: 1, hard_limit: null },
}];
const machine: Record<string, unknown> = {
  ...{ id: "0".repeat(14), app_id: "a".repeat(20), host_id: "h1", region: "ams", release_id: "b".repeat(20) },
  ...{
    state: "started",
    cordoned: false,
    address4: "172.20.16.1",
    address6: null,
    services,
    started_at_ms: 5,
  },
};
const event: Record<string, unknown> = {
  ...{ schema: 1, owner: "worker:h1", table: "machines", key: "h1/0", version: { epoch: 1, seq: 2 } },
  ...{ deleted: false, row: machine, published_ms: 3 },
};
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    "",
    "x".repeat(400),
    -1,
    0,
    1.5,
    2 ** 60,
    true,
    false,
    NaN,
    [],
    {},
  ),
  fc.constantFrom<unknown>(
    "stopped",
    "ams",
    "amsx",
    "h-2",
    "H",
    "0".repeat(13),
    "c".repeat(20),
    [{}],
    services,
  ),
  fc.constantFrom<unknown>({ epoch: 1 }, { epoch: 0, seq: 0 }, { epoch: 1, seq: -1 }, {
    epoch: 1,
    seq: 1,
    x: 1,
  }),
  fc.string(),
);
const changed = (base: Record<string, unknown>, more: string[]) =>
  fc.array(fc.tuple(fc.constantFrom(...Object.keys(base), ...more), odd), { maxLength: 2 })
    .map((changes) => ({ ...base, ...Object.fromEntries(changes) }));

test("knownMachine() says what zod says, or that it does not know", () => {
  expect(knownMachine(machine)).toEqual(MachineRow.parse(machine));
  expect(Object.keys(knownMachine(machine)!)).toEqual(Object.keys(MachineRow.parse(machine)));
  expect(knownMachine({ ...machine, healthy: false })).toEqual(
    MachineRow.parse({ ...machine, healthy: false }),
  );
  expect(knownMachine({ ...machine, secret: 1 })).toBeNull();
  fc.assert(
    fc.property(changed(machine, ["healthy", "secret"]), (row) => {
      const known = knownMachine(row);
      if (known !== null) expect(known).toEqual(MachineRow.parse(row));
    }),
    { numRuns: 3_000 },
  );
});

test("knownHostname() says what zod says, or that it does not know", () => {
  const row = { hostname: "a-1.example", app_id: "a".repeat(20) };
  expect(knownHostname(row)).toEqual(HostnameRow.parse(row));
  expect(knownHostname({ ...row, hostname: "*.example" })).toBeNull();
  const names = [
    "x".repeat(63),
    "x".repeat(64),
    "a..b",
    "-a",
    "a-",
    "a_b",
    "A.b",
    "a.b.",
    `${"a.".repeat(126)}a`,
  ]
    .concat(`${"a.".repeat(127)}a`, "*", "*.a", "a\n");
  const hostname = fc.record({ hostname: fc.oneof(fc.constantFrom(...names), fc.domain()) })
    .map((some) => ({ ...row, ...some }));
  fc.assert(
    fc.property(fc.oneof(changed(row, ["more"]), hostname), (row: Record<string, unknown>) => {
      const known = knownHostname(row);
      if (known !== null) expect(known).toEqual(HostnameRow.parse(row));
      else if (HostnameRow.safeParse(row).success) {
        expect("more" in row || String(row.hostname).startsWith("*")).toBe(true);
      }
    }),
    { numRuns: 3_000 },
  );
});

test("knownEvent() says what zod says, or that it does not know", () => {
  expect(knownEvent(event)).toEqual(StateEvent.parse(event));
  expect(knownEvent({ ...event, deleted: true, row: null })).not.toBeNull();
  for (const nothing of [null, 1, "x", []]) expect(knownEvent(nothing)).toBeNull();
  fc.assert(
    fc.property(changed(event, ["more"]), (raw) => {
      const known = knownEvent(raw);
      if (known !== null) expect(known).toEqual(StateEvent.parse(raw));
    }),
    { numRuns: 3_000 },
  );
});
