/**
 * Takes items from a source before they are asked for, a bounded number of them: what a source makes while its taker is
 * not there yet is ready when it comes.
 */
export class ReadAhead<Item extends object> {
  readonly #itemsMax: number;
  readonly #ready: Item[] = [];
  readonly #filling: Promise<void>;
  #end: { readonly error: unknown } | null = null;
  #isStopped = false;
  #changed = Promise.withResolvers<void>();

  /** Begins at once. */
  constructor(source: AsyncIterable<Item>, itemsMax: number) {
    this.#itemsMax = itemsMax;
    this.#filling = this.#fill(source);
  }

  /** To be taken by one. @throws what the source throws, behind the items that it gave before */
  async *items(): AsyncGenerator<Item, void, void> {
    for (;;) {
      const item = this.#ready.shift();
      if (item !== undefined) {
        this.#change();
        yield item;
      } else if (this.#end === null) await this.#changed.promise;
      else if (this.#end.error === null) return;
      else throw this.#end.error;
    }
  }

  /** Resolves when the source is left alone. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#change();
    await this.#filling;
  }

  async #fill(source: AsyncIterable<Item>): Promise<void> {
    let error: unknown = null;
    try {
      for await (const item of source) {
        this.#ready.push(item);
        this.#change();
        while (this.#ready.length >= this.#itemsMax && !this.#isStopped) await this.#changed.promise;
        if (this.#isStopped) break;
      }
    } catch (caught) {
      error = caught; // Met by whoever takes the items, if anybody does.
    }
    this.#end = { error };
    this.#change();
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
