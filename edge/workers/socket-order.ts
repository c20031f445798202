/**
 * The order in which the kernel keeps the listening sockets of one shared port (SO_REUSEPORT): a new one comes last, and
 * the last one takes the place of one that closes (net/core/sock_reuseport.c). A steering program names sockets by it.
 */
export class SocketOrder {
  readonly #members: number[] = [];

  get count(): number {
    return this.#members.length;
  }

  /** @returns -1 where it has no socket here */
  indexOf(member: number): number {
    return this.#members.indexOf(member);
  }

  join(member: number): void {
    this.#members.push(member);
  }

  leave(member: number): void {
    const index = this.#members.indexOf(member);
    if (index === -1) return;
    const last = this.#members.pop()!;
    if (last !== member) this.#members[index] = last;
  }
}
