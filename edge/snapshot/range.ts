/** Which bytes of a file a request is for (RFC 9110 section 14). Pure. */

/** Both ends belong to it. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * A list of ranges is answered as if there were none (section 14.2 allows it): whoever resumes asks for one.
 *
 * @param range the value of Range; @param ifRange of If-Range; @param etag the file's own, a strong one
 * @returns null where all of it is asked for, "unsatisfiable" where that range has no byte of it
 */
export function rangeOf(
  range: string | undefined,
  ifRange: string | undefined,
  etag: string,
  bytes: number,
): ByteRange | null | "unsatisfiable" {
  if (range === undefined || (ifRange !== undefined && ifRange.trim() !== etag)) return null;
  const [, from, to] = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(range.trim()) ?? [];
  if (from === undefined || to === undefined || (from === "" && to === "")) return null;
  if (from === "") {
    const suffix = Math.min(Number(to), bytes);
    return suffix === 0 ? "unsatisfiable" : { first: bytes - suffix, last: bytes - 1 };
  }
  const first = Number(from);
  // A last byte before the first makes the field invalid, and an invalid one is ignored (section 14.1.1).
  if (to !== "" && Number(to) < first) return null;
  if (first >= bytes) return "unsatisfiable";
  return { first, last: to === "" ? bytes - 1 : Math.min(Number(to), bytes - 1) };
}
