import type { ApiParts } from "./context.ts";

/** A server that does not answer in this time counts as away. */
export const HEALTH_TIMEOUT_MS = 2_000;

/** 200 `ok`, or 503 `degraded` where Postgres or Redis is away. */
export async function health({ store, redis }: Pick<ApiParts, "store" | "redis">): Promise<Response> {
  const [postgres, redisState] = await Promise.all([
    answers(() => store.ping()),
    answers(() => redis.ping()),
  ]);
  const ok = postgres === "ok" && redisState === "ok";
  return Response.json({ status: ok ? "ok" : "degraded", postgres, redis: redisState }, {
    status: ok ? 200 : 503,
  });
}

async function answers(ping: () => Promise<unknown>): Promise<"ok" | "unavailable"> {
  const timeout = Promise.withResolvers<"unavailable">();
  const timer = setTimeout(() => timeout.resolve("unavailable"), HEALTH_TIMEOUT_MS);
  const asked = ping().then(() => "ok" as const, () => "unavailable" as const);
  const answer = await Promise.race([asked, timeout.promise]);
  clearTimeout(timer);
  return answer;
}
