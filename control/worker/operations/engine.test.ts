/** The engine with operations whose effects are lines in a list. Real agents are killed in kill-at-every-step.test.ts. */
import { describe, expect, test } from "bun:test";
import { GodwitError } from "../../contract/errors.ts";
import { lastOperation, unfinishedOperations } from "../store/operations.ts";
import type { Store } from "../store/store.ts";
import { aStore } from "../store/store.fixture.ts";
import { Engine } from "./engine.ts";
import type { Operation, Step, StepContext } from "./operation.ts";

interface Trial {
  readonly store: Store;
  readonly did: string[];
  readonly engine: Engine;
  submit(kind?: Operation["kind"]): Promise<GodwitError | null>;
}

function trial(
  steps: (did: string[]) => Step[],
  change: Partial<Operation> = {},
  store = aStore(),
  onBoundary: (name: string) => void = () => {},
): Trial {
  const did: string[] = [];
  const operation = (kind: Operation["kind"], its: Step[]): Operation => ({
    kind,
    steps: its,
    onFailure: "undo",
    resumeAt: "intended",
    lane: "ordinary",
    done: () => did.push(`${kind} done`),
    failed: (_, error) => did.push(`${kind} failed: ${error.code}`),
    ...change,
  });
  const engine = new Engine({
    store,
    operations: [
      operation("start", steps(did)),
      operation("destroy", [{ name: "gone", run: async () => void did.push("gone") }]),
    ],
    bootsMax: 2,
    random: () => 0,
    onBoundary: (kind, step, when) => onBoundary(`${kind}:${step}:${when}`),
  });
  return {
    store,
    did,
    engine,
    submit: (kind = "start") => engine.submit("m1", kind, { asked: 1 }, () => true)!,
  };
}

const step = (
  did: string[],
  name: string,
  run: (c: StepContext) => Promise<void> = async () => {},
): Step => ({
  name,
  run: async (context) => {
    did.push(name);
    await run(context);
  },
  undo: async () => void did.push(`undo ${name}`),
});
const fails = () => Promise.reject(new GodwitError("test.broken", "it is broken", { fault: "us" }));

