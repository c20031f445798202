/** The edge's own pages, on the admin listener: is it alive, what does it count, what does it know. */
import { Hono } from "hono";
import type { Metrics } from "../request/metrics.ts";
import { hostName } from "../relay/host-name.ts";
import type { RowSource } from "../rows/row-source.ts";
import type { RouteTable } from "../routes/route-table.ts";
import { describeRoute } from "../routes/describe-route.ts";

export interface AdminSources {
  readonly edgeId: string;
  readonly region: string;
  readonly rows: () => RowSource | null;
  readonly routes: RouteTable;
  readonly metrics: () => Metrics;
  readonly nowMs: () => number;
  readonly draining: () => boolean;
}

export function adminPages(sources: AdminSources): Hono {
  const pages = new Hono();
  pages.get("/healthz", (c) => {
    const rows = sources.rows()?.status() ?? null;
    return c.json({
      status: sources.draining() ? "draining" : "ok",
      edge: sources.edgeId,
      region: sources.region,
      replica: { connected: rows?.connected ?? false, stale_ms: rows?.stale_ms ?? null },
    });
  });
  pages.get("/metrics", async (c) => {
    const { registry } = sources.metrics();
    return c.text(await registry.metrics(), 200, { "content-type": registry.contentType });
  });
  pages.get("/replica", (c) => {
    const { details, ...status } = sources.rows()?.status() ?? { details: {} };
    return c.json({ ...status, ...details });
  });
  pages.get("/routes", (c) => {
    const url = new URL(c.req.url);
    const host = hostName(url.searchParams.get("host") ?? "");
    if (host === null) return c.json(sources.routes.sizes);
    const app = sources.routes.find(host);
    return app === null
      ? c.json({ error: "no app has this host name" }, 404)
      : c.json(describeRoute(host, app, sources.routes.distances, sources.nowMs()));
  });
  return pages;
}
