/** godwit route explain: asks an edge what it would do with a request, and shows it. */
import { GodwitError, messageOf } from "../../contract/errors.ts";
import { Explanation } from "../../contract/explanation.ts";
import { parseTime } from "../parse-time.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";

export interface ExplainFlags {
  readonly region?: string;
  readonly header?: string[];
  readonly edge?: string;
  readonly at?: string;
}

const ANSWER_WAIT_MS = 10_000;

export async function explainRoute(session: Session, url: string, flags: ExplainFlags): Promise<void> {
  if (!/^https?:/.test(URL.parse(url)?.protocol ?? "")) {
    throw new GodwitError("cli.url", `${JSON.stringify(url)} is not an http or https URL`, {
      fault: "client",
      hint: "for example http://my-app.example.com/path",
    });
  }
  const query = new URLSearchParams({ url });
  if (flags.region !== undefined) query.set("region", flags.region);
  if (flags.at !== undefined) query.set("at", String(parseTime(flags.at, Date.now())));
  for (const field of flags.header ?? []) query.append("field", field);
  const explanation = await ask(session.edge(flags.edge), query);
  session.result(explanation, renderExplanation(explanation));
}

async function ask(edge: string, query: URLSearchParams): Promise<Explanation> {
  const fail = (why: string, cause?: unknown) =>
    new GodwitError("cli.unreachable", `Cannot ask the edge at ${edge}: ${why}`, {
      fault: "us",
      retryable: true,
      hint: "is it the edge's admin listener, and is the stack up? `bun run godwit status`",
      cause,
    });
  let answer: Response;
  try {
    answer = await fetch(new URL(`/explain?${query}`, edge), { signal: AbortSignal.timeout(ANSWER_WAIT_MS) });
  } catch (error) {
    throw fail(messageOf(error), error);
  }
  const body = await answer.json().catch(() => null) as { error?: string } | null;
  if (answer.status === 400 && typeof body?.error === "string") {
    throw new GodwitError("cli.usage", `The edge cannot explain this: ${body.error}`, { fault: "client" });
  }
  const parsed = Explanation.safeParse(body);
  if (!answer.ok || !parsed.success) throw fail(`it answered ${answer.status} without an explanation`);
  return parsed.data;
}

/** Pure: for people. */
export function renderExplanation(explanation: Explanation): string {
  const { url, edge, region, stages, refusal, machines, rows } = explanation;
  const where = region === edge.region ? "" : `, as an edge in ${region} would`;
  const { past } = explanation;
  const when = past === undefined ? "" : `, from the rows of ${new Date(past.at_ms).toISOString()}`;
  const lines = [`${url}`, `decided by edge ${edge.id} in ${edge.region}${where}${when}`, ""];
  for (const { stage, decision, text } of stages) {
    lines.push(`${stage.padEnd(7)} ${decision.padEnd(8)} ${text}`);
  }
  if (refusal !== null) {
    lines.push(
      "",
      `The client is told ${refusal.status} ${refusal.code}: ${refusal.message}`,
      `  → ${refusal.hint}`,
    );
  }
  if (machines.length > 0) {
    lines.push(
      "",
      table(
        machines.map(({ id, region, state, in_flight, soft_limit, hard_limit, distance_ms, text }) => ({
          machine: id,
          region,
          away: distance_ms === null ? null : `${distance_ms.toFixed(1)} ms`,
          state,
          load: in_flight === null ? null : `${in_flight} of ${soft_limit}/${hard_limit ?? "∞"}`,
          verdict: text,
        })),
        "",
      ),
    );
  }
  if (rows.length > 0) {
    lines.push(
      "",
      table(
        rows.map(({ table, key, owner, version, published_ms }) => ({
          row: `${table} ${key}`,
          owner,
          version: version === null ? null : `${version.epoch}.${version.seq}`,
          [past === undefined ? "published" : "since"]: published_ms === null
            ? null
            : new Date(published_ms).toISOString(),
        })),
        "",
      ),
    );
  }
  if (past !== undefined) {
    const reach = past.reaches_to_ms === null
      ? "This replica keeps no history."
      : `History reaches back to ${new Date(past.reaches_to_ms).toISOString()}.`;
    lines.push("", `${reach} Not known of that time:`, ...past.unknown.map((what) => `  - ${what}`));
  }
  return lines.join("\n");
}
