/** `struct sock_fprog` of linux/filter.h on 64 bits: how many instructions, and where they are. */
export function sockFprog(program: Uint8Array, address: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, program.length / 8, true);
  view.setBigUint64(8, address, true);
  return bytes;
}
