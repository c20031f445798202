/** Owners are forged in every way that somebody who may write to Redis could try. */
import { afterEach, describe, expect, test } from "bun:test";
import { GLOBAL_STREAM, regionStream, type StateEvent } from "../../control/contract/events.ts";
import { newSigningKeyPem, signingKey } from "../../control/contract/signing.ts";
import { batchFields, digestFields } from "../../control/contract/stream-entry.ts";
import { until } from "../edge.fixture.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { readBatch } from "./read-batch.ts";
import { ReplicaCounts } from "./replica-counts.ts";
import { Cleanups, TestPublisher } from "./replica.fixture.ts";
import { storeIn } from "./replica-store.ts";
import { START } from "./stream-gap.ts";
import { EntryVerifier, KEYS_CACHED_MAX } from "./verify-entry.ts";
import { join } from "node:path";

const cleanups = new Cleanups();
afterEach(() => cleanups.run());

const api = new TestPublisher(null, "api");
const h1 = new TestPublisher(null, "worker:h1");
const h2 = new TestPublisher(null, "worker:h2");
const AMS = regionStream("ams");
const hostOf = (id: string) => ({ id, region: "ams", state: "ready", cpus: 1, memory_mb: 1 });
const hostname = () => api.event("hostnames", "a.test", { hostname: "a.test", app_id: "a".repeat(20) });

/** The reasons for which one entry is refused; of who is believed, the keys that it writes. */
function read(stream: string, fields: string[]): string[] {
  const verifier = new EntryVerifier({
    apiPublicKey: api.key.publicKey,
    publisherKey: (owner) =>
      ({ "worker:h1": h1.key.publicKey, "worker:h2": h2.key.publicKey })[owner] ?? null,
  });
  const counts = new ReplicaCounts();
  const scope = stream === GLOBAL_STREAM ? "global" : "ams";
  const batch = readBatch({
    ...{ stream, scope, verifier, counts, before: START, furthest: START },
    entries: [{ id: "5-0", fields }],
  });
  const written = batch.steps.map((step) =>
    "valid" in step ? step.valid.event.key : `digest of ${step.digest.owner}`
  );
  return [...written, ...batch.refused.map(({ reason }) => reason)];
}
function tampered(fields: string[], from: string, to: string): string[] {
  const changed = fields.map((field) => field.replace(from, to));
  expect(changed).not.toEqual(fields);
  return changed;
}

describe("an entry", () => {
  test("of its owner is taken", () => {
    expect(read(GLOBAL_STREAM, batchFields(GLOBAL_STREAM, "api", [hostname()], api.key))).toEqual(["a.test"]);
    const host = h1.event("hosts", "h1", hostOf("h1"));
    expect(read(AMS, batchFields(AMS, "worker:h1", [host], h1.key))).toEqual(["h1"]);
    expect(read(AMS, digestFields(AMS, h1.digestNow(), h1.key))).toEqual(["digest of worker:h1"]);
  });

  const forged: [what: string, stream: string, fields: () => string[], reason: string][] = [
    [
      "without a signature",
      GLOBAL_STREAM,
      () => batchFields(GLOBAL_STREAM, "api", [hostname()], null),
      "unsigned",
    ],
    [
      "that a worker signs for the API",
      GLOBAL_STREAM,
      () => batchFields(GLOBAL_STREAM, "api", [hostname()], h1.key),
      "bad_signature",
    ],
    [
      "that one worker signs for another",
      AMS,
      () => batchFields(AMS, "worker:h2", [h2.event("hosts", "h2", hostOf("h2"))], h1.key),
      "bad_signature",
    ],
    [
      "that a worker signs as itself, with another's event in it",
      AMS,
      () => batchFields(AMS, "worker:h1", [h2.event("hosts", "h2", hostOf("h2"))], h1.key),
      "wrong_owner",
    ],
    [
      "that a worker signs as itself, for another's key",
      AMS,
      () => batchFields(AMS, "worker:h1", [h1.event("hosts", "h2", hostOf("h2"))], h1.key),
      "wrong_owner",
    ],
    [
      "of a worker that writes a table of the API",
      GLOBAL_STREAM,
      () => {
        const event: StateEvent = { ...hostname(), owner: "worker:h1" };
        return batchFields(GLOBAL_STREAM, "worker:h1", [event], h1.key);
      },
      "wrong_owner",
    ],
    [
      "copied to another stream",
      AMS,
      () => batchFields(regionStream("fra"), "worker:h1", [h1.event("hosts", "h1", hostOf("h1"))], h1.key),
      "bad_signature",
    ],
    [
      "whose payload was changed",
      GLOBAL_STREAM,
      () => tampered(batchFields(GLOBAL_STREAM, "api", [hostname()], api.key), "a.test", "b.test"),
      "bad_signature",
    ],
    [
      "whose owner was changed",
      AMS,
      () =>
        tampered(
          batchFields(AMS, "worker:h1", [h1.event("hosts", "h1", hostOf("h1"))], h1.key),
          "worker:h1",
          "worker:h2",
        ),
      "bad_signature",
    ],
    [
      "that is a batch signed as a digest",
      AMS,
      () => {
        const [, , , payload, , signature] = digestFields(AMS, h1.digestNow(), h1.key);
        return ["owner", "worker:h1", "batch", payload!, "signature", signature!];
      },
      "bad_signature",
    ],
    [
      "of a digest of another",
      AMS,
      () => digestFields(AMS, { ...h1.digestNow(), owner: "worker:h2" }, h1.key),
      "bad_signature",
    ],
    [
      "of nobody known",
      AMS,
      () => {
        const h9 = new TestPublisher(null, "worker:h9");
        return batchFields(AMS, h9.owner, [h9.event("hosts", "h9", hostOf("h9"))], h9.key);
      },
      "unknown_publisher",
    ],
  ];
  for (const [what, stream, fields, reason] of forged) {
    test(`${what} is refused: ${reason}`, () => expect(read(stream, fields())).toEqual([reason]));
  }

  test("that is unsigned is taken where no key is configured", () => {
    const verifier = new EntryVerifier({ apiPublicKey: null, publisherKey: () => null });
    const entry = { kind: "batch", owner: "api", payload: "[]", signature: null } as const;
    expect(verifier.faultOf(GLOBAL_STREAM, entry)).toBeNull();
  });
});

