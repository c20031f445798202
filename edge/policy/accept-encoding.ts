/** Which content coding a client takes (RFC 9110 section 12.5.3), of those that the edge can make. */

/** In the edge's order of preference, where the client has none: the smaller result for the same work first. */
export const CODINGS = ["zstd", "br", "gzip"] as const;
export type Coding = (typeof CODINGS)[number];

const IDENTITY = 3;
const ANY = 4;
const UNNAMED = -1;
/** Weights in thousandths, by CODINGS and then identity and `*`. One array for all: nothing here is async. */
const weights = new Int16Array(5);

/**
 * @param accept the request's Accept-Encoding, all its lines joined; null where it has none
 * @returns the coding to use; null where the content should stay as it is
 */
export function chooseCoding(accept: string | null): Coding | null {
  if (accept === null) return null;
  weights.fill(UNNAMED);
  let at = 0;
  while (at <= accept.length) {
    let comma = accept.indexOf(",", at);
    if (comma === -1) comma = accept.length;
    readMember(accept.slice(at, comma));
    at = comma + 1;
  }
  let best: Coding | null = null;
  let bestWeight = 0;
  for (let i = 0; i < CODINGS.length; i++) {
    const weight = weights[i] === UNNAMED ? weights[ANY]! : weights[i]!;
    if (weight <= bestWeight) continue;
    best = CODINGS[i]!;
    bestWeight = weight;
  }
  // Identity is always acceptable; it wins only where the client says that it prefers it.
  return weights[IDENTITY]! > bestWeight ? null : best;
}

function readMember(member: string): void {
  const semicolon = member.indexOf(";");
  const name = (semicolon === -1 ? member : member.slice(0, semicolon)).trim().toLowerCase();
  const index = indexOf(name);
  if (index === -1) return;
  const weight = semicolon === -1 ? 1_000 : readWeight(member.slice(semicolon + 1).trim());
  if (weight !== -1) weights[index] = weight;
}

function indexOf(name: string): number {
  switch (name) {
    case "zstd":
      return 0;
    case "br":
      return 1;
    case "gzip":
    case "x-gzip":
      return 2;
    case "identity":
      return IDENTITY;
    case "*":
      return ANY;
    default:
      return -1;
  }
}

/** @returns `q=0.5` in thousandths (RFC 9110 section 12.4.2); -1 where it is not a weight */
function readWeight(text: string): number {
  if (text.length < 3 || text.length > 7 || (text[0] !== "q" && text[0] !== "Q") || text[1] !== "=") {
    return -1;
  }
  const whole = text.charCodeAt(2) - 48;
  if (whole !== 0 && whole !== 1) return -1;
  if (text.length > 3 && text[3] !== ".") return -1;
  let weight = whole * 1_000;
  for (let i = 4, unit = 100; i < text.length; i++, unit /= 10) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    weight += digit * unit;
  }
  return weight <= 1_000 ? weight : -1;
}
