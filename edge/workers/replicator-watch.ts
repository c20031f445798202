/**
 * Whether a replicator has to be replaced, by what it says each second. Its heartbeats come from a timer, so that they
 * say that it is alive and no more; progress is what it does with Redis' answers. A Redis that is away, or that answers
 * nonsense, is no reason: another process would get no further. Pure.
 */

export interface Progress {
  /** Reads that Redis answered. */
  readonly answered: number;
  /** Of those the ones it was done with. */
  readonly taken: number;
}

export interface Beat {
  readonly progress: Progress;
  readonly connected: boolean;
  /** It has news that it does not send, because it waits to be asked for more. */
  readonly newsHeld: boolean;
}

/**
 * Why one was replaced: it ended; it said nothing; it took in no answer though it got some, or got none though connected;
 * it kept news; its file cannot be read, which its successor finds out when it opens it.
 */
export const RESTART_REASONS = ["ended", "silent", "stalled", "news_held", "unreadable"] as const;
export type RestartReason = (typeof RESTART_REASONS)[number];

export interface WatchLimits {
  /** Until its first heartbeat: it opens and checks its file, which may be large. */
  readonly firstBeatMsMax: number;
  /** Between heartbeats: one large transaction holds them up. */
  readonly beatMsMax: number;
  /** Since it got an answer that followed the last one it was done with. */
  readonly stallMsMax: number;
  /** Since the last answer, where it says that it is connected: it should get one a second. */
  readonly standstillMsMax: number;
  /** It waits to be asked though it was. */
  readonly newsHeldMsMax: number;
}

export const WATCH_LIMITS: WatchLimits = {
  firstBeatMsMax: 60_000,
  beatMsMax: 20_000,
  stallMsMax: 30_000,
  standstillMsMax: 60_000,
  newsHeldMsMax: 10_000,
};

/** All by the watcher's clock. */
export interface Watched {
  readonly heardMs: number;
  /** Null before the first heartbeat. */
  readonly beat: Beat | null;
  readonly answeredMs: number;
  readonly takenMs: number;
  /** How many answers there were when one was last taken. */
  readonly answeredThen: number;
  /** Since when there has been another; null where there is none. */
  readonly untakenMs: number | null;
  readonly newsHeldMs: number | null;
}

export function begun(nowMs: number): Watched {
  return {
    heardMs: nowMs,
    beat: null,
    answeredMs: nowMs,
    takenMs: nowMs,
    answeredThen: 0,
    untakenMs: null,
    newsHeldMs: null,
  };
}

/** @param owed its last news have not been taken in yet: it waits for its parent and not the other way round */
export function heard(before: Watched, beat: Beat, owed: boolean, nowMs: number): Watched {
  const { answered, taken } = beat.progress;
  const tookOne = taken > (before.beat?.progress.taken ?? 0);
  const gotOne = answered > (before.beat?.progress.answered ?? 0);
  const answeredThen = tookOne ? answered : before.answeredThen;
  return {
    heardMs: nowMs,
    beat,
    answeredMs: gotOne || !beat.connected ? nowMs : before.answeredMs,
    takenMs: tookOne ? nowMs : before.takenMs,
    answeredThen,
    untakenMs: answered === answeredThen ? null : before.untakenMs ?? nowMs,
    newsHeldMs: beat.newsHeld && !owed ? before.newsHeldMs ?? nowMs : null,
  };
}

/** The watcher itself was held up, or the whole machine was: nobody could be heard meanwhile. */
export function later(watched: Watched, byMs: number): Watched {
  const { heardMs, answeredMs, takenMs, untakenMs, newsHeldMs } = watched;
  return {
    ...watched,
    heardMs: heardMs + byMs,
    answeredMs: answeredMs + byMs,
    takenMs: takenMs + byMs,
    untakenMs: untakenMs === null ? null : untakenMs + byMs,
    newsHeldMs: newsHeldMs === null ? null : newsHeldMs + byMs,
  };
}

/** @returns null where it may go on */
export function verdict(watched: Watched, limits: WatchLimits, nowMs: number): RestartReason | null {
  const { beat, heardMs, answeredMs, untakenMs, newsHeldMs } = watched;
  if (beat === null) return nowMs - heardMs > limits.firstBeatMsMax ? "silent" : null;
  if (nowMs - heardMs > limits.beatMsMax) return "silent";
  if (untakenMs !== null && nowMs - untakenMs > limits.stallMsMax) return "stalled";
  if (beat.connected && nowMs - answeredMs > limits.standstillMsMax) return "stalled";
  if (newsHeldMs !== null && nowMs - newsHeldMs > limits.newsHeldMsMax) return "news_held";
  return null;
}

/** How long it did its work for; one that only lived does not count as stable. */
export function workedMs(watched: Watched, startedMs: number): number {
  return Math.max(0, watched.takenMs - startedMs);
}
