/**
 * Who may speak: whoever has a key of the fleet. A datagram is
 *
 *   version u8 · key id u8 · payload · the first 16 bytes of HMAC-SHA-256(key, all that stands before)
 *
 * and is looked at only when that is right. Version, size and key id are compared first: what is not ours costs no hash.
 * Several keys are accepted and the first one signs, so that a fleet changes its key without a gap: add the new key
 * behind the old one everywhere, then put it first everywhere, then remove the old one.
 *
 * Nothing is encrypted (host names and addresses of a private network), and nothing keeps a datagram from being sent
 * again by somebody who saw it; README.md says what that gains.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

export const SEAL_VERSION = 1;
const HEAD_BYTES = 2;
/** RFC 2104 section 5: half of the hash at least. */
const TAG_BYTES = 16;
export const SEAL_BYTES = HEAD_BYTES + TAG_BYTES;
export const KEYS_MAX = 4;
export const SECRET_CHARACTERS_MIN = 32;

interface Key {
  readonly id: number;
  readonly bytes: Buffer;
}

export class Seal {
  readonly #keys: readonly Key[];

  /** @param secrets the first one signs */
  constructor(secrets: readonly string[]) {
    // A key of its own: the fleet's secret may have other uses.
    this.#keys = secrets.map((secret) => {
      const bytes = createHmac("sha256", secret).update("godwit membership 1").digest();
      return { id: createHash("sha256").update(bytes).digest()[0]!, bytes };
    });
  }

  close(payload: Uint8Array): Buffer {
    const key = this.#keys[0]!;
    const size = HEAD_BYTES + payload.length;
    const datagram = Buffer.allocUnsafe(size + TAG_BYTES);
    datagram[0] = SEAL_VERSION;
    datagram[1] = key.id;
    datagram.set(payload, HEAD_BYTES);
    datagram.set(tagOf(key, datagram.subarray(0, size)), size);
    return datagram;
  }

  /** @returns the payload, or null where none of our keys has signed it */
  open(datagram: Uint8Array): Buffer | null {
    if (datagram.length <= SEAL_BYTES || datagram[0] !== SEAL_VERSION) return null;
    const size = datagram.length - TAG_BYTES;
    for (const key of this.#keys) {
      if (key.id !== datagram[1]) continue;
      if (timingSafeEqual(tagOf(key, datagram.subarray(0, size)), datagram.subarray(size))) {
        return Buffer.from(datagram.buffer, datagram.byteOffset + HEAD_BYTES, size - HEAD_BYTES);
      }
    }
    return null;
  }
}

function tagOf(key: Key, bytes: Uint8Array): Buffer {
  return createHmac("sha256", key.bytes).update(bytes).digest().subarray(0, TAG_BYTES);
}
