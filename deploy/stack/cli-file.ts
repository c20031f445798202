/** cli.json: what the `godwit` command of this home needs, so that a user types neither URL nor token. */
import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";
import type { Home } from "./home.ts";
import { writePrivately } from "./home-record.ts";

export const CliFile = z.object({
  schema: z.literal(1),
  api_url: z.string(),
  token: z.string(),
  /** The edge's admin listener, for `godwit route explain`. */
  edge_admin_url: z.string().optional(),
  /** Where the edge's replica answers, for `godwit replica`. */
  replica_socket: z.string().optional(),
  registry: z.object({ host: z.string(), auth_file: z.string() }),
});
export type CliFile = z.infer<typeof CliFile>;

export function readCli(home: Home): CliFile | null {
  if (!existsSync(home.cliFile)) return null;
  const parsed = CliFile.safeParse(JSON.parse(readFileSync(home.cliFile, "utf8")));
  return parsed.success ? parsed.data : null;
}

export function writeCli(home: Home, file: CliFile): void {
  writePrivately(home.cliFile, file);
}

const RENEW_BEFORE_MS = 7 * 86_400_000;

/** Pure: whether a JWT (RFC 7519) still holds for a week. What is not a JWT does not. */
export function isFresh(token: string, now: Date): boolean {
  try {
    const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8"));
    return typeof claims.exp === "number" && claims.exp * 1_000 - now.getTime() > RENEW_BEFORE_MS;
  } catch {
    return false; // not a token: a new one is made
  }
}
