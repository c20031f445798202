/**
 * What is asked of a machine's inside, passed on to its worker: commands, files, what runs there. The paths below an app
 * have the bodies of the reference's Machines API (section 2.2); those below a machine are Godwit's own and stream.
 *
 * Each access is logged with who, which machine and what kind; never with words, paths or bytes of it, which may be secret.
 */
import type { Context, Hono } from "hono";
import { z } from "zod";
import { requireScope } from "../access/permission.ts";
import type { Principal, Scope } from "../access/token.ts";
import { GodwitError } from "../contract/errors.ts";
import { EXEC_CALL_TIMEOUT_MS_MAX, EXEC_TIMEOUT_MS_DEFAULT, ExecBody } from "../contract/worker-api.ts";
import type { WorkerClient } from "../place/worker-client.ts";
import { authenticate } from "./authenticate.ts";
import type { ApiParts } from "./context.ts";
import { findOwnMachine, notFound } from "./not-found.ts";
import { validate } from "./validate.ts";

/** Commands and files under way through this process. */
export const GUEST_STREAMS_MAX = 256;
/** Until a command runs, or a file is open. */
const HEAD_WAIT_MS = 20_000;
const STREAM_FIELDS = ["content-type", "godwit-file"] as const;

/** `cmd` is for a shell, as people type it; `command` is run as it stands. */
const MachineExecRequest = z.object({
  cmd: z.string().optional(),
  command: z.array(z.string()).optional(),
  stdin: z.string().optional(),
  /** Seconds. */
  timeout: z.number().min(0).max(EXEC_CALL_TIMEOUT_MS_MAX / 1_000).optional(),
  user: z.string().optional(),
});

interface Access {
  readonly principal: Principal;
  readonly id: string;
  readonly client: WorkerClient;
}

type Action = "exec" | "exec stream" | "read file" | "write file" | "list files" | "ps" | "sysinfo";

