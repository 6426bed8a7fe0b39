/**
 * Reads the body of a request: JSON, within the size limit, in the shape of its schema. The
 * cheapest checks come first. The results are values; each binding words them.
 *
 * Elysia could parse and check bodies itself, but not in this order and not with a problem in the
 * 413, and a custom parser costs it a stream per request; docs/DECISIONS.md has the reasons.
 */

import type { Static, TSchema } from "@sinclair/typebox";
import type { MaybePromise } from "../engine/engine.ts";
import type { Fault, Shape } from "./shape.ts";

export type Body<T> =
  | { readonly kind: "body"; readonly value: T }
  | { readonly kind: "unsupported_media_type" }
  | { readonly kind: "too_large"; readonly bytesMax: number }
  | { readonly kind: "invalid_json" }
  | { readonly kind: "misshapen"; readonly faults: Iterable<Fault> };

/**
 * Answers with the result of `answer` for the body. The common case is one asynchronous function
 * with one `await`: each further one would cost every request. `absent` is the value of a request
 * without a body, where one is not required.
 */
export async function withBody<T extends TSchema, Answer>(
  request: Request,
  shape: Shape<T>,
  bytesMax: number,
  answer: (body: Body<Static<T>>) => MaybePromise<Answer>,
  absent?: Static<T>,
): Promise<Answer> {
  const { headers } = request;
  if (absent !== undefined && hasNoBody(headers)) return answer({ kind: "body", value: absent });
  if (!isJson(headers.get("content-type")) || headers.get("content-encoding") !== null) {
    return answer({ kind: "unsupported_media_type" });
  }
  const length = headers.get("content-length");
  if (length !== null && Number(length) > bytesMax) return answer({ kind: "too_large", bytesMax });

  let value: unknown;
  try {
    const bytes = length === null ? await readUpTo(request, bytesMax) : await request.bytes();
    if (bytes === null) return answer({ kind: "too_large", bytesMax });
    value = JSON.parse(UTF_8.decode(bytes));
  } catch {
    // The parser's message may quote the body, so it is not passed on.
    return answer({ kind: "invalid_json" });
  }
  return answer(
    shape.fits(value)
      ? { kind: "body", value }
      : { kind: "misshapen", faults: shape.errors(value) },
  );
}

/**
 * Strict: otherwise bytes that are not UTF-8 would become U+FFFD, and different bodies would be
 * stored as the same. Skips a byte order mark.
 */
const UTF_8 = new TextDecoder("utf-8", { fatal: true });

function hasNoBody(headers: Headers): boolean {
  const length = headers.get("content-length");
  return length === null ? !headers.has("transfer-encoding") : length === "0";
}

function isJson(contentType: string | null): boolean {
  if (contentType === "application/json") return true;
  return contentType !== null && /^application\/json\s*(;|$)/i.test(contentType);
}

/** Reads a body of unknown length. Returns null as soon as it is too long. */
async function readUpTo(request: Request, bytesMax: number): Promise<Uint8Array | null> {
  // One buffer for all chunks: a million separate chunks of one byte would take a hundred times
  // their size.
  const sink = new Bun.ArrayBufferSink();
  sink.start({ asUint8Array: true });
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) return null;
    sink.write(chunk);
  }
  return sink.end() as Uint8Array;
}
