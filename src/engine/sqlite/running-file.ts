/**
 * Which attempts run, in a small file beside the data file, so that the next process knows whose work was cut off.
 *
 * It is written before a handler starts, by one plain write and without a sync: a process that dies, however it dies,
 * leaves what it has written to the system. Only a power cut may lose it or tear it, and then nobody's handler is to
 * blame for the end: the tasks simply wait again. So a claim costs a microsecond instead of a commit, and needs no
 * promise.
 *
 * A slot says "the task with this number has started this attempt". It is not erased when the attempt ends: the data file
 * knows that by then, and what it knows counts more.
 */

import { closeSync, ftruncateSync, readFileSync, rmSync, writeSync } from "node:fs";
import type { Task } from "../../core/task.ts";
import { DataFileError, messageOf } from "./data-file.ts";
import { openPrivateFile } from "./private-file.ts";

/** What the data file may not know yet of a task. */
export interface RunningClaim {
  readonly attempt: number;
  readonly startedAtMs: number;
}

/** Number, attempt, start and a sum over them, which tells a slot that was torn. */
const SLOT_FIELDS = 4;
const SLOT_BYTES = SLOT_FIELDS * Float64Array.BYTES_PER_ELEMENT;

/** The first slot says which data file the others speak of. */
const FIRST_SLOT = 1;

/** Room that is there from the start, so that no claim has to wait for the disk to have some. */
const SLOTS_RESERVED = 2048;

/** Any number that an empty or foreign file does not have in this place. */
const SALT = 20_487;

export class RunningFile {
  readonly #path: string;
  readonly #fileId: number;
  readonly #descriptor: number;
  readonly #slot = new Float64Array(SLOT_FIELDS);
  readonly #slotBytes = new Uint8Array(this.#slot.buffer);
  /** The slots of what runs, by the number of the task. */
  readonly #taken = new Map<number, number>();
  readonly #free: number[] = [];
  /** The slots of what is over and whose end is not on disk yet: until it is, only the board knows of the attempt. */
  readonly #over: number[] = [];
  #nextSlot = FIRST_SLOT;

  /**
   * Opens the board of the data file with this number. What is on it stays until {@link wipe}.
   * Throws a {@link DataFileError} when that can't be done, or it is a link: to write to it would
   * write over another file.
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

  /** The claims that the process before has left, by the number of the task. */
  earlierClaims(): ReadonlyMap<number, RunningClaim> {
    const claims = new Map<number, RunningClaim>();
    // A plain array: slice() of a Buffer is a view of the whole, and a small one may lie anywhere in a larger one.
    const slots = slotsOf(new Uint8Array(readFileSync(this.#descriptor)));
    if (slots.next().value?.[0] !== this.#fileId) return claims;
    for (const [seq = 0, attempt = 0, startedAtMs = 0] of slots) {
      // A task that ran more than once may have left more than one.
      if ((claims.get(seq)?.attempt ?? 0) < attempt) claims.set(seq, { attempt, startedAtMs });
    }
    return claims;
  }

  /** Takes every claim off the board. Throws when that can't be written. */
  wipe(): void {
    // Over what is there, and not from an empty file on: a full disk has room for that.
    const blank = new Uint8Array((FIRST_SLOT + SLOTS_RESERVED) * SLOT_BYTES);
    writeSync(this.#descriptor, blank, 0, blank.length, 0);
    ftruncateSync(this.#descriptor, blank.length);
    this.touch();
  }

  /** Writes what is there already, to find out whether writing works. Throws when it does not. */
  touch(): void {
    this.#write(0, this.#fileId, 0, 0);
  }

  /** Notes an attempt that is about to start. Throws when that can't be written. */
  note({ seq, attempt, startedAtMs }: Task): void {
    const slot = this.#free.pop() ?? this.#nextSlot;
    this.#write(slot, seq, attempt, startedAtMs ?? 0);
    if (slot === this.#nextSlot) this.#nextSlot += 1;
    this.#taken.set(seq, slot);
  }

  /** The attempt at this task is over: its slot may go to another when that is on disk. */
  clear({ seq }: Task): void {
    const slot = this.#taken.get(seq);
    if (slot === undefined) return;
    this.#taken.delete(seq);
    this.#over.push(slot);
  }

  /** Whatever was over by now is on disk. */
  written(): void {
    for (const slot of this.#over) this.#free.push(slot);
    this.#over.length = 0;
  }

  /** Lets go of the board, which stays for the next process. */
  close(): void {
    closeSync(this.#descriptor);
  }

  /** Lets go of the board and removes it: there is nothing on it that the data file does not know. */
  remove(): void {
    this.close();
    rmSync(this.#path, { force: true });
  }

  #write(slot: number, seq: number, attempt: number, startedAtMs: number): void {
    this.#slot[0] = seq;
    this.#slot[1] = attempt;
    this.#slot[2] = startedAtMs;
    this.#slot[3] = sumOf(seq, attempt, startedAtMs);
    writeSync(this.#descriptor, this.#slotBytes, 0, SLOT_BYTES, slot * SLOT_BYTES);
  }
}

/** The slots of a board that are whole. */
function* slotsOf(bytes: Uint8Array): Generator<Float64Array> {
  const slots = new Float64Array(bytes.slice(0, bytes.length - (bytes.length % SLOT_BYTES)).buffer);
  for (let start = 0; start < slots.length; start += SLOT_FIELDS) {
    const slot = slots.subarray(start, start + SLOT_FIELDS);
    const [seq = 0, attempt = 0, startedAtMs = 0, sum] = slot;
    if (sumOf(seq, attempt, startedAtMs) === sum) yield slot;
  }
}

function sumOf(seq: number, attempt: number, startedAtMs: number): number {
  return SALT + seq + attempt + startedAtMs;
}
