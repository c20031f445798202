/** An edge whose rows change, asked what it would have done before. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Explanation } from "../../control/contract/explanation.ts";
import { HOST_ID, idOf, startTestEdge, type TestEdge, until } from "../edge.fixture.ts";

let t: TestEdge;
let bare: TestEdge;
beforeAll(async () => {
  t = await startTestEdge({ regions: ["ams", "fra"], history: { rows_max: 1_000, kept_s: 3_600 } });
  bare = await startTestEdge();
});
afterAll(async () => {
  await t.stop();
  await bare.stop();
});

const id = (name: string) => idOf(name, 14);
async function ask(edge: TestEdge, url: string, at?: number): Promise<Explanation> {
  const query = new URLSearchParams({ url, ...(at === undefined ? {} : { at: String(at) }) });
  const response = await fetch(`http://127.0.0.1:${edge.adminPort}/explain?${query}`);
  expect(response.status).toBe(200);
  return Explanation.parse(await response.json());
}
const verdicts = ({ machines }: Explanation) =>
  Object.fromEntries(machines.map(({ id, verdict }) => [id, verdict]));
/** A time after all that has been taken and before what comes. */
async function now(): Promise<number> {
  const at = Date.now();
  await until(() => Date.now() > at + 1);
  return at + 1;
}

test("explain --at decides from the rows of that time: a machine, a host name and an app that changed since", async () => {
  const before = await now();
  await t.app("shop", 9_001, { id: id("one") });
  const running = await now();
  await t.machine("shop", 9_001, { id: id("one"), state: "stopped", address4: null });
  await t.machine("shop", 9_002, { id: id("two") });
  await t.settled();
  const stopped = await now();
  await t.app("other", 9_003, { id: id("else") });
  await t.publish("hostnames", "shop.test", { hostname: "shop.test", app_id: idOf("other") });
  await t.publish("machines", `${HOST_ID}/${id("two")}`, null);
  await t.settled();

  const today = await ask(t, "http://shop.test/");
  expect(verdicts(today)).toEqual({ [id("else")]: "picked" });
  expect(today.past).toBeUndefined();

  const then = await ask(t, "http://shop.test/", stopped);
  expect(verdicts(then)).toEqual({ [id("one")]: "startable", [id("two")]: "picked" });
  expect(then.past).toMatchObject({ at_ms: stopped, reaches_to_ms: expect.any(Number) });
  expect(then.past!.rows.find(({ key }) => key === "shop.test")).toMatchObject({
    ...{ table: "hostnames", state: "live", row: { app_id: idOf("shop") } },
  });
  expect(then.rows.map(({ table, owner }) => `${table} ${owner}`)).toContain(`machines worker:${HOST_ID}`);

  const earlier = await ask(t, "http://shop.test/", running);
  expect(verdicts(earlier)).toEqual({ [id("one")]: "picked" });
  expect(earlier.machines[0]!.address).toBe("127.0.0.1");

  const first = await ask(t, "http://shop.test/", before);
  expect(first.refusal?.code).toBe("edge.unknown_host");
  expect(first.past!.unknown.join()).toContain("what was changed or deleted before the history begins");
  expect(first.past!.rows).toContainEqual(
    expect.objectContaining({ table: "hostnames", key: "shop.test", state: "unknown" }),
  );
  // And nothing of it has moved what serves.
  expect(verdicts(await ask(t, "http://shop.test/"))).toEqual({ [id("else")]: "picked" });
});

test("explain --at finds the pattern that counted then", async () => {
  await t.app("wide", 9_004, { id: id("wide") });
  await t.publish("hostnames", "*.deep.test", { hostname: "*.deep.test", app_id: idOf("wide") });
  await t.settled();
  const then = await now();
  await t.app("narrow", 9_005, { id: id("narrow") });
  await t.publish("hostnames", "a.deep.test", { hostname: "a.deep.test", app_id: idOf("narrow") });
  await t.settled();
  expect(verdicts(await ask(t, "http://a.deep.test/"))).toEqual({ [id("narrow")]: "picked" });
  expect(verdicts(await ask(t, "http://a.deep.test/", then))).toEqual({ [id("wide")]: "picked" });
});

test("an edge that keeps no history says so, and knows what has not changed", async () => {
  await bare.app("calm", 9_006, { id: id("calm") });
  const then = await now();
  const explained = await ask(bare, "http://calm.test/", then);
  expect(verdicts(explained)).toEqual({ [id("calm")]: "picked" });
  expect(explained.past!.reaches_to_ms).toBeNull();
  expect(explained.past!.unknown.join()).toContain("keeps no history");
  await bare.machine("calm", 9_006, { id: id("calm"), state: "stopped", address4: null });
  await bare.settled();
  const changed = await ask(bare, "http://calm.test/", then);
  expect(changed.machines).toEqual([]);
  expect(changed.past!.unknown.join()).toContain(`machines ${HOST_ID}/${id("calm")}: it has changed since`);
});

test("explain refuses a time that is none, or has not come", async () => {
  for (const at of ["", "soon", "-5", "1e3", String(Date.now() + 60_000)]) {
    const query = new URLSearchParams({ url: "http://shop.test/", at });
    expect((await fetch(`http://127.0.0.1:${t.adminPort}/explain?${query}`)).status, at).toBe(400);
  }
});
