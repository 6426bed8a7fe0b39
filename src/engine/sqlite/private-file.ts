/**
 * Creates and opens files beside the data file that only their owner may read, since payloads and
 * idempotency keys are private. It never follows a link in the last part of a path, so that a link
 * can't cause another file to be overwritten.
 */

import { closeSync, constants, fstatSync, openSync } from "node:fs";

export const PRIVATE_MODE = 0o600;

/** Creates an empty file. Throws when the name exists, even as a broken link. */
export function makePrivateFile(path: string): void {
  const { O_WRONLY, O_CREAT, O_EXCL } = constants;
  closeSync(openSync(path, O_WRONLY | O_CREAT | O_EXCL, PRIVATE_MODE));
}

/**
 * Opens a file for reading and writing, and creates it if it does not exist. Throws for a link and
 * for anything but a regular file.
 */
export function openPrivateFile(path: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
  const descriptor = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, PRIVATE_MODE);
  const stat = fstatSync(descriptor);
  if (stat.isFile() && stat.nlink === 1) return descriptor;
  closeSync(descriptor);
  throw new Error(
    stat.isFile() ? "it has a second hard link; remove that link" : "it is not a file",
  );
}
