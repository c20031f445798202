/**
 * `http_options.response`: fields of a response set, given several values, or removed; and `pristine`, which leaves out
 * the edge's own. Prepared once, so that an edit costs one walk over the response's lines.
 */
import { FRAMING_FIELDS, type HttpOptions } from "../../control/contract/machine.ts";
import { withoutFields } from "../relay/field-cursor.ts";

type ResponseOptions = NonNullable<HttpOptions["response"]>;

export class HeaderEdits {
  readonly #removed = new Set<string>();
  #added = "";
  /** Which of the edge's own fields a response keeps. */
  readonly server: boolean;
  readonly via: boolean;
  readonly requestId: boolean;
  readonly date: boolean;

  constructor(options: ResponseOptions) {
    for (const [name, value] of Object.entries(options.headers ?? {})) {
      const lower = name.toLowerCase();
      // The contract refuses them; a row of an older one is not believed.
      if (FRAMING_FIELDS.has(lower)) continue;
      this.#removed.add(lower);
      if (value === false) continue;
      for (const each of typeof value === "string" ? [value] : value) this.#added += `${name}: ${each}\r\n`;
    }
    const pristine = options.pristine === true;
    this.server = !pristine && !this.#removed.has("server");
    this.via = !pristine && !this.#removed.has("via");
    this.requestId = !pristine && !this.#removed.has("fly-request-id");
    this.date = !this.#removed.has("date");
  }

  /** @param lines of a response's head, each with CR LF */
  apply(lines: string): string {
    return this.#removed.size === 0 ? lines : withoutFields(lines, this.#removed) + this.#added;
  }
}

/** @returns null where nothing would be edited */
export function headerEditsOf(options: HttpOptions["response"]): HeaderEdits | null {
  if (options === undefined) return null;
  const edits = Object.keys(options.headers ?? {}).length > 0;
  return edits || options.pristine === true ? new HeaderEdits(options) : null;
}
