import type { Sql } from "./database.ts";

/** Kept until the token would have expired anyway. */
export async function revokeToken(sql: Sql, tokenId: string, expiresAt: Date): Promise<void> {
  await sql`INSERT INTO tokens_revoked (token_id, expires_at) VALUES (${tokenId}, ${expiresAt})
    ON CONFLICT (token_id) DO NOTHING`;
}

export async function isTokenRevoked(sql: Sql, tokenId: string): Promise<boolean> {
  const rows = await sql`SELECT 1 FROM tokens_revoked WHERE token_id = ${tokenId}`;
  return rows.length > 0;
}

export async function dropExpiredRevocations(sql: Sql): Promise<void> {
  await sql`DELETE FROM tokens_revoked WHERE expires_at < now() - interval '1 day'`;
}
