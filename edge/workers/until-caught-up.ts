import type { Replica } from "../replica/replica.ts";

/**
 * Resolves once the replica has taken all that its streams had. To be called before the replica's `start()`.
 *
 * @param onRound after each read of all streams, also where it failed: `caughtUp()` says so where the streams could not
 * be read too, and then the file may lack what they have.
 */
export async function untilCaughtUp(
  replica: Pick<Replica, "caughtUp" | "status">,
  onRound: () => void = () => {},
): Promise<void> {
  do {
    await replica.caughtUp();
    await new Promise((resolve) => setImmediate(resolve));
    onRound();
  } while (!replica.status().connected);
}
