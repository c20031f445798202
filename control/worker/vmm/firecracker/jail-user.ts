/**
 * The user that a VM's Firecracker becomes: a number that no person has and, by the machine's id, no other VM of the host.
 * No entry in /etc/passwd is needed. A function of the id, so that nothing must be remembered.
 */
import { createHash } from "node:crypto";

/** Above all ranges of systemd and shadow (systemd: UIDS-GIDS.md), below 2^31, which some tools read as a sign. */
const FIRST_USER = 0x6000_0000;
const USERS = 0x1000_0000;

export function jailUserOf(machineId: string): number {
  return FIRST_USER + createHash("sha256").update(machineId).digest().readUInt32BE(0) % USERS;
}
