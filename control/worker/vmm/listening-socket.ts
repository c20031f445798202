/**
 * A unix socket that listens, as an open descriptor: a VMM that may make no files is handed it. Whoever connects before the
 * VMM runs waits in the socket, so nobody has to try again until it is there.
 */
import { chmodSync, closeSync, rmSync } from "node:fs";
import { GodwitError } from "../../contract/errors.ts";
import { libc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const BACKLOG = 1;

/** For root alone. What lies at `path` is replaced. Short enough for sun_path: the caller's to see to. */
export function listenAt(path: string): number {
  const { socket, bind, listen } = libc();
  rmSync(path, { force: true });
  const address = Buffer.from(`\x01\0${path}\0`); // sa_family_t, then sun_path
  const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && bind(fd, address, address.length) === 0 && listen(fd, BACKLOG) === 0) {
    chmodSync(path, 0o600);
    return fd;
  }
  if (fd >= 0) closeSync(fd);
  throw new GodwitError("vmm.start_failed", `Cannot listen at ${path}`, {
    fault: "us",
    retryable: true,
    hint: "its folder must be there and be root's",
  });
}