describe("Engine", () => {
  test("runs the steps in order and ends in one transaction", async () => {
    const { submit, did, store } = trial((did) => [step(did, "one"), step(did, "two")]);
    expect(await submit()).toBeNull();
    expect(did).toEqual(["one", "two", "start done"]);
    expect(lastOperation(store, "m1")?.status).toBe("done");
  });

  test("keeps what a step has noted with the next step's intent", async () => {
    const seen: unknown[] = [];
    const store = aStore();
    const look = () => void seen.push(unfinishedOperations(store)[0]?.memory);
    await trial(
      (did) => [
        step(did, "one", async (context) => {
          context.note({ found: 1 });
          seen.push(context.memory);
          look();
        }),
        step(did, "two", async () => look()),
      ],
      {},
      store,
    ).submit();
    expect(seen).toEqual([{ found: 1 }, {}, { found: 1 }]);
  });

  test("has written the intent before each effect", async () => {
    const seen: unknown[] = [];
    const store = aStore();
    const look = async () =>
      void seen.push(unfinishedOperations(store).map(({ kind, step }) => `${kind} ${step}`)[0]);
    await trial((did) => [step(did, "one", look), step(did, "two", look)], {}, store).submit();
    expect(seen).toEqual(["start 0", "start 1"]);
  });

  test("undoes a failing step and all before it, the latest first", async () => {
    const { submit, did, store } = trial((
      did,
    ) => [step(did, "one"), step(did, "two", fails), step(did, "three")]);
    expect((await submit())?.code).toBe("test.broken");
    expect(did).toEqual(["one", "two", "undo two", "undo one", "start failed: test.broken"]);
    expect(lastOperation(store, "m1")).toMatchObject({ status: "failed", error: { code: "test.broken" } });
  });

  test("tries again where the only way is forward", async () => {
    let left = 2;
    const { submit, did } = trial(
      (did) => [step(did, "one", () => left-- > 0 ? fails() : Promise.resolve())],
      { onFailure: "retry" },
    );
    expect(await submit()).toBeNull();
    expect(did).toEqual(["one", "one", "one", "start done"]);
  });

  test("makes any other error one that names the machine and the step", async () => {
    const { submit } = trial((did) => [step(did, "one", () => Promise.reject(new Error("ENOSPC")))]);
    expect((await submit())?.message).toBe("Cannot start machine m1: step one failed: ENOSPC");
  });

  test("lets a newer operation take the older one's place, after that has ended", async () => {
    const { submit, did, store } = trial((did) => [
      step(
        did,
        "wait",
        ({ signal }) =>
          new Promise((resolve) =>
            signal.addEventListener("abort", () =>
              setTimeout(() => {
                did.push("wait ended");
                resolve();
              }, 5))
          ),
      ),
      step(did, "never"),
    ]);
    const first = submit();
    while (!did.includes("wait")) await Promise.resolve();
    const second = submit("destroy");
    expect((await first)?.code).toBe("operation.superseded");
    expect(await second).toBeNull();
    expect(did).toEqual(["wait", "wait ended", "gone", "destroy done"]);
    expect(unfinishedOperations(store)).toEqual([]);
  });

  test("begins nothing where the request is refused or there is nothing to do", () => {
    const { engine, store } = trial(() => []);
    expect(engine.submit("m1", "start", null, () => false)).toBeNull();
    expect(() =>
      engine.submit("m1", "start", null, () => {
        throw new GodwitError("machine.busy", "no", { fault: "client" });
      })
    ).toThrow("no");
    expect(unfinishedOperations(store)).toEqual([]);
    expect(engine.isBusy("m1")).toBe(false);
  });

  test("leaves what is unfinished to the next agent, with what it had put by", async () => {
    const store = aStore();
    const first = trial(
      (did) => [
        step(did, "one", async (context) => context.remember({ found: 7 })),
        step(
          did,
          "two",
          ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
        ),
      ],
      {},
      store,
    );
    void first.submit();
    while (!first.did.includes("two")) await Promise.resolve();
    await first.engine.halt();
    expect(unfinishedOperations(store)).toMatchObject([{
      step: 1,
      memory: { found: 7 },
      input: { asked: 1 },
    }]);
    const second = trial(
      (did) => [
        step(did, "one"),
        step(did, "two", async ({ memory }) => void did.push(`found ${memory.found}`)),
      ],
      {},
      store,
    );
    second.engine.resume();
    await second.engine.settled("m1");
    expect(second.did).toEqual(["two", "found 7", "start done"]);
  });

  test("begins a resumed operation at its first step where it says so", async () => {
    const store = aStore();
    const hang = ({ signal }: StepContext) =>
      new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    const first = trial((did) => [step(did, "one"), step(did, "two", hang)], {}, store);
    void first.submit();
    while (!first.did.includes("two")) await Promise.resolve();
    await first.engine.halt();
    const second = trial((did) => [step(did, "one"), step(did, "two")], { resumeAt: "first" }, store);
    second.engine.resume();
    await second.engine.settled("m1");
    expect(second.did).toEqual(["one", "two", "start done"]);
  });

  test("passes each boundary once, in order", async () => {
    const passed: string[] = [];
    await trial(
      (did) => [step(did, "one"), step(did, "two", fails)],
      {},
      aStore(),
      (name) => passed.push(name),
    ).submit();
    expect(passed).toEqual([
      "start:one:before",
      "start:one:after",
      "start:two:before",
      "start:undo-two:before",
      "start:undo-two:after",
      "start:undo-one:before",
      "start:undo-one:after",
      "start:settle:before",
      "start:settle:after",
    ]);
  });

  test("exclusively() holds operations off, and does nothing where one is under way", async () => {
    const { engine, submit, did } = trial((did) => [step(did, "one")]);
    const gate = Promise.withResolvers<void>();
    const sweeping = engine.exclusively("m1", () => gate.promise.then(() => void did.push("swept")));
    expect(await engine.exclusively("m1", () => Promise.reject(new Error("not run")))).toBe(false);
    const started = submit();
    gate.resolve();
    expect(await sweeping).toBe(true);
    await started;
    expect(did).toEqual(["swept", "one", "start done"]);
  });
});
