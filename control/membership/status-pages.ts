/** The agent's pages on its admin listener: `/metrics`, and `/members` for people and tools. */
import { Hono } from "hono";
import type { Registry } from "prom-client";
import type { Agent } from "./agent.ts";

export function statusPages(agent: Agent, registry: Registry): Hono {
  const pages = new Hono();
  pages.get(
    "/healthz",
    (c) => c.json({ status: "ok", host_id: agent.membership.id, live: agent.membership.live }),
  );
  pages.get(
    "/metrics",
    async (c) => c.text(await registry.metrics(), 200, { "content-type": registry.contentType }),
  );
  pages.get("/members", (c) => {
    const { membership, counts } = agent;
    const members = agent.lines().map((line) => {
      const at = membership.table.get(line.host_id)?.at;
      return { ...line, address: at === undefined ? null : `${at.address} ${at.port}` };
    });
    return c.json({ host_id: membership.id, health_score: membership.health.score, counts, members });
  });
  return pages;
}
