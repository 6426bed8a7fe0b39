/**
 * Sees every change that bun:sqlite, or anything else in this process, makes to the files below a folder, and makes such
 * calls fail on demand. The work is done by disk-recorder.c, which the compiler inside Bun builds.
 *
 * It is one for the process and sees only what happens while it is open, so it must be closed again.
 */

import { cc, type Pointer, toArrayBuffer } from "bun:ffi";
import { Database } from "bun:sqlite";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type DiskRecord =
  | {
      readonly kind: "write";
      readonly path: string;
      readonly offset: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "truncate"; readonly path: string; readonly length: number }
  /** Completed: of a file, its content; of a folder, its entries. */
  | { readonly kind: "sync"; readonly path: string }
  | { readonly kind: "create"; readonly path: string }
  | { readonly kind: "unlink"; readonly path: string }
  | { readonly kind: "rename"; readonly path: string; readonly to: string };

/** The same bits as in disk-recorder.c. */
const KIND_BITS = { write: 1, truncate: 2, sync: 4, create: 8, unlink: 16, rename: 32 } as const;

export const ERRNO = { EIO: 5, ENOSPC: 28, EROFS: 30 } as const;

export interface DiskFault {
  readonly kinds: readonly (keyof typeof KIND_BITS)[];
  readonly errno: number;
  /** So many calls succeed first. */
  readonly after?: number;
  /** So many calls fail; all from then on when left out. */
  readonly times?: number;
  /** Writes do not fail but write half of what they should. */
  readonly isShort?: boolean;
}

const SOURCE = join(import.meta.dir, "disk-recorder.c");

const RECORD_HEADER_BYTES = 32;

function compile() {
  return cc({
    source: SOURCE,
    symbols: {
      disk_install: { args: [], returns: "int" },
      disk_uninstall: { args: [], returns: "void" },
      disk_watch: { args: ["ptr"], returns: "void" },
      disk_record: { args: ["int"], returns: "void" },
      disk_skip_syncs: { args: ["int"], returns: "void" },
      disk_fail: { args: ["int", "int", "int", "int", "int"], returns: "void" },
      disk_count: { args: [], returns: "i64" },
      disk_length: { args: [], returns: "i64" },
      disk_log: { args: [], returns: "ptr" },
      disk_clear: { args: [], returns: "void" },
    },
  }).symbols;
}

type Native = ReturnType<typeof compile>;

// The program's calls go through this code, so it stays loaded for as long as the process lives.
let native: Native | null = null;

let isOpen = false;

/** Why there is no recorder on this machine; null when there is one. */
export function findRecorderObstacle(): string | null {
  if (process.platform !== "linux") return `it needs Linux, and this is ${process.platform}`;
  if (process.arch !== "x64" && process.arch !== "arm64")
    return `it does not know the relocations of ${process.arch}`;
  try {
    native ??= compile();
  } catch (error) {
    return `the compiler inside Bun failed: ${error instanceof Error ? error.message : error}`;
  }
  // SQLite's calls can be watched only where they pass through the program's relocation table: ask with a real one.
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "ringq-recorder-")));
  try {
    using recorder = DiskRecorder.open(folder);
    using db = new Database(join(folder, "probe.db"));
    db.run("CREATE TABLE probe (n)");
    const kinds = new Set(recorder.take().map(({ kind }) => kind));
    const missing = (["create", "write", "sync", "unlink"] as const).filter((k) => !kinds.has(k));
    return missing.length === 0 ? null : `this build of Bun hides its calls: ${missing.join(", ")}`;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export class DiskRecorder implements Disposable {
  readonly #native: Native;

  private constructor(symbols: Native) {
    this.#native = symbols;
  }

  /** Watches what happens below a folder, given by its real path. */
  static open(folder: string): DiskRecorder {
    if (native === null) throw new Error("ask findRecorderObstacle first");
    if (isOpen) throw new Error("a recorder is open already");
    const recorder = new DiskRecorder(native);
    native.disk_clear();
    recorder.watch(folder);
    if (native.disk_install() === 0) throw new Error("nothing of this program can be watched");
    native.disk_record(1);
    isOpen = true;
    return recorder;
  }

  /** From now on watches another folder, given by its real path. */
  watch(folder: string): void {
    this.#native.disk_watch(Buffer.from(`${folder}\0`));
  }

  /** How many changes it has seen so far. */
  get count(): number {
    return Number(this.#native.disk_count());
  }

  /** What it has seen so far, and forgets it. */
  take(): readonly DiskRecord[] {
    const length = Number(this.#native.disk_length());
    const start = this.#native.disk_log();
    // The memory is used again for what comes next, so the records get a copy of it.
    const log =
      start === null || length === 0
        ? new ArrayBuffer(0)
        : toArrayBuffer(start as Pointer, 0, length).slice(0);
    this.#native.disk_clear();
    return [...recordsOf(log)];
  }

  /** Takes no notes while it is off. Faults go on. */
  setRecording(isOn: boolean): void {
    this.#native.disk_record(isOn ? 1 : 0);
  }

  /** Answers syncs without doing them, for states that are looked at once and thrown away. */
  setSkippingSyncs(isOn: boolean): void {
    this.#native.disk_skip_syncs(isOn ? 1 : 0);
  }

  fail({ kinds, errno, after = 0, times = -1, isShort = false }: DiskFault): void {
    const bits = kinds.reduce((all, kind) => all | KIND_BITS[kind], 0);
    this.#native.disk_fail(bits, errno, after, times, isShort ? 1 : 0);
  }

  /** Calls succeed again. */
  heal(): void {
    this.#native.disk_fail(0, 0, 0, 0, 0);
  }

  [Symbol.dispose](): void {
    this.heal();
    this.#native.disk_uninstall();
    this.#native.disk_record(0);
    this.#native.disk_skip_syncs(0);
    this.watch("");
    isOpen = false;
  }
}

function* recordsOf(log: ArrayBuffer): Generator<DiskRecord> {
  const view = new DataView(log);
  const text = new TextDecoder();
  for (let at = 0; at < log.byteLength; ) {
    const kind = view.getUint32(at, true);
    const pathLength = view.getUint32(at + 4, true);
    const offset = Number(view.getBigInt64(at + 8, true));
    const length = Number(view.getBigUint64(at + 16, true));
    const dataLength = Number(view.getBigUint64(at + 24, true));
    const pathAt = at + RECORD_HEADER_BYTES;
    const path = text.decode(new Uint8Array(log, pathAt, pathLength));
    const bytes = new Uint8Array(log, pathAt + pathLength, dataLength);
    at += (RECORD_HEADER_BYTES + pathLength + dataLength + 7) & ~7;
    // What a file that has no name any more holds is gone with the process, so it can't come back after a cut.
    if (path.endsWith(" (deleted)")) continue;
    switch (kind) {
      case KIND_BITS.write:
        yield { kind: "write", path, offset, bytes };
        break;
      case KIND_BITS.truncate:
        yield { kind: "truncate", path, length };
        break;
      case KIND_BITS.sync:
        yield { kind: "sync", path };
        break;
      case KIND_BITS.create:
        yield { kind: "create", path };
        break;
      case KIND_BITS.unlink:
        yield { kind: "unlink", path };
        break;
      case KIND_BITS.rename:
        yield { kind: "rename", path, to: text.decode(bytes) };
        break;
      default:
        throw new Error(`${path} was changed by a call that is not modelled`);
    }
  }
}
