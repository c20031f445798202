/**
 * Redis paused, killed, or in place of it something that speaks nonsense or nothing: no request fails, no replicator is
 * replaced for it, and rows are routed again afterwards. Each test has an edge and a Redis of its own and waits most of its
 * time.
 */
import { expect, test } from "bun:test";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { eventually, type IsolatedEdge, withIsolatedEdge } from "./isolation.fixture.ts";

const MS_MAX = 200_000;
const UNTOUCHED = { ended: 0, silent: 0, stalled: 0, news_held: 0, unreadable: 0 };

const disconnected = (edge: IsolatedEdge) => eventually(async () => !(await edge.replica()).connected);

test.concurrent("a Redis that pauses its clients holds up no request", async () => {
  await withIsolatedEdge({}, async (edge) => {
    await edge.routesNews();
    await edge.redis.client.call("CLIENT", "PAUSE", "8000", "ALL");
    await disconnected(edge);
    await edge.routesNews();
    expect(await edge.restarts()).toEqual(UNTOUCHED);
  });
}, MS_MAX);

test.concurrent("a Redis that hangs holds up no request", async () => {
  await withIsolatedEdge({}, async (edge) => {
    const { pid } = edge.redis.server;
    process.kill(pid, "SIGSTOP");
    try {
      await disconnected(edge);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await edge.routesNews();
    expect(await edge.restarts()).toEqual(UNTOUCHED);
  });
}, MS_MAX);

test.concurrent("a Redis that is killed and comes back holds up no request", async () => {
  await withIsolatedEdge({}, async (edge) => {
    for (let times = 0; times < 2; times++) {
      const { pid, exited } = edge.redis.server;
      process.kill(pid, "SIGKILL");
      await exited;
      await disconnected(edge);
      await edge.redis.restart();
      await edge.routesNews();
    }
    expect(await edge.restarts()).toEqual(UNTOUCHED);
  });
}, MS_MAX);

/** What comes between the replicator and Redis. */
const FAULTS: Record<string, (client: Socket) => void> = {
  "answers with what is no Redis protocol": (client) =>
    client.on("data", () => client.write("HTTP/1.1 400 ?\r\n\r\n")),
  "answers with errors": (client) => client.on("data", () => client.write("-ERR out of order\r\n")),
  "never answers": (client) => client.resume(),
  "closes every connection": (client) => client.destroy(),
};

for (const [what, fault] of Object.entries(FAULTS)) {
  test.concurrent(`something in place of Redis that ${what} holds up no request`, async () => {
    let redisPort = 0;
    let isFaulty = false;
    const clients = new Set<Socket>();
    const proxy = createServer((client) => {
      clients.add(client);
      client.on("error", () => {}).on("close", () => clients.delete(client));
      if (isFaulty) return fault(client);
      const server = connect(redisPort, "127.0.0.1").on("error", () => client.destroy());
      client.pipe(server).pipe(client);
      client.on("close", () => server.destroy());
    }).listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const address = proxy.address() as { port: number };
    const throughProxy = (url: string) => {
      redisPort = Number(new URL(url).port);
      return url.replace(`:${redisPort}/`, `:${address.port}/`);
    };
    try {
      await withIsolatedEdge({ redisUrl: throughProxy }, async (edge) => {
        await edge.routesNews();
        isFaulty = true;
        for (const client of clients) client.destroy();
        await disconnected(edge);
        // Long enough for several tries of the replicator's.
        await Bun.sleep(5_000);
        isFaulty = false;
        for (const client of clients) client.destroy();
        await edge.routesNews();
        expect(await edge.restarts()).toEqual(UNTOUCHED);
      });
    } finally {
      for (const client of clients) client.destroy();
      proxy.close();
    }
  }, MS_MAX);
}
