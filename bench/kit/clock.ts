/**
 * A clock that two processes of one machine share. What Bun itself offers counts from the start of each process, and
 * where it says when that was, it may be off by half a millisecond.
 */

import { dlopen, ptr } from "bun:ffi";

const CLOCK_MONOTONIC = 1;
const LIBC = "libc.so.6";

const SINCE_START_MS = offsetMs();

/** Milliseconds of the machine's monotonic clock. */
export function sharedMs(): number {
  return SINCE_START_MS + performance.now();
}

/** What has to be added to this process's own clock. The reading that was interrupted least tells best. */
function offsetMs(): number {
  const { symbols, close } = dlopen(LIBC, {
    clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
  });
  const time = new BigInt64Array(2);
  let best = { tookMs: Number.POSITIVE_INFINITY, offset: 0 };
  for (let tries = 0; tries < 100; tries += 1) {
    const beforeMs = performance.now();
    symbols.clock_gettime(CLOCK_MONOTONIC, ptr(time));
    const tookMs = performance.now() - beforeMs;
    const readMs = Number(time[0]) * 1000 + Number(time[1]) / 1_000_000;
    if (tookMs < best.tookMs) best = { tookMs, offset: readMs - beforeMs - tookMs / 2 };
  }
  close();
  return best.offset;
}