test("an owner's new key counts once its row has come, and keys in memory are bounded", () => {
  let key = h1.key.publicKey;
  const verifier = new EntryVerifier({ apiPublicKey: api.key.publicKey, publisherKey: () => key });
  const other = signingKey(newSigningKeyPem());
  const signedBy = (signer: typeof other, owner: string) => {
    const [, , , payload, , signature] = batchFields(
      AMS,
      owner,
      [h1.event("hosts", "h1", hostOf("h1"))],
      signer,
    );
    return { kind: "batch", owner, payload: payload!, signature: signature! } as const;
  };
  expect(verifier.faultOf(AMS, signedBy(h1.key, "worker:h1"))).toBeNull();
  key = other.publicKey;
  expect(verifier.faultOf(AMS, signedBy(other, "worker:h1"))).toBe("bad_signature");
  verifier.forget("worker:h1");
  expect(verifier.faultOf(AMS, signedBy(other, "worker:h1"))).toBeNull();
  for (let i = 0; i <= KEYS_CACHED_MAX; i++) verifier.faultOf(AMS, signedBy(other, `worker:n${i}`));
  const signedByApi = { ...signedBy(api.key, "api") };
  expect(verifier.faultOf(AMS, signedByApi)).toBeNull();
});

test("a store remembers from where to read again once an owner's key comes", () => {
  const store = storeIn(openBunDatabase(":memory:"));
  const empty = { steps: [], refused: [] };
  const unbelieved = [{ owner: "worker:h1", before: "3-0" }];
  store.take({ stream: AMS, position: "9-0", furthest: "9-0", ...empty, unbelieved }, 1);
  const again = [{ owner: "worker:h1", before: "9-0" }, { owner: "worker:h2", before: "9-0" }];
  store.take({ stream: AMS, position: "12-0", furthest: "12-0", ...empty, unbelieved: again }, 1);
  const event = api.event("publishers", "worker:h1", { owner: "worker:h1", public_key: h1.key.publicKey });
  const steps = [{ valid: { table: "publishers", event } }] as const;
  const batch = {
    stream: GLOBAL_STREAM,
    position: "1-0",
    furthest: "1-0",
    steps,
    refused: [],
    unbelieved: [],
  };
  expect(store.take(batch, 1).rewound).toEqual(new Map([[AMS, "3-0"]]));
  expect(store.positions().get(AMS)).toBe("3-0");
  expect(store.furthest().get(AMS)).toBe("12-0");
  expect(store.take(batch, 1).rewound.size).toBe(0);
  expect(store.publisherKey("worker:h1")).toBe(h1.key.publicKey);
  store.close();
});

test("entries that came before their owner's key are read again when it comes", async () => {
  const { url, admin } = await cleanups.redis();
  const apiNow = new TestPublisher(admin, "api"), worker = new TestPublisher(admin, "worker:h1");
  const { replica } = cleanups.follow({
    file: join(cleanups.folder(), "r.sqlite"),
    url,
    apiPublicKey: apiNow.key.publicKey,
  });
  await worker.host();
  await worker.digest();
  await until(() => replica.status().events_quarantined.unknown_publisher === 2);
  expect(replica.has("hosts", "h1")).toBe(false);
  const stranger = new TestPublisher(admin, "worker:h1");
  await stranger.publish("machines", "h1/00000000000000", null);
  await apiNow.publish("publishers", "worker:h1", { owner: "worker:h1", public_key: worker.key.publicKey });
  await until(() => replica.has("hosts", "h1"));
  await worker.digest();
  await until(() => replica.status().digests.states["worker:h1"]?.agrees === true);
  const status = replica.status();
  expect(status).toMatchObject({ rewinds: 1, incidents_count: 0 });
  expect(status.quarantined_owners).toMatchObject({ "worker:h1": 3 });
  expect(status.tables.machines).toEqual({ rows: 0, tombstones: 0 });
}, 20_000);
