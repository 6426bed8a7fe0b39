/**
 * Reads the first bytes of a data file without SQLite, which might write to a file that is not
 * ringq's (https://www.sqlite.org/fileformat.html#the_database_header).
 */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { isLogEmpty } from "./file-log.ts";

/** "rngq" as a number, in the header of every data file. */
export const APPLICATION_ID = 0x726e6771;

const SQLITE_MAGIC = "SQLite format 3\0";
const HEADER_BYTES = 100;
const PAGE_BYTES_OFFSET = 16;
const CHANGES_OFFSET = 24;
const PAGES_OFFSET = 28;
const VERSION_OFFSET = 60;
const APPLICATION_ID_OFFSET = 68;
/** The change counter for which the number of pages is valid. */
const PAGES_VALID_FOR_OFFSET = 92;

/**
 * The reason why this is not a complete data file of a version up to `newest`, as a sentence; null
 * when it is one.
 */
export function headerFault(path: string, newest: number): string | null {
  const header = Buffer.alloc(HEADER_BYTES);
  const descriptor = openSync(path, "r");
  let bytes: number;
  try {
    readSync(descriptor, header, 0, HEADER_BYTES, 0);
    bytes = fstatSync(descriptor).size;
  } finally {
    closeSync(descriptor);
  }
  if (header.toString("latin1", 0, SQLITE_MAGIC.length) !== SQLITE_MAGIC) {
    return `${path} is not a ringq data file`;
  }
  if (header.readUInt32BE(APPLICATION_ID_OFFSET) !== APPLICATION_ID) {
    return `${path} is an SQLite file of another program`;
  }
  const fault = versionFault(header.readUInt32BE(VERSION_OFFSET), path, newest);
  if (fault !== null) return fault;
  // A file with a log may be shorter than its header says: a checkpoint was interrupted, and will
  // be repeated.
  return isLogEmpty(path) ? lengthFault(path, header, bytes) : null;
}

/** The reason why a file of this version can't be used, as a sentence; null when it can. */
export function versionFault(version: number, path: string, newest: number): string | null {
  if (version <= newest) return null;
  return `${path} has version ${version}, but this ringq supports versions up to ${newest}. Use a newer ringq`;
}

/** SQLite reads the missing part of a file's last page as zeros, and would not report it. */
function lengthFault(path: string, header: Buffer, bytes: number): string | null {
  const isKnown =
    header.readUInt32BE(CHANGES_OFFSET) === header.readUInt32BE(PAGES_VALID_FOR_OFFSET);
  const rawPageBytes = header.readUInt16BE(PAGE_BYTES_OFFSET);
  // 64 KiB does not fit into two bytes, and is written as 1.
  const pageBytes = rawPageBytes === 1 ? 65_536 : rawPageBytes;
  const expected = header.readUInt32BE(PAGES_OFFSET) * pageBytes;
  if (!isKnown || bytes >= expected) return null;
  return `${path} is damaged: it has only ${bytes} of ${expected} bytes`;
}
