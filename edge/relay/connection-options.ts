/** What a Connection field asks for (RFC 9110 section 7.6.1). */
import { eachListMember } from "./field-cursor.ts";

export class ConnectionOptions {
  close = false;
  keepAlive = false;
  upgrade = false;
  /** Names of fields that are for this hop alone, lower case. */
  listed: Set<string> | null = null;

  add(value: string): void {
    if (value === "keep-alive") this.keepAlive = true;
    else if (value === "close") this.close = true;
    else eachListMember(value, (member) => this.#addMember(member));
  }

  #addMember(member: string): void {
    if (member === "close") this.close = true;
    else if (member === "keep-alive") this.keepAlive = true;
    else if (member === "upgrade") this.upgrade = true;
    else (this.listed ??= new Set()).add(member);
  }
}
