/** A response's fields (RFC 9113 section 8.3.2) as the head of an HTTP/1.1 response, for the parser of all of them. */
import type { Limits } from "../relay/limits.ts";
import { reasonOf } from "../relay/status.ts";
import { fieldLine } from "./field-line.ts";
import type { FieldSink } from "./hpack-decoder.ts";
import type { Field } from "./hpack-table.ts";

const COLON = 0x3a;

export class ResponseFields implements FieldSink {
  readonly #limits: Limits;
  #lines = "";
  #status: string | null = null;
  #hasLength = false;
  #count = 0;
  #bytes = 0;
  #wrong: string | null = null;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  begin(): this {
    this.#lines = "";
    this.#status = this.#wrong = null;
    this.#hasLength = false;
    this.#count = this.#bytes = 0;
    return this;
  }

  field(field: Field): void {
    if (this.#wrong !== null) return;
    this.#bytes += field.name.length + field.value.length;
    if (++this.#count > this.#limits.fieldsMax || this.#bytes > this.#limits.headBytesMax) {
      this.#wrong = "the head is larger than allowed";
    } else if (field.name.charCodeAt(0) === COLON) {
      if (field.name !== ":status" || this.#status !== null || this.#lines !== "") {
        this.#wrong = "its pseudo-fields are wrong";
      } else this.#status = field.value;
    } else {
      const line = fieldLine(field);
      if (line === null) this.#wrong = "a field is malformed";
      else this.#lines += line;
      if (field.name === "content-length") this.#hasLength = true;
    }
  }

  /**
   * @param ends no body follows
   * @param bodiless no response to this request has a body, whatever its head says (HEAD)
   * @returns lines as `parseResponseHead` takes them; a body without a length is announced as chunked. Or what is wrong
   */
  end(ends: boolean, bodiless: boolean): { readonly lines: string } | string {
    if (this.#wrong !== null) return this.#wrong;
    const status = this.#status;
    if (status === null || !/^[1-5][0-9]{2}$/.test(status)) {
      return "the status is not a number of three digits";
    }
    const interim = status.startsWith("1");
    if (interim && (ends || status === "101")) return `a response cannot be ${status} here`;
    let framing = "";
    if (!interim && !this.#hasLength && !bodiless && status !== "204" && status !== "304") {
      framing = ends ? "content-length: 0\r\n" : "transfer-encoding: chunked\r\n";
    }
    return { lines: `HTTP/1.1 ${status} ${reasonOf(Number(status))}\r\n${this.#lines}${framing}` };
  }
}
