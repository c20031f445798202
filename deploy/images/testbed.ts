/** One guest for all tests of a user: built once into a shared cache, again only when its inputs change. */
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { buildGuest, type GuestFiles } from "./build.ts";

let guest: Promise<GuestFiles> | null = null;

export function testGuestFolder(): string {
  return join(tmpdir(), `godwit-test-guest-${userInfo().uid}`);
}

export function testGuest(): Promise<GuestFiles> {
  return guest ??= buildGuest({ folder: testGuestFolder() });
}
