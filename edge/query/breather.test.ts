import { expect, test } from "bun:test";
import { Breather } from "./breather.ts";

function breather() {
  let ms = 0;
  const ends: (() => void)[] = [];
  const begun: string[] = [];
  const breathed = Promise.withResolvers<void>();
  const own = new Breather({ busyMsMax: 100, breath: () => breathed.promise, nowMs: () => ms });
  const run = (name: string) =>
    own.run(() => {
      begun.push(name);
      return new Promise<void>((resolve) => ends.push(resolve));
    });
  return { own, run, begun, breathed, end: () => ends.shift()!(), pass: (by: number) => ms += by };
}
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

test("statements that overlap for too long make room for a moment without any", async () => {
  const { own, run, begun, breathed, end, pass } = breather();
  const first = run("first");
  pass(90);
  const second = run("second");
  end();
  await first;
  pass(20);
  const third = run("third"), fourth = run("fourth");
  await turn();
  expect(begun).toEqual(["first", "second"]);
  end();
  await second;
  await turn();
  expect(begun).toEqual(["first", "second"]);
  breathed.resolve();
  await turn();
  expect(begun).toEqual(["first", "second", "third", "fourth"]);
  end();
  end();
  await Promise.all([third, fourth]);
  expect(own.breaths).toBe(1);
});

test("statements that leave a moment between them never wait", async () => {
  const { own, run, begun, end, pass } = breather();
  for (let times = 0; times < 20; times++) {
    const running = run(`${times}`);
    pass(50);
    end();
    await running;
  }
  expect([begun.length, own.breaths]).toEqual([20, 0]);
});

test("a statement that fails gives its place back", async () => {
  const { own, run, breathed, end, pass } = breather();
  breathed.resolve();
  const first = run("first");
  pass(200);
  const failing = own.run(() => Promise.reject(new Error("no")));
  end();
  await first;
  await expect(failing).rejects.toThrow("no");
  const last = run("last");
  end();
  await last;
});
