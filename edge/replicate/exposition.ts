/** Figures as Prometheus reads them (text format 0.0.4). Pure. */
type Type = "counter" | "gauge";

export class Exposition {
  readonly #lines: string[] = [];

  /** @param samples `{label="value"}` or nothing, and the figure */
  family(name: string, type: Type, help: string, samples: readonly (readonly [string, number])[]): void {
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of samples) this.#lines.push(`${name}${labels} ${value}`);
  }

  /** Left out where it is null. */
  one(name: string, type: Type, help: string, value: number | null): void {
    if (value !== null) this.family(name, type, help, [["", value]]);
  }

  get text(): string {
    return this.#lines.join("\n") + "\n";
  }
}

export function labelled(label: string, counts: readonly [string, number][]): [string, number][] {
  return counts.map(([name, count]) => [`{${label}="${escaped(name)}"}`, count]);
}

function escaped(text: string): string {
  return text.replace(/[\\"\n]/g, (character) => character === "\n" ? "\\n" : `\\${character}`);
}
