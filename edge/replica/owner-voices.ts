/**
 * How long nobody of those who own rows has been heard. Each owner publishes a digest every 15 s, whether anything changes or
 * not, so that silence of all of them says that what they say does not come through: a stream relay that is cut off or dead
 * leaves a Redis that answers well and has nothing new. What is heard is signed by its owner, and no word counts twice, so
 * that nothing between an owner and us can make it up. One owner's voice is enough: control may be away, hosts may be dead.
 *
 * News may be old when it comes. How old is told by the owner's clock, beside the soonest that its words came within the last
 * ten to twenty minutes; before there was anything to set beside, by both clocks. Words that are older than what was heard are
 * a stream that is read again, or an owner whose clock was set back; the latter's come at the pace of time.
 */

/** Owners may be invented by whoever can write to Redis, where signatures are not looked at. Whoever was not heard for longest is forgotten. */
export const OWNERS_HEARD_MAX = 20_000;
/** A clock that was set is believed after two of these at most. */
export const SOONEST_WINDOW_MS = 600_000;

/** Older words that went on for so long at the pace of time are of a clock that was set back: two digests later. */
export const SET_BACK_MS = 25_000;

interface Word {
  /** By the owner's clock. */
  readonly publishedMs: number;
  /** By ours, monotonic. */
  readonly heardMs: number;
}

interface Voice {
  /** Of its newest word, by its clock. */
  publishedMs: number;
  /** The least that our monotonic clock was ahead of it when a word came: in this window, and in the one before. */
  soonestMs: number;
  soonestBeforeMs: number;
  windowMs: number;
  /** The first of words that may be of a clock that was set back. */
  back: Word | null;
}

export interface VoiceClocks {
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
}

export class OwnerVoices {
  readonly #clocks: VoiceClocks;
  readonly #voices = new Map<string, Voice>();
  /** Monotonic: what some owner knew then is here. */
  #upToMs = -Infinity;

  constructor({ nowMs, wallMs }: VoiceClocks) {
    this.#clocks = { nowMs, wallMs };
  }

  /** @param words each owner's newest, by its own clock; those that are not newer than what was heard of it say nothing */
  hear(words: ReadonlyMap<string, number>): void {
    const nowMs = this.#clocks.nowMs();
    for (const [owner, publishedMs] of words) {
      const known = this.#voices.get(owner);
      const aheadMs = nowMs - publishedMs;
      const voice = known ?? this.#newVoice(nowMs);
      if (publishedMs > voice.publishedMs) voice.back = null;
      else if (!wasSetBack(voice, { publishedMs, heardMs: nowMs })) continue;
      else {
        Object.assign(voice, { soonestMs: aheadMs, soonestBeforeMs: aheadMs, windowMs: nowMs, back: null });
      }
      if (nowMs - voice.windowMs >= SOONEST_WINDOW_MS) {
        voice.soonestBeforeMs = voice.soonestMs;
        voice.soonestMs = aheadMs;
        voice.windowMs = nowMs;
      }
      voice.publishedMs = publishedMs;
      voice.soonestMs = Math.min(voice.soonestMs, aheadMs);
      const lateMs = aheadMs - Math.min(voice.soonestMs, voice.soonestBeforeMs);
      this.#upToMs = Math.max(this.#upToMs, nowMs - lateMs);
      this.#voices.delete(owner);
      this.#voices.set(owner, voice);
    }
    while (this.#voices.size > OWNERS_HEARD_MAX) this.#voices.delete(this.#voices.keys().next().value!);
  }

  /** Null before anybody was heard. */
  get silentMs(): number | null {
    return this.#upToMs === -Infinity ? null : this.#clocks.nowMs() - this.#upToMs;
  }

  /** Of whom nothing is known has a clock like ours. */
  #newVoice(nowMs: number): Voice {
    const soonestMs = nowMs - this.#clocks.wallMs();
    return { publishedMs: -Infinity, soonestMs, soonestBeforeMs: soonestMs, windowMs: nowMs, back: null };
  }
}

/** @param word not newer than what was heard */
function wasSetBack(voice: Voice, word: Word): boolean {
  const { back } = voice;
  if (back !== null) {
    const passedMs = word.heardMs - back.heardMs, saidMs = word.publishedMs - back.publishedMs;
    // What is read again comes all at once.
    const isPaced = saidMs > 0 && Math.abs(saidMs - passedMs) <= passedMs / 2;
    if (isPaced && passedMs >= SET_BACK_MS) return true;
    // A word of between two digests says less of the pace than they do.
    if (saidMs > 0 && saidMs <= passedMs * 1.5) return false;
  }
  voice.back = word;
  return false;
}
