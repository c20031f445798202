/** godwit logs [-f] [--machine ID] [--tail N] */
import { GodwitError } from "../../contract/errors.ts";
import type { LogLine } from "../../contract/events.ts";
import type { ApiClient } from "../api-client.ts";
import { plainText } from "../plain-text.ts";
import type { Session } from "../session.ts";

export interface LogsFlags {
  readonly follow?: true;
  readonly machine?: string;
  readonly tail: number;
}

/** The server sends a blank line every 15 s; silence for longer means that the connection is dead. */
const SILENCE_MS_MAX = 45_000;

/** With --json one JSON object a line (NDJSON), because a stream has no end. */
export async function showLogs(session: Session, flags: LogsFlags): Promise<void> {
  const api = await session.api();
  for await (const line of readLogs(api, session.app, flags)) {
    process.stdout.write(session.flags.json ? `${JSON.stringify(line)}\n` : `${renderLine(line)}\n`);
  }
}

export async function* readLogs(api: ApiClient, app: string, flags: LogsFlags): AsyncGenerator<LogLine> {
  const query = new URLSearchParams({ tail: String(flags.tail) });
  if (flags.follow) query.set("follow", "1");
  if (flags.machine !== undefined) query.set("machine", flags.machine);
  const silence = new AbortController();
  const patience = () =>
    setTimeout(() => silence.abort(new Error("the log stream fell silent")), SILENCE_MS_MAX);
  let timer = patience();
  try {
    const answer = await api.rest(`/v1/apps/${encodeURIComponent(app)}/logs?${query}`, {
      signal: silence.signal,
    });
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of answer.body ?? []) {
      clearTimeout(timer);
      timer = patience();
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.trim() !== "") yield JSON.parse(line) as LogLine;
    }
    if (rest.trim() !== "") yield JSON.parse(rest) as LogLine;
  } catch (error) {
    if (error instanceof GodwitError) throw error;
    throw brokeOff(app, error);
  } finally {
    clearTimeout(timer);
  }
  // One that is followed has no end of its own, however politely the server closed it.
  if (flags.follow) throw brokeOff(app, null);
}

function brokeOff(app: string, cause: unknown): GodwitError {
  return new GodwitError("cli.unreachable", `The log stream of ${app} broke off`, {
    fault: "us",
    retryable: true,
    hint: "run the command again",
    cause,
  });
}

export function renderLine(line: LogLine): string {
  const mark = line.stream === "stdout" ? "" : `[${line.stream}] `;
  return `${new Date(line.at_ms).toISOString()} ${line.region} ${line.machine.slice(0, 8)} ${mark}${
    plainText(line.line)
  }`;
}
