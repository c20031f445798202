import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type FragmentDefinitionNode, Kind, parse } from "graphql";
import { TestApi } from "./api.fixture.ts";
import { measure, QUERY_CHARS_MAX } from "./limits.ts";

function measured(query: string) {
  const { definitions } = parse(query);
  const operation = definitions.find((d) => d.kind === Kind.OPERATION_DEFINITION)!;
  const fragments = definitions.filter((d): d is FragmentDefinitionNode =>
    d.kind === Kind.FRAGMENT_DEFINITION
  );
  return measure(operation.selectionSet, (name) => fragments.find((f) => f.name.value === name));
}

describe("measure()", () => {
  test("counts fields, and multiplies what is in a connection by its page", () => {
    expect(measured("{ viewer { subject } }")).toEqual({ depth: 2, cost: 2 });
    expect(measured("{ apps(first: 10) { edges { node { name } } } }")).toEqual({ depth: 4, cost: 31 });
    expect(measured("{ apps { edges { node { name } } } }")).toEqual({ depth: 4, cost: 151 });
    expect(measured("query ($n: Int) { apps(first: $n) { edges { cursor } } }")).toEqual({
      depth: 3,
      cost: 401,
    });
  });

  test("follows fragments, and ends on a cycle of them", () => {
    expect(measured("{ ...A } fragment A on Query { viewer { subject } }")).toEqual({ depth: 2, cost: 2 });
    expect(measured("{ ...A } fragment A on Query { viewer { ...A } }").depth).toBe(1);
  });

  test("gives up on fragments that double at each level", () => {
    const levels = Array.from(
      { length: 40 },
      (_, i) => `fragment F${i} on Query { ...F${i + 1} ...F${i + 1} }`,
    );
    expect(measured(`{ ...F0 } ${levels.join(" ")} fragment F40 on Query { viewer { subject } }`).cost).toBe(
      Infinity,
    );
  });
});

describe("the API", () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await TestApi.start();
  }, 60_000);
  afterAll(() => api.close());

  test("refuses a query that is too deep, too costly or too long", async () => {
    const level = "apps(first: 1) { edges { node { organization { ";
    const deep = `{ organization(slug: "personal") { ${level.repeat(4)} slug ${" } } } }".repeat(4)} } }`;
    expect(await api.codeOf(deep)).toBe("api.query_too_costly");
    const costly = `{ apps(first: 200) { edges { node { machines(first: 200) { edges { node { state } } }
      releases(first: 200) { edges { node { status } } } } } } }`;
    expect(await api.codeOf(costly)).toBe("api.query_too_costly");
    expect(await api.codeOf(`{ viewer { subject } } #${"x".repeat(QUERY_CHARS_MAX)}`)).toBe(
      "api.query_too_costly",
    );
  });

  test("says what is wrong with a query that does not fit the schema", async () => {
    const answer = await api.query("{ viewer { nickname } }");
    expect(answer.errors![0]).toMatchObject({
      message: expect.stringContaining("nickname"),
      extensions: { code: "api.query_invalid", fault: "client", retryable: false },
    });
    expect(await api.codeOf("{ viewer ")).toBe("api.query_invalid");
  });

  test("lets the schema be read", async () => {
    const { __schema } = await api.ask("{ __schema { types { name } } }");
    expect(__schema.types.map((type: { name: string }) => type.name)).toContain("Machine");
  });

  test("masks what nobody foresaw: an incident for the caller, the reason for the log", async () => {
    await api.store.read((sql) => sql`ALTER TABLE organizations RENAME TO organizations_gone`);
    api.logged.length = 0;
    const answer = await api.query("{ viewer { organizations { slug } } }");
    await api.store.read((sql) => sql`ALTER TABLE organizations_gone RENAME TO organizations`);
    const [error] = answer.errors!;
    expect(error!.extensions).toMatchObject({ code: "api.internal", fault: "us" });
    const incident = /incident ([0-9a-f-]{36})/.exec(error!.message)![1]!;
    expect(error!.message).not.toContain("organizations");
    expect(api.logged.join("")).toContain(incident);
    expect(api.logged.join("")).toContain('relation \\"organizations\\" does not exist');
  });
});
