/**
 * The kernel spreads the connections to a shared port over its sockets, and resets those that wait in the queue of a
 * socket that is closed. A classic BPF program on the port (SO_ATTACH_REUSEPORT_CBPF, socket(7)) chooses the socket
 * instead: one that is about to close gets no more connections, those that were on their way are accepted, and then it
 * can close without losing any. An index that does not exist makes the kernel choose by itself.
 *
 * Rejected: to accept until nothing is left and close then (what arrives in between is reset, and on a real network every
 * handshake under way); net.ipv4.tcp_migrate_req (a setting of the host, and not ours to change).
 */

/** linux/filter.h: BPF_LD | BPF_W | BPF_ABS, BPF_ALU | BPF_MOD, BPF_ALU | BPF_ADD, BPF_JMP | BPF_JGE, BPF_RET | BPF_A. */
const LOAD = 0x20, MODULO = 0x94, ADD = 0x04, JUMP_IF_AT_LEAST = 0x35, RETURN_A = 0x16;
/** SKF_AD_OFF + SKF_AD_RANDOM: a random number. */
const RANDOM = 0xffff_f000 + 56;
const INSTRUCTION_BYTES = 8;

/** Any of `count` sockets but the one at `index`. @returns `struct sock_filter[]`, little endian */
export function steerAround(index: number, count: number): Uint8Array {
  return assemble([
    [LOAD, 0, 0, RANDOM],
    [MODULO, 0, 0, count - 1],
    [JUMP_IF_AT_LEAST, 0, 1, index],
    [ADD, 0, 0, 1],
    [RETURN_A, 0, 0, 0],
  ]);
}

/** Any of `count` sockets. */
export function steerNowhere(count: number): Uint8Array {
  return assemble([[LOAD, 0, 0, RANDOM], [MODULO, 0, 0, count], [RETURN_A, 0, 0, 0]]);
}

function assemble(instructions: readonly [number, number, number, number][]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * INSTRUCTION_BYTES);
  const view = new DataView(bytes.buffer);
  instructions.forEach(([code, jumpTrue, jumpFalse, operand], i) => {
    const at = i * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jumpTrue);
    view.setUint8(at + 3, jumpFalse);
    view.setUint32(at + 4, operand, true);
  });
  return bytes;
}
