import type { MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import type { Logger } from "pino";
import type { Metrics } from "./metrics.ts";

const routine = /^\/(healthz|metrics|internal\/.*)$/;

/** One line a request. Neither headers nor query strings nor bodies: they may hold secrets. */
export function requestLog(log: Logger, metrics: Metrics): MiddlewareHandler {
  return async (c, next) => {
    const startMs = performance.now();
    await next();
    const ms = performance.now() - startMs;
    const route = routePath(c, -1);
    const status = c.res.status;
    metrics.requests.inc({ route, status });
    metrics.requestSeconds.observe({ route }, ms / 1_000);
    // What machines ask every few seconds would bury what people ask.
    const level = status < 400 && routine.test(c.req.path) ? "debug" : "info";
    log[level]({ method: c.req.method, path: c.req.path, status, ms: Math.round(ms * 10) / 10 }, "request");
  };
}
