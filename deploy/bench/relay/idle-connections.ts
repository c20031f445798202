/**
 * What an idle kept-alive connection weighs: resident memory before and after a thousand clients have each had one
 * response and wait. The proxy is fresh and has been warmed up, so that its code and its heap are there already.
 */
import { runWrk } from "./load.ts";
import { APP_HOST, type Proxy } from "./proxy.ts";
import { RawClient } from "./raw-client.ts";

export const IDLE_CONNECTIONS = 1_000;
/** At a time, so that no listen queue overflows. */
const OPENED_AT_ONCE = 100;
const WARM_UP_S = 2;
/** Collectors and allocators give memory back a while after it is free; kept upstream connections end meanwhile. */
const SETTLE_MS = 6_000;

/** @returns KB for each connection */
export async function measureIdleConnections(proxy: Proxy, prefix: readonly string[]): Promise<number> {
  const url = `${proxy.httpUrl}/small`;
  await runWrk(prefix, { url, host: APP_HOST, connections: 64, seconds: WARM_UP_S });
  await Bun.sleep(SETTLE_MS);
  const beforeKb = proxy.usage().rssKb;
  const clients: RawClient[] = [];
  try {
    while (clients.length < IDLE_CONNECTIONS) {
      const opening = Array.from({ length: OPENED_AT_ONCE }, () => answered(proxy.plan.httpPort));
      clients.push(...await Promise.all(opening));
    }
    await Bun.sleep(SETTLE_MS);
    return (proxy.usage().rssKb - beforeKb) / IDLE_CONNECTIONS;
  } finally {
    for (const client of clients) client.close();
  }
}

/** A connection that has had its first response. */
async function answered(port: number): Promise<RawClient> {
  const response = Promise.withResolvers<void>();
  const client = await RawClient.open(port, {
    onResponse: () => response.resolve(),
    onFailure: (_client, reason) => response.reject(new Error(`an idle connection failed: ${reason}`)),
  });
  client.send(`GET /small HTTP/1.1\r\nHost: ${APP_HOST}\r\n\r\n`);
  await response.promise;
  return client;
}
