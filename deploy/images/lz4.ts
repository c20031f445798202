/**
 * LZ4's legacy frame, the only form in which the kernel packs itself (lz4 -l; lz4_Frame_format.md, "Legacy frame").
 * Own code, because neither Bun nor Node decompresses LZ4, and the tool is not installed everywhere.
 */
import { assert } from "../../control/contract/errors.ts";

export const LZ4_LEGACY_MAGIC = 0x184c2102;
const BLOCK_BYTES_MAX = 8 * 1_024 * 1_024;
const MATCH_BYTES_MIN = 4;

export function decompressLegacy(packed: Uint8Array): Uint8Array {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  assert(view.getUint32(0, true) === LZ4_LEGACY_MAGIC, "an LZ4 legacy frame starts with its magic number");
  const blocks: Uint8Array[] = [];
  for (let at = 4; at + 4 <= packed.length;) {
    const length = view.getUint32(at, true);
    at += 4;
    if (length === 0 || at + length > packed.length) break;
    blocks.push(decompressBlock(packed.subarray(at, at + length)));
    at += length;
  }
  return Buffer.concat(blocks);
}

/** lz4_Block_format.md: tokens of literals and matches. */
function decompressBlock(packed: Uint8Array): Uint8Array {
  const out = new Uint8Array(BLOCK_BYTES_MAX);
  let from = 0;
  let to = 0;
  const lengthOf = (nibble: number) => {
    let length = nibble;
    if (nibble !== 15) return length;
    for (let byte = 255; byte === 255;) length += byte = packed[from++]!;
    return length;
  };
  while (from < packed.length) {
    const token = packed[from++]!;
    const literals = lengthOf(token >> 4);
    out.set(packed.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    if (from >= packed.length) break;
    const distance = packed[from]! | (packed[from + 1]! << 8);
    from += 2;
    const length = lengthOf(token & 15) + MATCH_BYTES_MIN;
    assert(distance > 0 && distance <= to, `an LZ4 match lies ${distance} bytes before byte ${to}`);
    // A match may overlap what it writes; then it repeats, byte by byte.
    if (distance >= length) out.copyWithin(to, to - distance, to - distance + length);
    else for (let i = 0; i < length; i++) out[to + i] = out[to + i - distance]!;
    to += length;
  }
  return out.subarray(0, to);
}
