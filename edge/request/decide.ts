/** One Hono app decides whose a request is: the edge's own pages are answered here, the rest is forwarded. */
import { Hono } from "hono";
import type { Edge } from "../edge.ts";
import type { Exchange } from "./exchange.ts";
import { LightRequest } from "./light-request.ts";

/** What the app's handler returns for "the stages of serve.ts, please". Never sent. */
const FORWARD = new Response(null);

/**
 * @param admin the pages of the admin listener
 * @param acme the answer to a validation of ACME; null leaves the request to the app, which may order certificates itself
 */
export function decisionApp(admin: Hono, acme: (host: string, token: string) => string | null): Hono {
  const app = new Hono({ getPath: (request) => (request as unknown as LightRequest).routePath });
  app.all("/app", () => FORWARD);
  // One handler alone: Hono answers by way of a promise where several match.
  app.get("/acme/*", (c) => {
    const answer = acme(new URL(c.req.url).hostname, c.req.path.slice("/acme/".length));
    return answer === null ? FORWARD : c.body(answer, 200, { "content-type": "application/octet-stream" });
  });
  app.route("/admin", admin);
  return app;
}

/** @returns the edge's own response, or null for app traffic */
export function decide(edge: Edge, exchange: Exchange): Response | Promise<Response> | null {
  const response = edge.app.fetch(new LightRequest(exchange, edge.tls.acme.httpAny) as unknown as Request);
  return response === FORWARD ? null : response;
}
