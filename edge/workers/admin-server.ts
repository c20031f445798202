/** The admin listener of an edge with workers: its pages are the workers', asked for over their channels. */
import { createServer, type Server } from "node:http";
import { mergeMetrics } from "./merge-metrics.ts";
import type { Page } from "./messages.ts";
import type { Supervisor } from "./supervisor.ts";

const OWN_METRICS = (supervisor: Supervisor) => {
  const { serving, retiring } = supervisor.counts;
  return `# HELP godwit_edge_workers Worker processes by state.
# TYPE godwit_edge_workers gauge
godwit_edge_workers{state="serving"} ${serving}
godwit_edge_workers{state="retiring"} ${retiring}
# HELP godwit_edge_worker_crashes Workers that ended without being asked to.
# TYPE godwit_edge_worker_crashes counter
godwit_edge_worker_crashes ${supervisor.crashes}
`;
};

export function listenAdmin(supervisor: Supervisor, at: { address: string; port: number }): Promise<Server> {
  const server = createServer((request, response) => {
    void answer(supervisor, request.method ?? "", request.url ?? "/").then(
      ({ status, contentType, body }) => {
        response.writeHead(status, {
          "content-type": contentType,
          "content-length": Buffer.byteLength(body),
        });
        response.end(request.method === "HEAD" ? "" : body);
      },
    );
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port, at.address, () => resolve(server));
  });
}

/** `/metrics` of all with a label each; `/healthz` of all in one word; any other page is the newest worker's. */
async function answer(supervisor: Supervisor, method: string, path: string): Promise<Page> {
  if (method !== "GET" && method !== "HEAD") {
    return json(405, { error: "only GET and HEAD are answered here" });
  }
  const pages = await supervisor.pages(path);
  const { serving, wanted, retiring } = supervisor.counts;
  if (path === "/healthz") {
    const workers = [...pages].map(([worker, page]) => ({ worker, ...JSON.parse(page.body) }));
    const stale = workers.some((worker) => worker.status === "degraded");
    const status = supervisor.stopping
      ? "draining"
      : serving === wanted && !stale
      ? "ok"
      : serving > 0
      ? "degraded"
      : "down";
    return json(serving > 0 ? 200 : 503, { status, serving, wanted, retiring, workers });
  }
  if (path === "/metrics") {
    const texts = new Map([...pages].map(([worker, { body }]) => [worker, body]));
    const contentType = [...pages.values()][0]?.contentType ?? "text/plain; version=0.0.4";
    return { status: 200, contentType, body: OWN_METRICS(supervisor) + mergeMetrics(texts) };
  }
  return [...pages.values()].at(-1) ?? json(503, { error: "no worker answers" });
}

function json(status: number, body: unknown): Page {
  return { status, contentType: "application/json", body: JSON.stringify(body) };
}
