/** `ADDRESS:PORT` as it stands on a command line. */

export interface AddressPort {
  readonly address: string;
  readonly port: number;
}

/** @returns null where it is something else; IPv6 addresses stand in brackets */
export function readAddressPort(text: string): AddressPort | null {
  const colon = text.lastIndexOf(":");
  const bracketed = text.startsWith("[") && text[colon - 1] === "]";
  const address = bracketed ? text.slice(1, colon - 1) : text.slice(0, colon);
  const port = Number(text.slice(colon + 1));
  const plain = /^[0-9]{1,5}$/.test(text.slice(colon + 1)) && port <= 65_535 && port > 0;
  return colon < 1 || !plain || (!bracketed && address.includes(":")) ? null : { address, port };
}

export function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || address.startsWith("127.");
}
