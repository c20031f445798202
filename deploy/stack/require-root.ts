import { GodwitError } from "../../control/contract/errors.ts";
import { listPackages, type Package } from "../setup/packages.ts";

/** Refuses for an ordinary user, and names in the same breath what root would have to install. */
export function requireRoot(uid: number | undefined, missing: readonly Package[]): void {
  if (uid === 0) return;
  const also = missing.length === 0
    ? ""
    : `; ${missing.length} needed Debian packages are not installed either:\n${listPackages(missing)}`;
  throw new GodwitError(
    "stack.needs_root",
    `Cannot start machines as an ordinary user: taps and mounts need root${also}`,
    {
      fault: "client",
      hint: "run it as root, for example with sudo",
    },
  );
}
