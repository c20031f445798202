/** Which host each request asks for. */
export type Draw = (random: () => number) => number;

/** Each of `count` hosts as often as any other. */
export function uniform(count: number): Draw {
  return (random) => Math.floor(random() * count);
}

/** Zipf's law with exponent 1: the host of rank r is asked for 1 / r as often as the first. */
export function zipf(count: number): Draw {
  const cumulated = new Float64Array(count);
  let sum = 0;
  for (let rank = 1; rank <= count; rank++) cumulated[rank - 1] = sum += 1 / rank;
  return (random) => {
    const wanted = random() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulated[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
