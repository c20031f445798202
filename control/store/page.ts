/** A page of a list in the order of one column: what stands between two cursors, from either end. */
export interface Page {
  /** Exclusive; values of the column. */
  readonly after: string | null;
  readonly before: string | null;
  /** Taken from the end: the rows come in reverse order. */
  readonly inverted: boolean;
  readonly limit: number;
}
