/** The page a person or a program sees where no machine answered: code, request id, what to do. */
import type { Refusal } from "../relay/refusal.ts";

export interface ErrorPage {
  readonly contentType: string;
  readonly body: Buffer;
}

/** @param accept the request's Accept field; JSON where it asks for JSON and not for HTML */
export function errorPage(why: Refusal, requestId: string, accept: string | null): ErrorPage {
  if (accept !== null && accept.includes("json") && !accept.includes("html")) {
    const body = {
      error: {
        code: why.code,
        fault: faultOf(why),
        retryable: why.status === 503,
        message: why.message,
        hint: why.hint,
      },
      request_id: requestId,
    };
    return { contentType: "application/json", body: Buffer.from(JSON.stringify(body) + "\n") };
  }
  const title = `${why.status} ${why.code}`;
  // Nothing of the request is in the page, so there is nothing to escape.
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>` +
    `<body style="font-family:system-ui;margin:10vh auto;max-width:40rem"><h1>${why.status}</h1>` +
    `<p>${why.message}</p><p>${why.hint}</p><p><code>${why.code}</code> · <code>${why.family}</code> · ` +
    `<code>${requestId}</code></p></body></html>\n`;
  return { contentType: "text/html; charset=utf-8", body: Buffer.from(html) };
}

function faultOf(why: Refusal): "client" | "app" | "us" {
  if (why.status < 500) return "client";
  return why.code === "edge.too_many_connections" ? "us" : "app";
}
