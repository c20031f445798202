/** The fields behind a body (RFC 9113 section 8.1), as lines. */
import type { Limits } from "../relay/limits.ts";
import { isName, isValue } from "./field-line.ts";
import type { FieldSink } from "./hpack-decoder.ts";
import type { Field } from "./hpack-table.ts";

const LINE_OVERHEAD_BYTES = 4;

export class TrailerFields implements FieldSink {
  readonly #limits: Limits;
  /** With CR LF each; null where one is malformed, or all are too large. */
  lines: string | null = "";

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  begin(): this {
    this.lines = "";
    return this;
  }

  field({ name, value }: Field): void {
    if (this.lines === null) return;
    const bytes = this.lines.length + name.length + value.length + LINE_OVERHEAD_BYTES;
    const valid = isName(name) && isValue(value) && bytes <= this.#limits.trailerBytesMax;
    this.lines = valid ? `${this.lines}${name}: ${value}\r\n` : null;
  }
}
