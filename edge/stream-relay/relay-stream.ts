/** The program (`edge/main.ts relay-stream`): one relay, until a signal ends it. */
import process from "node:process";
import type { Logger } from "pino";
import { parseRedisUrl, shownRedis } from "../../control/contract/redis-url.ts";
import { pause } from "../replica/pause.ts";
import { redisLinks } from "../replica/redis-links.ts";
import { redisSessions } from "../replica/redis-streams.ts";
import { BYTES } from "../replica/stream-commands.ts";
import { listenAdmin } from "../replicate/admin-listener.ts";
import type { RelayStreamOptions } from "./options.ts";
import { relayPage } from "./relay-pages.ts";
import { StreamRelay } from "./relay.ts";

/** Ends with 0. Throws where it cannot begin. */
export async function relayStream(options: RelayStreamOptions, log: Logger): Promise<void> {
  const { from, to, regions, admin, json } = options;
  const startedMs = performance.now();
  const say = (event: Record<string, unknown>, words: string) =>
    console.log(json ? JSON.stringify(event) : words);
  const relay = new StreamRelay({
    upstream: redisSessions(from.url, BYTES, from.caFile),
    regional: redisLinks(to.url, to.caFile),
    ...{ regions, log, pause, random: Math.random },
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
  });
  const listener = admin === null
    ? null
    : await listenAdmin(admin, (method, path) => relayPage(method, path, relay.status()));
  const ended = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log.info({ signal }, "ending");
      ended.resolve();
    });
  }
  // A terminal that is closed is no reason to end, and a log to open anew there is none.
  process.on("SIGHUP", () => {});
  relay.start();
  const [upstream, regional] = [from, to].map(({ url }) => shownRedis(parseRedisUrl(url)));
  void relay.caughtUp().then(() => {
    const ms = Math.round(performance.now() - startedMs);
    const { entries_copied, streams } = relay.status();
    say(
      { event: "caught_up", entries: entries_copied, ms, streams },
      `${regional} has what ${upstream} has: ${entries_copied} entries copied after ${ms} ms`,
    );
  });
  say(
    { event: "started", pid: process.pid, admin_port: listener?.port ?? null },
    `copying ${upstream} to ${regional}`,
  );
  await ended.promise;
  await listener?.stop();
  await relay.stop();
  say({ event: "stopped" }, "stopped");
}
