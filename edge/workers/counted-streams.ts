/**
 * Counts what a replica does with the state streams, from outside of it: reads that were answered, and answers that it
 * was done with, which it is when it asks its session for anything else. An answer whose entries cannot be stored is one
 * that it is never done with. By these two its watcher tells work from motion.
 */
import type { StateStreams, StreamSession } from "../replica/ports.ts";
import type { Progress } from "./replicator-watch.ts";

export class CountedStreams implements StateStreams {
  readonly #streams: StateStreams;
  #answered = 0;
  #taken = 0;

  constructor(streams: StateStreams) {
    this.#streams = streams;
  }

  get progress(): Progress {
    return { answered: this.#answered, taken: this.#taken };
  }

  async connect(): Promise<StreamSession> {
    const session = await this.#streams.connect();
    let untaken = 0;
    const asking = () => {
      this.#taken += untaken;
      untaken = 0;
    };
    return {
      regionStreams: () => {
        asking();
        return session.regionStreams();
      },
      info: (stream) => {
        asking();
        return session.info(stream);
      },
      read: async (positions, countMax, blockMs) => {
        asking();
        const found = await session.read(positions, countMax, blockMs);
        untaken++;
        this.#answered++;
        return found;
      },
      close: () => session.close(),
    };
  }
}
