/**
 * A disk that was being written when the power went. It is fed what a recorder saw, change by change, and gives images of
 * what may be found afterwards.
 *
 * Of a file, everything up to its last completed sync is there. What was written since may be there or not, write by
 * write and sector by sector, and in any order. Of a folder the same holds for its entries: a file that was created,
 * renamed or deleted since the folder's last sync may be there under its old name, its new one, or not at all. That is
 * more than common file systems take away, and what POSIX allows.
 */

import type { Dice } from "./dice.ts";
import type { DiskRecord } from "./disk-recorder.ts";

/** What is written in one piece or not at all. */
const SECTOR_BYTES = 512;

/** SQLite's index of its log is memory that it shares: it is made anew by whoever opens the file first. */
const MEMORY_ONLY = /-shm$/;

/** What Bun itself writes is not seen by the recorder. The engine never syncs this file, and must not rely on it. */
const UNSEEN = /-running$/;

/** How the image of a cut treats what was not synced. */
export const CUT_STYLES = [
  /** Nothing of it reached the disk. */
  "nothing",
  /** All of it did, as after a killed process. */
  "everything",
  /** The first part did, and the write that was under way is torn. */
  "torn",
  /** Some writes did, in any order. */
  "some writes",
  /** Some sectors did, in any order. */
  "some sectors",
  /** All but one write did. */
  "one lost",
] as const;

export type CutStyle = (typeof CUT_STYLES)[number];

type Change =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly length: number };

type Entry =
  | { readonly kind: "link"; readonly path: string; readonly file: SimulatedFile }
  | { readonly kind: "unlink"; readonly path: string };

export type DiskImage = ReadonlyMap<string, Uint8Array>;

export class SimulatedDisk {
  readonly #root: string;
  /** What is found under which path, as the running program sees it. */
  readonly #live = new Map<string, SimulatedFile>();
  /** The same as it was when the folder was last synced. */
  readonly #synced = new Map<string, SimulatedFile>();
  #unsynced: Entry[] = [];

  /** `root` is the folder that the recorder watched; it was empty. Folders in it are not simulated. */
  constructor(root: string) {
    this.#root = root;
  }

  /** A disk on which this was found, and nothing has changed since. */
  static of(root: string, image: DiskImage): SimulatedDisk {
    const disk = new SimulatedDisk(root);
    for (const [path, bytes] of image) {
      disk.apply({ kind: "create", path });
      disk.apply({ kind: "write", path, offset: 0, bytes });
      disk.apply({ kind: "sync", path });
    }
    disk.apply({ kind: "sync", path: root });
    return disk;
  }

