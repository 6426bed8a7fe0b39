/**
 * Records the running attempts in a small file beside the data file. From it, the next process
 * knows which attempts were interrupted, and which remote claims continue.
 *
 * An attempt is recorded before it starts, by one plain write without a sync: after any crash of
 * the process, the system still has the write. Only a power cut may lose or tear it: then the tasks
 * wait again. So a claim costs a microsecond instead of a commit, and needs no promise.
 *
 * A slot says "the task with this number has started this attempt". It is not erased when the
 * attempt ends: by then the data file has a newer state, and takes precedence.
 */

import { closeSync, ftruncateSync, readFileSync, rmSync, writeSync } from "node:fs";
import { LIMITS } from "../../core/limits.ts";
import type { SavedClaim } from "../../core/snapshot.ts";
import type { Task } from "../../core/task.ts";
import { savedClaimOf } from "./columns.ts";
import { DataFileError, messageOf } from "./data-file.ts";
import { openPrivateFile } from "./private-file.ts";

/** A claim that may be newer than the data file. */
export interface RunningClaim {
  readonly attempt: number;
  readonly startedAtMs: number;
  /** The remote claim that holds the task; null for an attempt in the process. */
  readonly claim: SavedClaim | null;
}

/** The numbers of a slot, in order, and a checksum of the slot, which shows a torn one. */
const FIELDS = [
  "seq",
  "attempt",
  "startedAtMs",
  "fence",
  "leaseMs",
  "leaseEndsAtMs",
  "sum",
] as const;
const NUMBERS_BYTES = FIELDS.length * Float64Array.BYTES_PER_ELEMENT;
const SUM = FIELDS.length - 1;

/**
 * The numbers are followed by the name of the remote worker, as ASCII. For other attempts nothing
 * is written there.
 */
const SLOT_BYTES = NUMBERS_BYTES + LIMITS.worker.lengthMax;

/** The first slot identifies the data file to which the others belong. */
const FIRST_SLOT = 1;

/** Slots reserved at the start, so that claims work on a full disk. */
const SLOTS_RESERVED = 512;

/** An arbitrary number that an empty or foreign file does not have in this place. */
const SALT = 20_488;

export class RunningFile {
  readonly #path: string;
  readonly #fileId: number;
  readonly #descriptor: number;
  readonly #slot = new Uint8Array(SLOT_BYTES);
  readonly #numbers = new Float64Array(this.#slot.buffer, 0, FIELDS.length);
  /** The slots of running attempts, by task number. */
  readonly #taken = new Map<number, number>();
  readonly #free: number[] = [];
  /** The slots of attempts whose end is not on disk yet: until it is, only this file has them. */
  readonly #ended: number[] = [];
  #nextSlot = FIRST_SLOT;

  /**
   * Opens the running file of the data file with this number. Its claims stay until {@link
   * restart}. Throws a {@link DataFileError} when that is not possible, or when the path is a link:
   * a write to a link would overwrite another file.
   */
  constructor(path: string, fileId: number) {
    this.#path = path;
    this.#fileId = fileId;
    try {
      this.#descriptor = openPrivateFile(path);
    } catch (error) {
      throw new DataFileError(`${path} can't be opened: ${messageOf(error)}`, { cause: error });
    }
  }