export function addMachineCalls(app: Hono, parts: ApiParts): void {
  const execPaths = ["/v1/apps/:name/machines/:id/exec", "/v1/machines/:id/exec"];
  app.on("POST", execPaths, async (c) => {
    const { client, id } = await access(parts, c, "write", "exec");
    const body = execBodyOf(await c.req.json().catch(() => null));
    const { exit_code, signal, timed_out, truncated, stdout, stderr } = await client.exec(id, body, {
      signal: c.req.raw.signal,
    });
    return c.json({ exit_code, stdout, stderr, signal, timed_out, truncated });
  });
  app.get("/v1/apps/:name/machines/:id/ps", async (c) => {
    const { client, id } = await access(parts, c, "read", "ps");
    const { processes } = await client.processes(id);
    return c.json(processes.map(({ pid, command, cpu_ms, rss_kb, listen_sockets }) => ({
      pid,
      command,
      cpu: cpu_ms,
      rss: rss_kb * 1_024,
      listen_sockets: listen_sockets.map(({ protocol, address, port }) => ({
        proto: protocol,
        address: address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`,
      })),
    })));
  });
  app.get("/v1/machines/:id/ps", async (c) => {
    const { client, id } = await access(parts, c, "read", "ps");
    return c.json(await client.processes(id));
  });
  app.get("/v1/machines/:id/sysinfo", async (c) => {
    const { client, id } = await access(parts, c, "read", "sysinfo");
    return c.json(await client.sysinfo(id));
  });
}

/** To stand before the bound of bodies, which reads a stream ahead. */
export function addMachineStreams(app: Hono, parts: ApiParts): void {
  const streams = new Streams(parts);
  app.post("/v1/machines/:id/exec/stream", (c) => streams.pass(c, "POST", "exec/stream", "exec stream"));
  app.get("/v1/machines/:id/files", (c) => streams.pass(c, "GET", "files", "read file"));
  app.put("/v1/machines/:id/files", (c) => streams.pass(c, "PUT", "files", "write file"));
  app.get("/v1/machines/:id/list", (c) => streams.pass(c, "GET", "list", "list files"));
}

async function access(parts: ApiParts, c: Context, scope: Scope, action: Action): Promise<Access> {
  const principal = await authenticate(parts, c.req.raw);
  requireScope(principal, scope);
  const id = c.req.param("id") ?? "";
  const { line, host, app } = await parts.store.read((sql) => findOwnMachine(sql, principal, id));
  const named = c.req.param("name");
  if (line.destroyedAt !== null || (named !== undefined && named !== app.name)) throw notFound("machine", id);
  const { subject, tokenId } = principal;
  parts.log.info({ subject, token: tokenId, app: app.name, machine: id, action }, "machine accessed");
  return { principal, id, client: parts.clientOf(host) };
}

function execBodyOf(value: unknown): ExecBody {
  const options = {
    code: "machine.exec_invalid",
    what: "command",
    hint: `Give cmd (for a shell) or command (a list of words), stdin, timeout in seconds.`,
    secret: true,
  };
  const { cmd, command, stdin, timeout, user } = validate(MachineExecRequest, value, options);
  if ((cmd === undefined) === (command === undefined)) {
    throw new GodwitError(options.code, "Cannot use the command: it needs just one of cmd and command", {
      fault: "client",
      hint: options.hint,
    });
  }
  return validate(ExecBody as z.ZodType<ExecBody>, {
    argv: command ?? null,
    shell: cmd ?? null,
    user: user ?? null,
    stdin: stdin ?? null,
    // 0 is no wish, as an absent one.
    timeout_ms: timeout === undefined || timeout === 0 ? EXEC_TIMEOUT_MS_DEFAULT : Math.ceil(timeout * 1_000),
  }, options);
}

/** Requests and answers that are carried as they come, at the pace of the slower side. */
class Streams {
  #count = 0;
  readonly #parts: ApiParts;

  constructor(parts: ApiParts) {
    this.#parts = parts;
  }

  async pass(c: Context, method: "GET" | "POST" | "PUT", verb: string, action: Action): Promise<Response> {
    const { principal, id, client } = await access(this.#parts, c, "write", action);
    this.#enter();
    const startMs = performance.now();
    const left = once(() => {
      this.#parts.metrics.guestStreams.set(--this.#count);
      const ms = Math.round(performance.now() - startMs);
      this.#parts.log.info({ subject: principal.subject, machine: id, action, ms }, "machine access ended");
    });
    try {
      const { body, signal } = c.req.raw;
      const path = `/v1/machines/${id}/${verb}${new URL(c.req.url).search}`;
      const answer = await client.stream(method, path, method === "GET" ? null : body, {
        signal,
        headMs: method === "PUT" ? null : HEAD_WAIT_MS,
      });
      const headers = new Headers({ "cache-control": "no-store" });
      for (const name of STREAM_FIELDS) {
        const value = answer.headers.get(name);
        if (value !== null) headers.set(name, value);
      }
      return new Response(watched(answer.body, left), { headers });
    } catch (error) {
      left();
      throw error;
    }
  }

  #enter(): void {
    if (this.#count >= GUEST_STREAMS_MAX) {
      this.#parts.metrics.limitsMet.inc({ limit: "guest_streams" });
      throw new GodwitError(
        "api.too_many_streams",
        `Cannot open another stream to a machine: ${GUEST_STREAMS_MAX} are open`,
        { fault: "us", retryable: true, hint: "Try again later." },
      );
    }
    this.#parts.metrics.guestStreams.set(++this.#count);
  }
}

/** The same bytes; tells when they end, whoever ends them. */
function watched(body: ReadableStream<Uint8Array> | null, onEnd: () => void): ReadableStream<Uint8Array> {
  const reader = (body ?? new Blob([]).stream()).getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { value, done } = await reader.read();
        if (!done) return controller.enqueue(value);
        onEnd();
        controller.close();
      } catch (error) {
        onEnd();
        controller.error(error);
      }
    },
    async cancel(reason) {
      onEnd();
      await reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    work();
  };
}
