/**
 * The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B), for reading; what the edge writes stays plain. The code
 * is canonical: among symbols of one length, codes grow with the symbol, so the lengths alone make the whole tree. Reading
 * goes by half bytes: the shortest code has five bits, so that one step ends at most one symbol.
 */

/** Bits of each symbol's code. */
const LENGTHS = [
  ...[13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28],
  ...[28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  ...[6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6],
  ...[5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  ...[13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
  ...[7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  ...[15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5],
  ...[6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  ...[20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23],
  ...[24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  ...[22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23],
  ...[21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  ...[26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25],
  ...[19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  ...[20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23],
  ...[26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
];
/** Symbol 256 would end a string; it may only show as the padding behind one. */
const EOS = 256;
const EOS_BITS = 30;
const BITS_MAX = 30;

/** For each inner node of the tree: the two children; a leaf is ~symbol. */
function buildTree(): Int16Array {
  const children: number[] = [0, 0];
  let code = 0;
  for (let length = 1; length <= BITS_MAX; length++) {
    for (let symbol = 0; symbol <= EOS; symbol++) {
      if ((symbol === EOS ? EOS_BITS : LENGTHS[symbol]) !== length) continue;
      let node = 0;
      for (let bit = length - 1; bit > 0; bit--) {
        const slot = node * 2 + ((code >>> bit) & 1);
        if (children[slot] === 0) {
          children[slot] = children.length / 2;
          children.push(0, 0);
        }
        node = children[slot]!;
      }
      children[node * 2 + (code & 1)] = ~symbol;
      code++;
    }
    code <<= 1;
  }
  return Int16Array.from(children);
}

const NO_SYMBOL = 0x1ff;
const INVALID = 0xffff_ffff;
/** By `node * 16 + half byte`: the next node in the upper bits, the symbol that ended on the way in the lower nine. */
const STEPS = new Uint32Array(EOS * 16);
/** Nodes where a string may end: the path to them is fewer than eight bits, all ones. */
const MAY_END = new Uint8Array(EOS);

{
  const tree = buildTree();
  for (let start = 0; start < tree.length / 2; start++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = start, symbol = NO_SYMBOL, valid = true;
      for (let bit = 3; bit >= 0 && valid; bit--) {
        const child = tree[node * 2 + ((nibble >> bit) & 1)]!;
        if (child > 0) node = child;
        else if (~child === EOS) valid = false;
        else {
          symbol = ~child;
          node = 0;
        }
      }
      STEPS[start * 16 + nibble] = valid ? node << 9 | symbol : INVALID;
    }
  }
  for (let node = 0, depth = 0; depth < 8; depth++) {
    MAY_END[node] = 1;
    node = tree[node * 2 + 1]!;
  }
}

let scratch = Buffer.allocUnsafe(4_096);

/** @returns the string, each character one byte; null where the code is broken or its padding is not the EOS symbol's start */
export function huffmanDecode(bytes: Uint8Array, from: number, to: number): string | null {
  // Five bits is the shortest code.
  const roomNeeded = Math.ceil((to - from) * 8 / 5);
  if (scratch.length < roomNeeded) scratch = Buffer.allocUnsafe(roomNeeded * 2);
  let node = 0, length = 0;
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    let step = STEPS[node * 16 + (byte >> 4)]!;
    if (step === INVALID) return null;
    if ((step & NO_SYMBOL) !== NO_SYMBOL) scratch[length++] = step & 0xff;
    step = STEPS[(step >>> 9) * 16 + (byte & 15)]!;
    if (step === INVALID) return null;
    if ((step & NO_SYMBOL) !== NO_SYMBOL) scratch[length++] = step & 0xff;
    node = step >>> 9;
  }
  return MAY_END[node] === 1 ? scratch.toString("latin1", 0, length) : null;
}
