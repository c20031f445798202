/** What is asked of a machine's inside: commands, files, what runs there. Streams have no bound but their back-pressure. */
import type { Context, Hono } from "hono";
import { z } from "zod";
import { EXEC_CONTENT_TYPE } from "../../contract/exec-frames.ts";
import { type FileEntry, GuestPath } from "../../contract/guest-api.ts";
import { LIST_DEPTH_MAX } from "../../contract/guest-limits.ts";
import { type ExecAnswer, ExecBody } from "../../contract/worker-api.ts";
import type { Requests } from "../requests.ts";
import type { Ran } from "../vmm/guest-exec.ts";
import { execStream } from "./exec-stream.ts";
import { bodyOf, idOf, invalid, parse } from "./input.ts";
import { streamOf } from "./stream-of.ts";

const Depth = z.coerce.number().int().min(0).max(LIST_DEPTH_MAX).default(1);
const Mode = z.string().regex(/^[0-7]{1,4}$/, "an octal number").optional();

export function addGuestCalls(app: Hono, requests: Requests): void {
  app.get("/v1/machines/:id/sysinfo", async (c) => c.json(await requests.guest(idOf(c)).sysinfo()));
  app.get("/v1/machines/:id/ps", async (c) => c.json(await requests.guest(idOf(c)).processes()));
  app.get("/v1/machines/:id/guest-metrics", async (c) => c.json(await requests.guest(idOf(c)).metrics()));
  app.post("/v1/machines/:id/exec", async (c) => {
    const { stdin, ...request } = await bodyOf(c, ExecBody);
    if (request.argv !== null && request.shell !== null) {
      throw invalid("a command has argv or shell, not both");
    }
    if (request.argv === null && request.shell === null) throw invalid("a command needs argv or shell");
    const guest = requests.guest(idOf(c));
    const ran = await guest.exec(
      { ...request, terminal: null, stdin: stdin !== null },
      new TextEncoder().encode(stdin ?? ""),
      { signal: c.req.raw.signal },
    );
    return c.json(answerOf(ran));
  });
}

export function addGuestStreams(app: Hono, requests: Requests): void {
  app.post("/v1/machines/:id/exec/stream", async (c) => {
    const { body, signal } = c.req.raw;
    const frames = await execStream(requests.guest(idOf(c)), body, signal);
    return new Response(frames, { headers: { "content-type": EXEC_CONTENT_TYPE } });
  });
  app.get("/v1/machines/:id/files", async (c) => {
    const { entry, bytes } = await requests.guest(idOf(c)).files.read(pathOf(c), {
      signal: c.req.raw.signal,
    });
    return new Response(streamOf(bytes), {
      headers: { "content-type": "application/octet-stream", "godwit-file": fieldOf(entry) },
    });
  });
  app.put("/v1/machines/:id/files", async (c) => {
    const mode = parse(Mode, c.req.query("mode"), "mode");
    const source = c.req.raw.body ?? new Blob([]).stream();
    const entry = await requests.guest(idOf(c)).files.write(pathOf(c), source, {
      mode: mode === undefined ? null : Number.parseInt(mode, 8),
      replace: c.req.query("replace") === "1",
      signal: c.req.raw.signal,
    });
    return c.json(entry);
  });
  app.get("/v1/machines/:id/list", async (c) => {
    const depth = parse(Depth, c.req.query("depth"), "depth");
    const entries = requests.guest(idOf(c)).files.list(pathOf(c), depth, { signal: c.req.raw.signal });
    // The first one tells whether there is such a path.
    const first = await entries.next();
    return new Response(streamOf(linesOf(first, entries)), {
      headers: { "content-type": "application/x-ndjson" },
    });
  });
}

function pathOf(c: Context): string {
  return parse(GuestPath, c.req.query("path"), "path");
}

export function fieldOf(entry: FileEntry): string {
  return encodeURIComponent(JSON.stringify(entry));
}

async function* linesOf(
  first: IteratorResult<FileEntry, void>,
  rest: AsyncGenerator<FileEntry, void, void>,
): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  if (first.done !== true) yield encoder.encode(`${JSON.stringify(first.value)}\n`);
  for await (const entry of rest) yield encoder.encode(`${JSON.stringify(entry)}\n`);
}

function answerOf({ exit, stdout, stderr }: Ran): ExecAnswer {
  const text = new TextDecoder();
  return {
    ...exit,
    stdout: text.decode(stdout),
    stderr: text.decode(stderr),
    truncated: exit.stdout_lost_bytes + exit.stderr_lost_bytes > 0,
  };
}
