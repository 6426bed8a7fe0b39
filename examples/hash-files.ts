/**
 * Computes the SHA-256 of files, in threads: it takes a whole core for as long as a file is big, and the event loop, so
 * HTTP, never notices.
 *
 *   FILES_FOLDER=/srv/files THREADS=2 HANDLERS=examples/hash-files.ts bun run start
 *   curl localhost:8080/enqueue -H content-type:application/json \
 *     -d '{"type":"file.hash","payload":{"file":"backup.tar"}}'
 *   curl localhost:8080/tasks/<id>     # "progress": { "bytes": 73400320, "of": 524288000 }
 */

import { open, realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { Type } from "@sinclair/typebox";
import { defineHandlers, NonRetryableError } from "ringq";

const CHUNK_BYTES = 1024 * 1024;

const folder = process.env["FILES_FOLDER"] ?? ".";

export default defineHandlers({
  "file.hash": {
    schema: Type.Object({ file: Type.String({ minLength: 1 }) }),
    isolation: "thread",
    timeoutMs: 600_000,
    maxRetries: 1,
    handler: async ({ file }, { signal, progress }) => {
      await using handle = await open(await inFolder(file));
      const { size } = await handle.stat();
      const hasher = new Bun.CryptoHasher("sha256");
      const chunk = Buffer.alloc(CHUNK_BYTES);
      let bytes = 0;
      for (;;) {
        // Ends here when the task is cancelled. A handler that never looks is killed with its thread.
        signal.throwIfAborted();
        const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, null);
        if (bytesRead === 0) break;
        hasher.update(chunk.subarray(0, bytesRead));
        bytes += bytesRead;
        progress({ bytes, of: size });
      }
      return { file, bytes, sha256: hasher.digest("hex") };
    },
  },
});

/** The real path of a file in the folder. No retry finds one that is not there, and none leads out of the folder. */
async function inFolder(file: string): Promise<string> {
  const root = await realpath(folder);
  let path: string;
  try {
    path = await realpath(join(root, file));
  } catch (cause) {
    throw new NonRetryableError(`there is no file ${file}`, { cause });
  }
  if (!path.startsWith(root + sep)) throw new NonRetryableError(`${file} is outside of the folder`);
  return path;
}