  apply(record: DiskRecord): void {
    if (record.path === this.#root) {
      if (record.kind !== "sync") throw new Error(`the folder itself: ${record.kind}`);
      for (const entry of this.#unsynced) applyEntry(this.#synced, entry);
      this.#unsynced = [];
      return;
    }
    if (MEMORY_ONLY.test(record.path) || UNSEEN.test(record.path)) return;
    switch (record.kind) {
      case "create":
        this.#enter({ kind: "link", path: record.path, file: new SimulatedFile() });
        break;
      case "unlink":
        this.#enter({ kind: "unlink", path: record.path });
        break;
      case "rename": {
        const file = this.#find(record.path);
        this.#enter({ kind: "link", path: record.to, file });
        this.#enter({ kind: "unlink", path: record.path });
        break;
      }
      case "sync":
        this.#find(record.path).sync();
        break;
      case "write":
        this.#find(record.path).change(record);
        break;
      case "truncate":
        this.#find(record.path).change(record);
        break;
      default:
        record satisfies never;
    }
  }

  /** How many changes of this file and of the folder could be lost if the power went now. */
  unsyncedOf(path: string): number {
    const entries = this.#unsynced.filter((entry) => entry.path === path).length;
    return entries + (this.#live.get(path)?.unsynced ?? 0);
  }

  /** One of the images that may be found if the power went now. */
  cut(style: CutStyle, dice: Dice): DiskImage {
    const names = new Map(this.#synced);
    for (const entry of chosenEntries(this.#unsynced, style, dice)) applyEntry(names, entry);
    const image = new Map<string, Uint8Array>();
    for (const [path, file] of names) image.set(path, file.cut(style, dice));
    return image;
  }

  #enter(entry: Entry): void {
    this.#unsynced.push(entry);
    applyEntry(this.#live, entry);
  }

  #find(path: string): SimulatedFile {
    const file = this.#live.get(path);
    if (file === undefined) throw new Error(`${path} was never seen to be created`);
    return file;
  }
}

function applyEntry(names: Map<string, SimulatedFile>, entry: Entry): void {
  if (entry.kind === "link") names.set(entry.path, entry.file);
  else names.delete(entry.path);
}

function chosenEntries(entries: readonly Entry[], style: CutStyle, dice: Dice): readonly Entry[] {
  switch (style) {
    case "nothing":
      return [];
    case "everything":
      return entries;
    case "torn":
      return entries.slice(0, dice.below(entries.length + 1));
    case "one lost": {
      const lost = dice.below(entries.length + 1);
      return entries.filter((_, index) => index !== lost);
    }
    case "some writes":
    case "some sectors":
      return entries.filter(() => dice.below(2) === 0);
    default:
      return style satisfies never;
  }
}

class SimulatedFile {
  #synced = new Content();
  #unsynced: Change[] = [];

  get unsynced(): number {
    return this.#unsynced.length;
  }

  change(change: Change): void {
    this.#unsynced.push(change);
  }

  sync(): void {
    for (const change of this.#unsynced) this.#synced.apply(change);
    this.#unsynced = [];
  }

  cut(style: CutStyle, dice: Dice): Uint8Array {
    if (this.#unsynced.length === 0) return this.#synced.bytes;
    const content = this.#synced.copy();
    for (const change of chosenChanges(this.#unsynced, style, dice)) content.apply(change);
    return content.bytes;
  }
}

function chosenChanges(changes: readonly Change[], style: CutStyle, dice: Dice): readonly Change[] {
  switch (style) {
    case "nothing":
      return [];
    case "everything":
      return changes;
    case "torn": {
      const count = dice.below(changes.length);
      const torn = changes[count];
      const rest = torn === undefined ? [] : sectorsOf(torn);
      return [...changes.slice(0, count), ...rest.slice(0, dice.below(rest.length + 1))];
    }
    case "one lost": {
      const lost = dice.below(changes.length);
      return reordered(
        changes.filter((_, index) => index !== lost),
        dice,
      );
    }
    case "some writes":
      return reordered(
        changes.filter(() => dice.below(2) === 0),
        dice,
      );
    case "some sectors":
      return reordered(
        changes.flatMap(sectorsOf).filter(() => dice.below(2) === 0),
        dice,
      );
    default:
      return style satisfies never;
  }
}

/** Writes trade places; changes of size stay where they are, since file systems keep those in order. */
function reordered(changes: readonly Change[], dice: Dice): readonly Change[] {
  const order = [...changes];
  for (let at = order.length - 1; at > 0; at -= 1) {
    const other = dice.below(at + 1);
    const [a, b] = [order[at], order[other]];
    if (a?.kind !== "write" || b?.kind !== "write") continue;
    order[at] = b;
    order[other] = a;
  }
  return order;
}

function sectorsOf(change: Change): readonly Change[] {
  if (change.kind === "truncate") return [change];
  const { offset, bytes } = change;
  const sectors: Change[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + SECTOR_BYTES - ((offset + at) % SECTOR_BYTES));
    sectors.push({ kind: "write", offset: offset + at, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return sectors;
}

/** Bytes that grow; what was skipped over reads as zeros. */
class Content {
  #buffer: Uint8Array;
  #length: number;

  constructor(buffer = new Uint8Array(0), length = 0) {
    this.#buffer = buffer;
    this.#length = length;
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  copy(): Content {
    return new Content(this.#buffer.slice(0, this.#length), this.#length);
  }

  apply(change: Change): void {
    if (change.kind === "truncate") {
      this.#reserve(change.length);
      this.#buffer.fill(
        0,
        Math.min(this.#length, change.length),
        Math.max(this.#length, change.length),
      );
      this.#length = change.length;
      return;
    }
    const end = change.offset + change.bytes.length;
    this.#reserve(end);
    this.#buffer.set(change.bytes, change.offset);
    this.#length = Math.max(this.#length, end);
  }

  #reserve(length: number): void {
    if (length <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(length, this.#buffer.length * 2));
    larger.set(this.bytes);
    this.#buffer = larger;
  }
}
