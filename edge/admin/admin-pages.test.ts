import { expect, test } from "bun:test";
import type { RowSource, RowSourceStatus } from "../rows/row-source.ts";
import { adminPages, type AdminSources } from "./admin-pages.ts";

const status: RowSourceStatus = {
  ...{ connected: true, stale_ms: 5, quarantined: 0, gaps: 0, details: { incidents: [] } },
  from: "redis",
};
async function health(rows: Partial<RowSourceStatus>, draining = false) {
  const source = { status: () => ({ ...status, ...rows }) } as RowSource;
  const pages = adminPages(
    { edgeId: "e", region: "ams", rows: () => source, draining: () => draining } as unknown as AdminSources,
  );
  return await (await pages.request("/healthz")).json() as { status: string; replica: { stale: boolean } };
}

test("/healthz says degraded while rows are older than configured", async () => {
  expect(await health({})).toMatchObject({ status: "ok", replica: { stale: false } });
  expect(await health({ stale: true })).toMatchObject({ status: "degraded", replica: { stale: true } });
  expect(await health({ stale: true }, true)).toMatchObject({ status: "draining" });
});
