/**
 * Alternating rounds: a machine's speed drifts while it is measured, so peers take turns, and the first of a round is the
 * second of the next. Figures are medians, because a busy neighbour makes outliers and no faster runs.
 */
import { assert } from "../../control/contract/errors.ts";

export interface Contender {
  readonly name: string;
  /** One run; resolves to its figure. */
  run(round: number): Promise<number>;
}

/** The contenders of one round, in their order. */
export function orderOf<T>(round: number, contenders: readonly T[]): T[] {
  return round % 2 === 0 ? [...contenders] : [...contenders].reverse();
}

/** Runs them one at a time; resolves to each one's figures by round. */
export async function alternate(
  rounds: number,
  contenders: readonly Contender[],
  onFigure: (round: number, name: string, figure: number) => void,
): Promise<Map<string, number[]>> {
  const figures = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round++) {
    for (const contender of orderOf(round, contenders)) {
      const figure = await contender.run(round);
      figures.get(contender.name)?.push(figure);
      onFigure(round, contender.name, figure);
    }
  }
  return figures;
}

export function median(figures: readonly number[]): number {
  assert(figures.length > 0, "a median needs at least one figure");
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Ours over the peer's, of the medians, to three digits. */
export function ratioOf(ours: readonly number[], peers: readonly number[]): number {
  return Math.round(median(ours) / median(peers) * 1_000) / 1_000;
}
