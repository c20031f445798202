/** A page of JSON. */
import type { Page } from "../workers/messages.ts";

export function json(status: number, body: unknown): Page {
  return { status, contentType: "application/json", body: JSON.stringify(body) };
}
