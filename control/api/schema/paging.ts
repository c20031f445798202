/** Relay connections over lists in the order of one column. */
import {
  type DefaultConnectionArguments,
  type PageInfoShape,
  resolveCursorConnection,
} from "@pothos/plugin-relay";
import type { z } from "zod";
import type { Page } from "../../store/page.ts";
import { validate } from "../validate.ts";

export const PAGE_SIZE_DEFAULT = 50;
export const PAGE_SIZE_MAX = 200;

export interface PagedList<T> {
  readonly args: DefaultConnectionArguments;
  /** What a cursor must look like: the ordering column's values. */
  readonly cursor: z.ZodType<string>;
  readonly toCursor: (item: T) => string;
  /** In the list's order, or reversed where `page.inverted`. */
  readonly read: (page: Page) => Promise<T[]>;
}

export interface Connection<T> {
  readonly pageInfo: PageInfoShape;
  readonly edges: { cursor: string; node: T }[];
}

export async function pageOf<T extends object>(list: PagedList<T>): Promise<Connection<T>> {
  const check = (value: string | undefined, what: string) =>
    value === undefined ? null : validate(list.cursor, value, {
      code: "api.cursor_invalid",
      what,
      hint: "Use the cursors of `pageInfo` and `edges` as they were given.",
    });
  const connection = await resolveCursorConnection(
    {
      args: list.args,
      defaultSize: PAGE_SIZE_DEFAULT,
      maxSize: PAGE_SIZE_MAX,
      toCursor: (item: unknown) => list.toCursor(item as T),
    },
    ({ before, after, limit, inverted }): Promise<unknown[]> =>
      list.read({ after: check(after, "`after`"), before: check(before, "`before`"), limit, inverted }),
  );
  return connection as Connection<T>;
}
