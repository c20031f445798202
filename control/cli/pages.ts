/** Whole lists out of the API's pages (Relay cursor connections). */
export interface Page<T> {
  readonly edges: readonly { readonly node: T }[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

export const PAGE_SIZE = 100;
/** Far more than anybody reads; a script that needs all of a fleet asks the API itself. */
export const PAGES_MAX = 100;

/** Asks page after page, each from the cursor where the one before ended, for at most `PAGES_MAX` of them. */
export async function readPages<T>(ask: (after: string | null) => Promise<Page<T>>): Promise<T[]> {
  const nodes: T[] = [];
  let after: string | null = null;
  for (let page = 0; page < PAGES_MAX; page++) {
    const { edges, pageInfo } = await ask(after);
    nodes.push(...edges.map((edge) => edge.node));
    if (!pageInfo.hasNextPage) break;
    after = pageInfo.endCursor;
  }
  return nodes;
}
