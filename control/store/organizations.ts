/** Organisations own apps; who may act in one stands in the access token. */
import { newRowId } from "../contract/names.ts";
import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";

export interface Organization {
  readonly id: string;
  readonly slug: string;
  readonly name: string;
  readonly createdAt: Date;
}

/** The organisation of this slug, made where missing. */
export async function ensureOrganization(sql: Sql, slug: string): Promise<Organization> {
  await sql`INSERT INTO organizations (id, slug, name) VALUES (${newRowId()}, ${slug}, ${slug})
    ON CONFLICT (slug) DO NOTHING`;
  const found = await organizationBySlug(sql, slug);
  return found!;
}

export async function organizationBySlug(sql: Sql, slug: string): Promise<Organization | null> {
  const [row] = await sql`SELECT * FROM organizations WHERE slug = ${slug}`;
  return row === undefined ? null : fromRow(row);
}

export async function organizationById(sql: Sql, id: string): Promise<Organization | null> {
  const [row] = await sql`SELECT * FROM organizations WHERE id = ${id}`;
  return row === undefined ? null : fromRow(row);
}

/** Those of `slugs` that exist, by slug. */
export async function organizationsBySlugs(sql: Sql, slugs: readonly string[]): Promise<Organization[]> {
  const rows = await sql`SELECT * FROM organizations WHERE slug = ANY(${sql.array([...slugs], "TEXT")})
    ORDER BY slug`;
  return rows.map(fromRow);
}

/** A page of those of `slugs` that exist, ordered by slug. */
export async function pageOfOrganizations(
  sql: Sql,
  slugs: readonly string[],
  page: Page,
): Promise<Organization[]> {
  const rows = await sql`SELECT * FROM organizations WHERE slug = ANY(${sql.array([...slugs], "TEXT")})
    AND (${page.after}::text IS NULL OR slug > ${page.after}) AND (${page.before}::text IS NULL OR slug < ${page.before})
    ORDER BY CASE WHEN ${page.inverted} THEN slug END DESC, slug LIMIT ${page.limit}`;
  return rows.map(fromRow);
}

// deno-lint-ignore no-explicit-any -- a row as the driver gives it
function fromRow(row: any): Organization {
  return { id: row.id, slug: row.slug, name: row.name, createdAt: row.created_at };
}
