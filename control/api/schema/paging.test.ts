import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TestApi } from "../api.fixture.ts";
import { PAGE_SIZE_MAX } from "./paging.ts";

let api: TestApi;
const names = Array.from({ length: 7 }, (_, i) => `app-${i}`);
beforeAll(async () => {
  api = await TestApi.start();
  // In another order than that of the list.
  for (const name of names.toReversed()) await api.createApp(name);
}, 60_000);
afterAll(() => api.close());

const QUERY = `query ($first: Int, $after: String, $last: Int, $before: String) {
  apps(first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`;

// deno-lint-ignore no-explicit-any -- a connection as GraphQL gives it
const namesOf = (apps: any): string[] => apps.edges.map((edge: any) => edge.node.name);

describe("pageOf()", () => {
  test("walks a list forwards without gap or repetition", async () => {
    const seen: string[] = [];
    let after: string | null = null;
    for (let more = true; more;) {
      const { apps } = await api.ask(QUERY, { first: 3, after });
      seen.push(...namesOf(apps));
      after = apps.pageInfo.endCursor;
      more = apps.pageInfo.hasNextPage;
    }
    expect(seen).toEqual(names);
  });

  test("walks it backwards, each page in the list's order", async () => {
    const { apps } = await api.ask(QUERY, { last: 2 });
    expect(namesOf(apps)).toEqual(["app-5", "app-6"]);
    expect(apps.pageInfo.hasPreviousPage).toBe(true);
    const earlier = (await api.ask(QUERY, { last: 2, before: apps.pageInfo.startCursor })).apps;
    expect(namesOf(earlier)).toEqual(["app-3", "app-4"]);
  });

  test("keeps its place when rows come and go between two pages", async () => {
    const { apps } = await api.ask(QUERY, { first: 2 });
    await api.createApp("app-0-later");
    const next = (await api.ask(QUERY, { first: 2, after: apps.pageInfo.endCursor })).apps;
    expect(namesOf(next)).toEqual(["app-2", "app-3"]);
  });

  test("refuses a cursor that it did not give, and bounds the page", async () => {
    expect(await api.codeOf(QUERY, { first: 2, after: "'; DROP TABLE apps" })).toBe("api.cursor_invalid");
    expect((await api.ask(QUERY, { first: PAGE_SIZE_MAX + 1_000 })).apps.edges).toHaveLength(8);
  });
});
