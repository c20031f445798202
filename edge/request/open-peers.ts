/** Reads the secret that the edges of a fleet share. */
import { readFile } from "node:fs/promises";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { PEER_SECRET_CHARACTERS_MIN, PeerFields } from "./peer-field.ts";

/** @throws GodwitError `edge.peer_secret_unusable` */
export async function openPeers(secretFile: string): Promise<PeerFields> {
  const unusable = (why: string, cause?: unknown) =>
    new GodwitError("edge.peer_secret_unusable", `Cannot use the peers' secret in ${secretFile}: ${why}`, {
      fault: "us",
      hint: `It is ${PEER_SECRET_CHARACTERS_MIN} or more random characters, the same on every edge.`,
      cause,
    });
  let secret: string;
  try {
    secret = (await readFile(secretFile, "utf8")).trim();
  } catch (error) {
    throw unusable(messageOf(error), error);
  }
  if (secret.length < PEER_SECRET_CHARACTERS_MIN) throw unusable("it is too short");
  return new PeerFields(secret);
}
