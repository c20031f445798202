import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { GodwitError } from "../contract/errors.ts";
import { findPlace } from "./market.ts";
import { WorkerClient } from "./worker-client.ts";
import { FixtureWorker } from "./worker.fixture.ts";

let worker: FixtureWorker;
let client: WorkerClient;
beforeAll(() => {
  worker = new FixtureWorker();
  client = new WorkerClient(worker.host.id, worker.url);
});
afterAll(() => worker.close());

describe("WorkerClient", () => {
  test("speaks over the worker's unix socket", async () => {
    expect(await client.host()).toEqual(worker.host);
  });

  test("passes the worker's own errors on", async () => {
    await expect(client.machine("0".repeat(14))).rejects.toMatchObject({
      code: "machine.not_found",
      fault: "client",
    });
  });

  test("calls a worker unreachable that is gone, or that does not answer in time", async () => {
    const unreachable = { code: "place.host_unreachable", fault: "us", retryable: true };
    const gone = new WorkerClient("host-9", "unix:/nonexistent/worker.sock");
    await expect(gone.host()).rejects.toMatchObject(unreachable);
    const held = Promise.withResolvers<void>();
    worker.before = () => held.promise;
    const late = client.host({ timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({
      ...unreachable,
      message: expect.stringContaining("no answer within 0.05 s"),
    });
    held.resolve();
    worker.before = () => {};
  });

  test("gives the caller's reason when the caller gives up", async () => {
    const held = Promise.withResolvers<void>();
    worker.before = () => held.promise;
    const abort = new AbortController();
    const call = client.host({ signal: abort.signal });
    abort.abort(new Error("no longer wanted"));
    await expect(call).rejects.toThrow("no longer wanted");
    held.resolve();
    worker.before = () => {};
  });

  test("does not believe an answer of another shape", async () => {
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => Response.json({ id: 7 }) });
    const odd = new WorkerClient("odd", server.url.href.replace(/\/$/, ""));
    await expect(odd.host()).rejects.toMatchObject({ code: "place.worker_answer_invalid" });
    await server.stop(true);
  });
});

describe("findPlace()", () => {
  const wish = {
    machineId: "0".repeat(14),
    guest: { cpu_kind: "shared", cpus: 1, memory_mb: 256 } as const,
    imageDigest: `sha256:${"0".repeat(64)}`,
    present: new Map<string, number>(),
  };
  const hostOf = (w: FixtureWorker) => ({
    id: w.host.id,
    region: "dev",
    url: w.url,
    view: w.host,
    seenAt: new Date(),
  });
  const clientOf = (host: { id: string; url: string }) => new WorkerClient(host.id, host.url);

  test("takes the best offer, passes over a host that is away, and withdraws the others", async () => {
    const [cheap, dear] = [new FixtureWorker("cheap"), new FixtureWorker("dear")];
    cheap.cost = 0.1;
    const withdrawn = Promise.withResolvers<void>();
    dear.before = (call) => call.startsWith("DELETE /v1/offers/") ? withdrawn.resolve() : undefined;
    const away = { ...hostOf(dear), id: "away", url: "unix:/nonexistent/worker.sock" };
    const place = await findPlace([hostOf(dear), away, hostOf(cheap)], wish, clientOf);
    expect(place.host.id).toBe("cheap");
    await withdrawn.promise;
    await cheap.close();
    await dear.close();
  });

  test("says so when no worker is ready, when none has room, and when none can be reached", async () => {
    await expect(findPlace([], wish, clientOf)).rejects.toMatchObject({ code: "place.no_host" });
    worker.before = () => {
      throw new GodwitError("place.no_capacity", "full", { fault: "us", retryable: true });
    };
    await expect(findPlace([hostOf(worker)], wish, clientOf)).rejects.toMatchObject({
      code: "place.no_capacity",
      message: "Cannot place a machine with 1 CPUs and 256 MB: none of 1 workers has room",
    });
    worker.before = () => {};
    const away = { ...hostOf(worker), url: "unix:/nonexistent/worker.sock" };
    await expect(findPlace([away], wish, clientOf)).rejects.toMatchObject({ code: "place.host_unreachable" });
  });
});
