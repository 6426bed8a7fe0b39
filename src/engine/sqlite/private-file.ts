/**
 * Files beside the data file that only their owner may read: payloads and idempotency keys are
 * nobody else's business. Never follows a link in the last part of a path, so that nobody can have
 * another file written over.
 */

import { closeSync, constants, fstatSync, openSync } from "node:fs";

export const PRIVATE_MODE = 0o600;

/** Makes an empty file. Throws when anything has this name, be it a link that leads nowhere. */
export function makePrivateFile(path: string): void {
  const { O_WRONLY, O_CREAT, O_EXCL } = constants;
  closeSync(openSync(path, O_WRONLY | O_CREAT | O_EXCL, PRIVATE_MODE));
}

/**
 * Opens a file for reading and writing, and makes it if there is none. Throws for links and for
 * what is no file.
 */
export function openPrivateFile(path: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
  const descriptor = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, PRIVATE_MODE);
  const stat = fstatSync(descriptor);
  if (stat.isFile() && stat.nlink === 1) return descriptor;
  closeSync(descriptor);
  throw new Error(stat.isFile() ? "it has a hard link; remove it" : "it is not a file");
}
