/** What belongs to another organisation is not there, whichever way one asks for it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { newMachineId } from "../contract/names.ts";
import { appByName } from "../store/apps.ts";
import { registerHost } from "../store/hosts.ts";
import { insertMachine } from "../store/machines.ts";
import { ensureOrganization } from "../store/organizations.ts";
import { DEPLOY, TestApi } from "./api.fixture.ts";

let api: TestApi;
let stranger: string;
let ids: { app: string; release: string; releaseRow: string; machine: string; organization: string };
beforeAll(async () => {
  api = await TestApi.start();
  await api.store.read((sql) => ensureOrganization(sql, "strangers"));
  stranger = await api.issue({ subject: "stranger", organizations: ["strangers"] });
  await api.createApp("ours");
  const { release } = (await api.ask(DEPLOY, { input: { app: "ours", image: "test/app:1" } })).deployImage;
  const machine = newMachineId();
  await api.store.read(async (sql) => {
    const host = { id: "h", region: "dev", version: "0", vmm: "runc", acceleration: "none" } as const;
    const size = { cpus: 1, memory_mb: 1, memory_free_mb: 1, machines: 0 };
    await registerHost(sql, { host: { ...host, ...size }, url: "unix:/nonexistent/worker.sock" });
    const appId = (await appByName(sql, "ours"))!.id;
    await insertMachine(sql, { id: machine, appId, releaseId: release.rowId, hostId: "h", region: "dev" });
  });
  const { app } = await api.ask(`{ app(name: "ours") { id organization { id } } }`);
  ids = {
    app: app.id,
    release: release.id,
    releaseRow: release.rowId,
    machine,
    organization: app.organization.id,
  };
}, 60_000);
afterAll(() => api.close());

describe("a token of another organisation", () => {
  test("finds neither app, release, machine nor organisation", async () => {
    const data = await api.ask(
      `query ($machine: String!, $release: String!, $app: ID!, $r: ID!, $o: ID!) {
        app(name: "ours") { id } machine(id: $machine) { id } release(id: $release) { id }
        organization(slug: "personal") { id }
        a: node(id: $app) { id } b: node(id: $r) { id } c: node(id: $o) { id }
        apps { edges { node { id } } } organizations { edges { node { slug } } } }`,
      { machine: ids.machine, release: ids.releaseRow, app: ids.app, r: ids.release, o: ids.organization },
      stranger,
    );
    expect(data).toEqual({
      app: null,
      machine: null,
      release: null,
      organization: null,
      a: null,
      b: null,
      c: null,
      apps: { edges: [] },
      organizations: { edges: [{ node: { slug: "strangers" } }] },
    });
  });

  test("can change nothing, and is told what it would be told of what does not exist", async () => {
    const calls: [query: string, input: Record<string, unknown>, code: string][] = [
      [DEPLOY, { app: "ours", image: "test/app:1" }, "app.not_found"],
      [
        "mutation ($input: DeleteAppInput!) { deleteApp(input: $input) { name } }",
        { name: "ours" },
        "app.not_found",
      ],
      ...["startMachine", "destroyMachine"].map((name): [string, Record<string, unknown>, string] => [
        `mutation ($input: MachineActionInput!) { ${name}(input: $input) { machine { id } } }`,
        { machineId: ids.machine },
        "machine.not_found",
      ]),
      [
        "mutation ($input: StopMachineInput!) { stopMachine(input: $input) { machine { id } } }",
        { machineId: ids.machine },
        "machine.not_found",
      ],
      [
        "mutation ($input: CreateAppInput!) { createApp(input: $input) { app { id } } }",
        { name: "theirs", organization: "personal" },
        "organization.not_found",
      ],
    ];
    for (const [query, input, code] of calls) expect(await api.codeOf(query, { input }, stranger)).toBe(code);
    for (const path of ["/v1/apps/ours/logs", `/v1/machines/${ids.machine}/wait`]) {
      const [foreign, missing] = await Promise.all([
        api.request(path, {}, stranger),
        api.request(path.replace("ours", "none").replace(ids.machine, "0".repeat(14)), {}, stranger),
      ]);
      expect([foreign.status, missing.status]).toEqual([404, 404]);
    }
  });

  test("is not answered with what another token of its subject got under the same key", async () => {
    const namesake = await api.issue({ organizations: ["strangers"] });
    const create = `mutation ($input: CreateAppInput!) { createApp(input: $input) { app { id } } }`;
    const calls: [query: string, input: Record<string, unknown>, code: string][] = [
      [create, { name: "kept", idempotencyKey: "k1" }, "app.name_taken"],
      [DEPLOY, { app: "kept", image: "test/app:1", idempotencyKey: "k2" }, "app.not_found"],
    ];
    for (const [query, input, code] of calls) {
      await api.ask(query, { input });
      expect(await api.codeOf(query, { input }, namesake)).toBe(code);
    }
  });

  test("leaves the owner's view of it as it was", async () => {
    const { app } = await api.ask(`{ app(name: "ours") { machines { edges { node { machineId } } } } }`);
    expect(app.machines.edges).toEqual([{ node: { machineId: ids.machine } }]);
  });
});
