/** The edge's own pages, on the admin listener: is it alive, what does it count, what does it know. */
import { Hono } from "hono";
import type { Metrics } from "../request/metrics.ts";
import { hostName } from "../relay/host-name.ts";
import { RegionCode } from "../../control/contract/names.ts";
import { describeRoute } from "../routes/describe-route.ts";
import type { RowSource } from "../rows/row-source.ts";
import { explain } from "./explain.ts";
import { explainAt, type ExplainAtSources } from "./explain-at.ts";

export interface AdminSources extends ExplainAtSources {
  readonly rows: () => RowSource | null;
  readonly metrics: () => Metrics;
  readonly draining: () => boolean;
}

export function adminPages(sources: AdminSources): Hono {
  const pages = new Hono();
  pages.get("/healthz", (c) => {
    const rows = sources.rows()?.status() ?? null;
    return c.json({
      // Degraded: it serves, from rows that are older than configured.
      status: sources.draining() ? "draining" : rows?.stale === true ? "degraded" : "ok",
      edge: sources.edgeId,
      region: sources.region,
      replica: {
        connected: rows?.connected ?? false,
        stale_ms: rows?.stale_ms ?? null,
        stale: rows?.stale ?? false,
      },
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
  pages.get("/explain", (c) => {
    const asked = new URL(c.req.url).searchParams;
    const url = URL.parse(asked.get("url") ?? "");
    const region = asked.get("region");
    if (url === null || !/^https?:$/.test(url.protocol)) {
      return c.json({ error: "url= must be an http or https URL" }, 400);
    }
    if (region !== null && !RegionCode.safeParse(region).success) {
      return c.json({ error: "region= must be a region's code" }, 400);
    }
    const question = { url, region, fields: asked.getAll("field") };
    const at = asked.get("at");
    if (at === null) return c.json(explain(sources, question));
    const atMs = Number(at);
    if (!/^\d{1,15}$/.test(at) || atMs > sources.wallMs()) {
      return c.json({ error: "at= must be a time in the past, in milliseconds since 1970" }, 400);
    }
    const past = sources.rows()?.past?.() ?? null;
    if (past === null) {
      return c.json({ error: "the rows of this edge have no past: they do not come from a replica" }, 400);
    }
    return c.json(explainAt(sources, past, question, atMs));
  });
  return pages;
}
