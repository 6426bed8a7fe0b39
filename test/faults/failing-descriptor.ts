/**
 * Makes writes to one open file of this process fail, however they are made: its descriptor leads to a device that is
 * always full, until it is healed.
 */

import { dlopen, FFIType } from "bun:ffi";
import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";

const ALWAYS_FULL = "/dev/full";

/** The real path of a file that this process has open, once. Returns what lets writes succeed again. */
export function fillDescriptorOf(path: string): () => void {
  const { dup, dup2 } = dlopen("libc.so.6", {
    dup: { args: [FFIType.int], returns: FFIType.int },
    dup2: { args: [FFIType.int, FFIType.int], returns: FFIType.int },
  }).symbols;
  const descriptor = descriptorOf(path);
  const kept = dup(descriptor);
  const full = openSync(ALWAYS_FULL, "r+");
  dup2(full, descriptor);
  closeSync(full);
  return () => {
    dup2(kept, descriptor);
    closeSync(kept);
  };
}

function descriptorOf(path: string): number {
  for (const name of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) === path) return Number(name);
    } catch {
      // The one that reads the folder is gone by now.
    }
  }
  throw new Error(`${path} is not open`);
}