  /** The claims of the earlier process, by task number. */
  earlierClaims(): ReadonlyMap<number, RunningClaim> {
    const claims = new Map<number, RunningClaim>();
    const bytes = readFileSync(this.#descriptor);
    if (slotAt(bytes, 0)?.seq !== this.#fileId) return claims;
    for (let slot = FIRST_SLOT; slot * SLOT_BYTES < bytes.length; slot += 1) {
      const found = slotAt(bytes, slot);
      // A task that ran more than once may have left more than one claim.
      if (found === null || (claims.get(found.seq)?.attempt ?? 0) >= found.attempt) continue;
      claims.set(found.seq, found);
    }
    return claims;
  }

  /** Rewrites the file with the claims of these tasks. Throws when it can't be written. */
  restart(tasks: readonly Task[]): void {
    // One write over the existing contents: a full disk has room for it, and after a crash at least
    // one of the two is there.
    const bytes = new Uint8Array(
      (FIRST_SLOT + Math.max(SLOTS_RESERVED, tasks.length)) * SLOT_BYTES,
    );
    this.#fill(this.#fileId, 0, 0, null);
    bytes.set(this.#slot);
    for (const [index, task] of tasks.entries()) {
      this.#fill(task.seq, task.attempt, task.startedAtMs ?? 0, savedClaimOf(task));
      bytes.set(this.#slot, (FIRST_SLOT + index) * SLOT_BYTES);
      this.#taken.set(task.seq, FIRST_SLOT + index);
    }
    this.#nextSlot = FIRST_SLOT + tasks.length;
    this.#write(bytes, bytes.length, 0);
    ftruncateSync(this.#descriptor, bytes.length);
  }

  /**
   * Writes the existing bytes again, to test whether the file can be written. Throws when it can't.
   */
  touch(): void {
    this.#fill(this.#fileId, 0, 0, null);
    this.#write(this.#slot, NUMBERS_BYTES, 0);
  }

  /**
   * Records an attempt that is about to start, or a claim that was extended. Throws when that can't
   * be written.
   */
  note(task: Task): void {
    const { seq, attempt, startedAtMs } = task;
    const known = this.#taken.get(seq);
    const slot = known ?? this.#free.at(-1) ?? this.#nextSlot;
    const length = this.#fill(seq, attempt, startedAtMs ?? 0, savedClaimOf(task));
    this.#write(this.#slot, length, slot * SLOT_BYTES);
    if (known !== undefined) return;
    if (slot === this.#nextSlot) this.#nextSlot += 1;
    else this.#free.pop();
    this.#taken.set(seq, slot);
  }

  /** Marks the attempt at this task as ended: its slot is free once that is on disk. */
  clear({ seq }: Task): void {
    const slot = this.#taken.get(seq);
    if (slot === undefined) return;
    this.#taken.delete(seq);
    this.#ended.push(slot);
  }

  /** Everything that ended by now is on disk. */
  written(): void {
    for (const slot of this.#ended) this.#free.push(slot);
    this.#ended.length = 0;
  }

  /** Closes the file, which stays for the next process. */
  close(): void {
    closeSync(this.#descriptor);
  }

  /**
   * Closes and removes the file: the data file has all of its information. Returns the reason when
   * it can't be removed; the next process then finds nothing new in it.
   */
  remove(): string | null {
    this.close();
    try {
      rmSync(this.#path, { force: true });
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }

  /** Throws when not all of the bytes could be written: a nearly full disk takes only some. */
  #write(bytes: Uint8Array, length: number, position: number): void {
    const written = writeSync(this.#descriptor, bytes, 0, length, position);
    if (written < length) throw new Error(`only ${written} of ${length} bytes were written`);
  }

  /** Fills the slot for the next write, and returns how many of its bytes count. */
  #fill(seq: number, attempt: number, startedAtMs: number, claim: SavedClaim | null): number {
    const { fence = 0, leaseMs = 0, leaseEndsAtMs = 0, worker = null } = claim ?? {};
    this.#numbers.set([seq, attempt, startedAtMs, fence, leaseMs, leaseEndsAtMs]);
    const name = this.#slot.subarray(NUMBERS_BYTES, claim === null ? NUMBERS_BYTES : SLOT_BYTES);
    name.fill(0);
    if (worker !== null) name.set(Buffer.from(worker, "latin1"));
    this.#numbers[SUM] = sumOf(this.#numbers, name);
    return NUMBERS_BYTES + name.length;
  }
}

/** The contents of an intact slot; null for any other. */
function slotAt(bytes: Uint8Array, slot: number): (RunningClaim & { readonly seq: number }) | null {
  // A copy: a view of numbers has to begin at a multiple of their size.
  const own = new Uint8Array(SLOT_BYTES);
  own.set(bytes.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES));
  const numbers = new Float64Array(own.buffer, 0, FIELDS.length);
  const [seq = 0, attempt = 0, startedAtMs = 0, fence = 0, leaseMs = 0, leaseEndsAtMs = 0] =
    numbers;
  const isRemote = leaseMs > 0;
  const name = own.subarray(NUMBERS_BYTES);
  if (numbers[SUM] !== sumOf(numbers, isRemote ? name : new Uint8Array())) return null;
  // A fraction is lost in the rounding of a large sum, and the data file takes none.
  if (![seq, attempt, fence].every(Number.isSafeInteger)) return null;
  const worker = Buffer.from(name).toString("latin1").replace(/\0+$/, "") || null;
  const claim = isRemote ? { fence, worker, leaseMs, leaseEndsAtMs } : null;
  return { seq, attempt, startedAtMs, claim };
}

function sumOf(numbers: Float64Array, name: Uint8Array): number {
  let sum = SALT;
  for (let index = 0; index < SUM; index += 1) sum += numbers[index] as number;
  // The position of each letter counts, so that two swapped letters are detected.
  for (let index = 0; index < name.length; index += 1) sum += (name[index] as number) * (index + 1);
  return sum;
}
