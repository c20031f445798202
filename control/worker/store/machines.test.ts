import { expect, test } from "bun:test";
import { MachineView } from "../../contract/machine.ts";
import { MachineRow } from "../../contract/rows.ts";
import {
  deleteUnmade,
  findMachine,
  getMachine,
  insertMachine,
  listMachines,
  machineSizes,
  moveMachine,
  patchMachine,
  pruneDestroyed,
  rowOf,
  viewOf,
} from "./machines.ts";
import { acknowledge, pending } from "./outbox.ts";
import { aMachineSpec, aStore } from "./store.fixture.ts";

function made(store = aStore()) {
  const spec = aMachineSpec();
  store.write(() => {
    insertMachine(store, spec);
    patchMachine(store, spec.id, { made: true });
  });
  return { store, spec };
}

test("insertMachine() publishes nothing before the machine is made", () => {
  const store = aStore();
  const spec = aMachineSpec();
  store.write(() => insertMachine(store, spec));
  expect(pending(store, 10)).toEqual([]);
  store.write(() => deleteUnmade(store, spec.id));
  expect(findMachine(store, spec.id)).toBeNull();
});

test("deleteUnmade() leaves a machine that is made", () => {
  const { store, spec } = made();
  store.write(() => deleteUnmade(store, spec.id));
  expect(findMachine(store, spec.id)?.state).toBe("created");
});

test("machineSizes() tells of each machine what placement counts with", () => {
  const { store, spec } = made();
  const large = aMachineSpec({ guest: { cpu_kind: "shared", cpus: 2, memory_mb: 1_024 } });
  store.write(() => {
    insertMachine(store, large);
    moveMachine(store, spec.id, "start");
  });
  expect(machineSizes(store).toSorted((a, b) => a.memory_mb - b.memory_mb)).toEqual([
    { id: spec.id, state: "starting", memory_mb: 256 },
    { id: large.id, state: "created", memory_mb: 1_024 },
  ]);
});

test("moveMachine() moves, patches and publishes in one transaction", () => {
  const { store, spec } = made();
  expect(store.write(() => moveMachine(store, spec.id, "start", { desired: "started" }))).toBe(true);
  expect(getMachine(store, spec.id)).toMatchObject({ state: "starting", desired: "started" });
  expect(pending(store, 10)).toMatchObject([{ event: { row: { state: "starting" }, deleted: false } }]);
});

test("moveMachine() leaves all alone where the event changes nothing", () => {
  const { store, spec } = made();
  acknowledge(store, pending(store, 10), { firstId: "1-0", lastId: "1-0" });
  expect(store.write(() => moveMachine(store, spec.id, "booted", { cordoned: true }))).toBe(false);
  expect(getMachine(store, spec.id)).toMatchObject({ state: "created", cordoned: false });
  expect(pending(store, 10)).toEqual([]);
});

test("moveMachine() throws the refusal of the transition table and writes nothing", () => {
  const { store, spec } = made();
  store.write(() => moveMachine(store, spec.id, "destroy"));
  expect(() => store.write(() => moveMachine(store, spec.id, "start"))).toThrow("it is destroying");
});

test("a destroyed machine leaves a tombstone, and its env is forgotten", () => {
  const { store, spec } = made();
  store.write(() => moveMachine(store, spec.id, "destroy"));
  store.write(() => moveMachine(store, spec.id, "destroyed"));
  expect(pending(store, 10)).toMatchObject([{ event: { deleted: true, row: null, key: `h1/${spec.id}` } }]);
  expect(getMachine(store, spec.id).spec.env).toEqual({});
});

test("pruneDestroyed() waits until the tombstone is with Redis", () => {
  const { store, spec } = made();
  store.write(() => moveMachine(store, spec.id, "destroy"));
  store.write(() => moveMachine(store, spec.id, "destroyed"));
  const later = Date.now() + 1_000;
  expect(pruneDestroyed(store, later)).toEqual([]);
  acknowledge(store, pending(store, 10), { firstId: "1-0", lastId: "1-0" });
  expect(pruneDestroyed(store, later)).toEqual([spec.id]);
  expect(listMachines(store)).toEqual([]);
});

test("viewOf() and rowOf() fit their contracts and hold no env", () => {
  const { store, spec } = made();
  const machine = getMachine(store, spec.id);
  const view = MachineView.parse(viewOf(store, machine));
  const row = MachineRow.parse(rowOf(store, machine));
  expect(JSON.stringify([view, row])).not.toContain("canary");
});
