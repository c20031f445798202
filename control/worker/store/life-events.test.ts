import { expect, test } from "bun:test";
import { LIFE_EVENTS_MAX, type MachineExit } from "../../contract/machine.ts";
import { lifeEventOf, lifeEventsOf, type Move, noteLifeEvent } from "./life-events.ts";
import { insertMachine, moveMachine, patchMachine, pruneDestroyed } from "./machines.ts";
import { acknowledge, pending } from "./outbox.ts";
import { aMachineSpec, aStore } from "./store.fixture.ts";

const exit: MachineExit = {
  exit_code: 3,
  signal: null,
  oom_killed: false,
  requested: false,
  reason: null,
  at_ms: 1,
};
const move = (change: Partial<Move>): Move => ({
  event: "start",
  from: "stopped",
  to: "starting",
  exit: null,
  reason: null,
  ...change,
});

test.each<[string, Partial<Move>, object | null]>([
  ["a start by request", { source: "api" }, { type: "start", status: "starting", source: "api", exit: null }],
  ["a start of one that sleeps", { from: "suspended", source: "edge" }, { type: "resume", source: "edge" }],
  ["a start by the policy", { type: "restart" }, { type: "restart", source: "worker" }],
  ["a boot that failed", { event: "boot_failed", to: "failed", exit, reason: "no kernel" }, {
    type: "start",
    status: "failed",
    exit,
    reason: "no kernel",
  }],
  ["an end", { event: "stopped", from: "stopping", to: "stopped", exit }, { type: "exit", exit }],
  [
    "an end as it is seen, before it is known how",
    { event: "exited", from: "started", to: "stopping" },
    null,
  ],
  ["an end that its restart has told of", {
    event: "stopped",
    from: "stopping",
    to: "stopped",
    exit: { ...exit, restarting: true },
  }, null],
  ["a suspend that failed", { event: "suspend_failed", from: "suspending", to: "started", reason: "full" }, {
    type: "suspend",
    status: "started",
    reason: "full",
  }],
])("lifeEventOf() tells of %s", (_, change, expected) => {
  if (expected === null) expect(lifeEventOf(move(change))).toBeNull();
  else expect(lifeEventOf(move(change))).toMatchObject(expected);
});

function made(store = aStore()) {
  const spec = aMachineSpec();
  store.write(() => {
    insertMachine(store, spec);
    patchMachine(store, spec.id, { made: true });
  });
  return { store, id: spec.id };
}

test("moveMachine() notes the move in the same transaction", () => {
  const { store, id } = made();
  expect(() =>
    store.write(() => {
      moveMachine(store, id, "start", {}, { source: "api" });
      expect(lifeEventsOf(store, id)).toHaveLength(1);
      throw new Error("the disk is full");
    })
  ).toThrow("the disk is full");
  expect(lifeEventsOf(store, id)).toEqual([]);
  store.write(() => moveMachine(store, id, "start", {}, { source: "api" }));
  store.write(() => moveMachine(store, id, "start", {}, { source: "api" }));
  expect(lifeEventsOf(store, id)).toMatchObject([{ type: "start", status: "starting", source: "api" }]);
});

test("noteLifeEvent() keeps the newest LIFE_EVENTS_MAX of each machine, with reasons cut short", () => {
  const { store, id } = made();
  const other = made(store).id;
  const note = (to: string, reason: string) =>
    store.write(() =>
      noteLifeEvent(store, to, { type: "stop", status: "failed", source: "worker", exit: null, reason })
    );
  note(other, "x".repeat(4_096));
  for (let at = 0; at < LIFE_EVENTS_MAX + 7; at++) note(id, `${at}`);
  const events = lifeEventsOf(store, id);
  expect(events).toHaveLength(LIFE_EVENTS_MAX);
  expect([events[0]!.reason, events.at(-1)!.reason]).toEqual([`${LIFE_EVENTS_MAX + 6}`, "7"]);
  expect(lifeEventsOf(store, other)[0]!.reason).toHaveLength(512);
});

test("pruneDestroyed() forgets a machine's events with it", () => {
  const { store, id } = made();
  store.write(() => moveMachine(store, id, "destroy"));
  store.write(() => moveMachine(store, id, "destroyed"));
  acknowledge(store, pending(store, 10), { firstId: "1-0", lastId: "1-0" });
  expect(lifeEventsOf(store, id)).toHaveLength(2);
  expect(pruneDestroyed(store, Date.now() + 1)).toEqual([id]);
  expect(lifeEventsOf(store, id)).toEqual([]);
});
