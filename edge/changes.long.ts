/**
 * Routes and certificates change a thousand times a second while clients ask, on connections that stay and on new ones,
 * with TLS and without. Runs in `bun run check --long`.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Agent, request } from "node:http";
import { rmSync } from "node:fs";
import { idOf, startTestEdge, type TestEdge } from "./edge.fixture.ts";
import {
  ask,
  certificateRow,
  newSealing,
  publishCertificate,
  type Sealing,
  secureApp,
  secureClient,
} from "./tls/tls.fixture.ts";

const LENGTH_S = Number(process.env.GODWIT_CHANGES_S ?? 20);
const CHANGES_PER_S = 1_000;
const TICK_MS = 20;

let t: TestEdge;
let sealing: Sealing;
let server: Bun.Server<unknown>;

beforeAll(async () => {
  sealing = await newSealing();
  t = await startTestEdge({ tls: { sealing_key_file: sealing.file } });
  server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("ok") });
  await secureApp(t, "busy", server.port!);
  await publishCertificate(t, "busy.test", sealing);
});
afterAll(async () => {
  await t.stop();
  await server.stop(true);
  rmSync(sealing.folder, { recursive: true });
});

test(
  `${CHANGES_PER_S} changes a second of routes and certificates for ${LENGTH_S} s fail no request`,
  async () => {
    const certificates = await Promise.all(
      Array.from({ length: 20 }, () => certificateRow("busy.test", sealing)),
    );
    const endsMs = performance.now() + LENGTH_S * 1_000;
    const running = () => performance.now() < endsMs;
    const counts: Record<string, number> = { kept: 0, fresh: 0, "kept TLS": 0, "fresh TLS": 0 };
    const failures: string[] = [];
    const each = async (kind: string, one: () => Promise<boolean>) => {
      while (running()) {
        const good = await one().catch((error) => (failures.push(`${kind}: ${error}`), true));
        if (!good) failures.push(`${kind}: not 200`);
        counts[kind]!++;
      }
    };
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const kept = await secureClient(t.tlsPort, { servername: "busy.test" });
    const clients = [
      each("kept", () => get(agent)),
      each("fresh", () => get(false)),
      each("kept TLS", async () => (await ask(kept, "busy.test")).startsWith("HTTP/1.1 200")),
      each("fresh TLS", async () => {
        const fresh = await secureClient(t.tlsPort, { servername: "busy.test" });
        const text = await ask(fresh, "busy.test");
        fresh.destroy();
        return text.startsWith("HTTP/1.1 200");
      }),
    ];
    let changes = 0;
    const startedMs = performance.now();
    while (running()) {
      const due = Math.floor((performance.now() - startedMs) / 1_000 * CHANGES_PER_S);
      const published: Promise<void>[] = [];
      for (; changes < due; changes++) published.push(change(changes));
      await Promise.all(published);
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    await Promise.all(clients);
    kept.destroy();
    agent.destroy();
    await t.settled();
    console.log(`${changes} changes beside ${JSON.stringify(counts)} requests, ${failures.length} failed`);
    expect(failures.slice(0, 5)).toEqual([]);
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(10);
    expect(changes).toBeGreaterThan(0.9 * LENGTH_S * CHANGES_PER_S);
    expect(t.edge.metrics.faults).toBe(0);

    /** Two machines in turn come and go behind the same app, and its certificate is another each time. */
    function change(n: number): Promise<void> {
      if (n % 2 === 0) {
        return t.publish(
          "certificates",
          "busy.test/acme",
          certificates[n / 2 % certificates.length],
        );
      }
      const id = idOf(n % 4 === 1 ? "one" : "two", 14);
      const cordoned = Math.floor(n / 4) % 2 === 0;
      return secureMachine(id, cordoned);
    }
  },
  LENGTH_S * 1_000 + 60_000,
);

async function secureMachine(id: string, cordoned: boolean): Promise<void> {
  await t.machine("busy", server.port!, {
    id,
    cordoned,
    services: [{
      protocol: "tcp",
      internal_port: server.port!,
      ports: [
        { port: 80, handlers: ["http"], force_https: false },
        { port: 443, handlers: ["tls", "http"], force_https: false },
      ],
      concurrency: { type: "requests", soft_limit: 20, hard_limit: null },
    }],
  });
}

function get(agent: Agent | false): Promise<boolean> {
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port: t.port, agent, headers: { host: "busy.test" } }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode === 200)).on("error", reject);
    }).on("error", reject).end();
  });
}
