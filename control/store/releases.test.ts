import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { testDatabase } from "../../deploy/servers/testbed.ts";
import { newRowId } from "../contract/names.ts";
import { insertApp } from "./apps.ts";
import { Store } from "./database.ts";
import { migrate } from "./migrate.ts";
import { ensureOrganization } from "./organizations.ts";
import {
  appendProgress,
  claimRelease,
  insertRelease,
  PROGRESS_MESSAGES_MAX,
  recordStep,
  type Release,
  releaseById,
  releasesUnfinished,
} from "./releases.ts";

let store: Store;
let orgId: string;
beforeAll(async () => {
  store = new Store(await testDatabase());
  await migrate(store);
  orgId = (await store.read((sql) => ensureOrganization(sql, "personal"))).id;
}, 60_000);
afterAll(() => store.close());

async function newApp(): Promise<string> {
  const id = newRowId();
  await store.read((sql) => insertApp(sql, { id, orgId, name: `app-${id}` }));
  return id;
}

function newRelease(appId: string): Promise<Release | null> {
  return store.transaction((tx) =>
    insertRelease(tx, {
      id: newRowId(),
      appId,
      imageRef: "app:1",
      guest: { cpu_kind: "shared", cpus: 1, memory_mb: 256 },
      env: {},
      services: [],
      entrypoint: null,
      command: ["a", '"b"'],
      machine: { swap_size_mb: 64 },
      waitTimeoutS: 60,
    })
  );
}

describe("releases", () => {
  test("count up per app, one unfinished at a time, also without a lock on the app", async () => {
    const appId = await newApp();
    const many = await Promise.all(Array.from({ length: 5 }, () => newRelease(appId)));
    const [first] = many.filter((release) => release !== null);
    expect(many.filter((release) => release !== null)).toHaveLength(1);
    expect(first).toMatchObject({ version: 1, status: "pending", step: "accepted", command: ["a", '"b"'] });
    expect(first!.machine).toEqual({ swap_size_mb: 64 });
    const claimed = await store.read((sql) => claimRelease(sql, first!.id));
    await store.read((sql) => recordStep(sql, first!.id, claimed!.claim, { status: "succeeded" }));
    expect((await newRelease(appId))!.version).toBe(2);
  });

  test("take steps from their last claim only, and none once finished", async () => {
    const { id } = (await newRelease(await newApp()))!;
    const earlier = (await store.read((sql) => claimRelease(sql, id)))!;
    const later = (await store.read((sql) => claimRelease(sql, id)))!;
    const record = (claim: string, change: Parameters<typeof recordStep>[3]) =>
      store.read((sql) => recordStep(sql, id, claim, change));
    expect(await record(earlier.claim, { step: "placed" })).toBe(false);
    expect(await record(later.claim, { step: "placed", imageDigest: "sha256:x" })).toBe(true);
    expect(await record(later.claim, { status: "failed", step: "finished" })).toBe(true);
    expect(await store.read((sql) => claimRelease(sql, id))).toBeNull();
    expect(await store.read((sql) => releasesUnfinished(sql, 100))).not.toContain(id);
    const release = await store.read((sql) => releaseById(sql, id));
    expect(release).toMatchObject({ status: "failed", step: "finished", imageDigest: "sha256:x" });
    expect(release!.finishedAt).toBeInstanceOf(Date);
  });

  test("keep a bounded number of progress messages, a repeated one once", async () => {
    const { id } = (await newRelease(await newApp()))!;
    for (let n = 0; n < PROGRESS_MESSAGES_MAX + 10; n++) {
      for (let twice = 0; twice < 2; twice++) {
        await store.read((sql) => appendProgress(sql, id, `message ${n}`, new Date(n)));
      }
    }
    const { progress } = (await store.read((sql) => releaseById(sql, id)))!;
    expect(progress).toHaveLength(PROGRESS_MESSAGES_MAX);
    expect(progress[1]).toEqual({ at: "1970-01-01T00:00:00.001Z", message: "message 1" });
  });
});
